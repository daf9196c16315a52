"""Use of a model file: open it in a runtime, restore pictures with it.

A new runtime is one module with ``open_engine(model, threads) -> Engine`` plus
one line in :data:`RUNTIMES`. Nothing here imports a runtime before it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from whet.artifact import Card, Precision, read_model, resolve, shipped
from whet.errors import InputError, MissingExtraError, ModelError, WhetError
from whet.operators import shown
from whet.runtime import providers, telemetry
from whet.runtime.cpu_features import int8_is_fast

__all__ = [
    "RUNTIMES",
    "Runtime",
    "Session",
    "automatic",
    "available",
    "computes_on",
    "open_session",
    "preferred_precision",
]


class Session(Protocol):
    """A model, opened. May be used from several threads at once."""

    @property
    def card(self) -> Card:
        """What the model file says about itself."""

    @property
    def runtime(self) -> str:
        """Key of :data:`RUNTIMES` that computes."""

    def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
        """Return ``degraded + strength * (restored - degraded)``, rounded to the input's type.

        Args:
            image: uint8 or uint16 (H, W, 3) RGB, any H, W >= 1; not modified.
            strength: 0 returns the picture exactly, 1 what the network makes of it.

        Returns:
            An array of its own, C-contiguous, of the shape and dtype of ``image``.

        Raises:
            InputError: not such a picture, or a strength that is negative or not finite.
        """


@dataclass(frozen=True)
class Runtime:
    """How to find one runtime.

    Attributes:
        module: has ``open_engine``.
        package: what must be importable.
        extra: the extra of whet that installs it; empty where the core does.
        precisions: of the model files it runs.
        summary: one line for people.
    """

    module: str
    package: str
    extra: str
    precisions: tuple[Precision, ...]
    summary: str


RUNTIMES: Mapping[str, Runtime] = {
    "openvino": Runtime(
        "whet.runtime.openvino_engine",
        "openvino",
        "",
        ("float32", "int8"),
        "fastest on x86-64 processors",
    ),
    "onnxruntime": Runtime(
        "whet.runtime.onnxruntime_engine",
        "onnxruntime",
        "",
        ("float32", "int8"),
        "any processor, and GPUs by builds of its own",
    ),
    "torch": Runtime(
        "whet.runtime.torch_engine",
        "torch",
        "train",
        ("float32",),
        "NVIDIA GPUs; on a processor for comparison",
    ),
}
"""In the order in which ``auto`` prefers them."""


def available() -> tuple[str, ...]:
    """Return the runtimes that are installed, best first."""
    return tuple(name for name, runtime in RUNTIMES.items() if find_spec(runtime.package))


def preferred_precision(runtime: str) -> Precision:
    """Return int8 where the runtime and this processor compute it faster than float."""
    fast = int8_is_fast() and computes_on(runtime) == "cpu"
    return "int8" if fast and "int8" in RUNTIMES[runtime].precisions else "float32"


def computes_on(runtime: str) -> str:
    """Return the key of ``providers.PROVIDERS`` that an installed runtime uses first."""
    if runtime == "onnxruntime" and find_spec("onnxruntime"):
        telemetry.silence()
        return providers.candidates(providers.present())[0]
    if runtime == "torch" and providers.has_nvidia_gpu():
        return "cuda"
    return "cpu"


def automatic() -> tuple[str, str]:
    """Return the runtime that ``auto`` takes, and why, in words."""
    found = available()
    if "onnxruntime" in found and len(found) > 1:
        # A build of ONNX Runtime for a GPU is a choice; asking about it costs an import, and
        # only those who have the GPU pay for it.
        wanted = os.environ.get(providers.VARIABLE, "")
        if (wanted and wanted != "cpu") or (providers.has_nvidia_gpu() and not wanted):
            device = computes_on("onnxruntime")
            if device != "cpu":
                return "onnxruntime", f"its build computes on {device}, which is here"
    if not found:
        return "onnxruntime", "no runtime is installed; this one runs anywhere"
    return found[0], f"the first of those installed: {RUNTIMES[found[0]].summary}"


def open_session(
    model: str | Path = "small",
    runtime: str = "auto",
    threads: int | None = None,
    precision: Precision | Literal["auto"] = "auto",
) -> Session:
    """Open a model.

    Args:
        model: name of a shipped model, or path of a model file.
        runtime: key of :data:`RUNTIMES`; ``auto`` takes what :func:`automatic` says.
        threads: of computation; None leaves it to the runtime, which takes all cores.
        precision: for a shipped name that comes in both. ``auto`` takes int8 where
            :func:`preferred_precision` says so and the file is there.

    Raises:
        InputError: no such runtime, precision or number of threads.
        MissingExtraError: the runtime is not installed.
        ModelError: no such model, or one that cannot be trusted or run here.
    """
    if runtime == "auto":
        runtime = automatic()[0]
    if runtime not in RUNTIMES:
        raise InputError(f"no runtime {runtime!r}; choose auto or one of: {', '.join(RUNTIMES)}")
    if precision not in ("auto", "float32", "int8"):
        raise InputError(f"no precision {precision!r}; choose auto, float32 or int8")
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads cannot compute; give 1 or more, or leave it out")
    chosen = RUNTIMES[runtime]
    if find_spec(chosen.package) is None:
        raise MissingExtraError(chosen.package, chosen.extra)
    path = _file(model, runtime, precision)
    graph, card = read_model(path)
    if precision not in ("auto", card.precision):
        raise ModelError(f"{path} is {card.precision}, not {precision}; leave the precision open")
    if card.precision not in chosen.precisions:
        raise ModelError(f"{runtime} does not run {card.precision}; use another runtime for {path}")
    telemetry.silence()
    from whet.runtime.first_output import try_out
    from whet.runtime.session import ArtifactSession

    open_engine = import_module(chosen.module).open_engine
    try:
        if path not in shipped().values():
            # By an engine of its own: one remembers the first size it sees.
            try_out(open_engine(graph, threads), card.multiple)
        engine = open_engine(graph, threads)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except WhetError:
        raise
    except Exception as error:  # what a runtime meets in a strange graph has no class of its own
        reason = shown(str(error)) or type(error).__name__
        raise ModelError(
            f"{path}: {runtime} cannot run it ({reason}); use another runtime, or export it again"
        ) from error
    return ArtifactSession(card, runtime, engine)


def _file(model: str | Path, runtime: str, precision: Precision | Literal["auto"]) -> Path:
    if precision != "auto":
        return resolve(model, precision)
    wanted = preferred_precision(runtime)
    both = {str(model), f"{model}-int8"} <= set(shipped())
    return resolve(model, wanted if both else None)
