"""What ONNX Runtime computes on: the processor, or an accelerator that its build knows.

A new one is one line in :data:`PROVIDERS`.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whet.errors import InputError

__all__ = ["PROVIDERS", "VARIABLE", "Provider", "candidates", "has_nvidia_gpu", "present"]

VARIABLE = "WHET_PROVIDER"
"""Environment variable that names the one entry of :data:`PROVIDERS` to use."""


@dataclass(frozen=True)
class Provider:
    """One thing to compute on.

    Attributes:
        name: what ONNX Runtime calls it.
        package: the build of ONNX Runtime that holds it.
        options: given to it.
        unasked: taken without being named, where it is present.
        parallel: may run from several threads at once.
    """

    name: str
    package: str
    options: Mapping[str, str] = field(default_factory=dict)
    unasked: bool = True
    parallel: bool = True


PROVIDERS: Mapping[str, Provider] = {
    # TensorFloat-32, its default, would miss the promised 1/255.
    "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", {"use_tf32": "0"}),
    # It compiles for every new size, for minutes: only where somebody asks for it.
    "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu", unasked=False),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml", parallel=False),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime"),
    "cpu": Provider("CPUExecutionProvider", "onnxruntime"),
}
"""Short name -> provider, in the order of preference."""

_NVIDIA = {"cuda", "tensorrt"}


def has_nvidia_gpu() -> bool:
    """Return whether a driver for an NVIDIA GPU is at work here.

    ONNX Runtime lists CUDA wherever it was built with it, GPU or none.
    """
    if platform.system() == "Linux":
        return Path("/dev/nvidiactl").exists()
    return shutil.which("nvidia-smi") is not None


def present() -> tuple[str, ...]:
    """Return what the installed ONNX Runtime can compute on here, best first.

    ONNX Runtime must be installed; it is imported.
    """
    import onnxruntime

    built_in = set(onnxruntime.get_available_providers())
    usable = [name for name, provider in PROVIDERS.items() if provider.name in built_in]
    return tuple(name for name in usable if name not in _NVIDIA or has_nvidia_gpu())


def candidates(found: Sequence[str], wanted: str | None = None) -> tuple[str, ...]:
    """Return what to try in turn.

    Args:
        found: from :func:`present`.
        wanted: the only one to try; None takes the value of :data:`VARIABLE`.

    Raises:
        InputError: the wanted one does not exist or is not present.
    """
    wanted = wanted or os.environ.get(VARIABLE) or None
    if wanted is None:
        return tuple(name for name in found if PROVIDERS[name].unasked)
    if wanted not in PROVIDERS:
        raise InputError(f"{VARIABLE}={wanted} is unknown; choose one of: {', '.join(PROVIDERS)}")
    if wanted not in found:
        remedy = f"install {PROVIDERS[wanted].package} and its driver"
        raise InputError(f"{VARIABLE}={wanted} is not here, only {', '.join(found)}; {remedy}")
    return (wanted,)
