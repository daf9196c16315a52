"""Heavy networks in PyTorch: any checkpoint that can teach, or a network of the user's own.

Loaded by name, and only when such a network is asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.card import Card
from whet.errors import InputError, ModelError
from whet.fetch.weights import FETCHABLE, fetched
from whet.files import file_sha256
from whet.models import MODELS, build_teacher
from whet.models.checkpoints import load_state, load_student
from whet.studio import MAXIM_TILING, HeavyModel
from whet.studio.session import StudioSession
from whet.studio.tiles import Tiling

__all__ = ["open_network"]

Floats = NDArray[np.float32]

RESTORMER_TILING = Tiling(size=384, overlap=64, multiple=8)
"""Attention in windows of 384 px is Restormer's test-time local converter: one window a tile."""
_TILING = Tiling(size=256, overlap=64, multiple=64)
_UNKNOWN_KMAC_PER_PX = 2000.0


class TorchNetwork:
    """See :class:`~whet.studio.session.HeavyNetwork`.

    Args:
        network: float32 (N, 3, H, W) RGB in [0, 1] -> the same shape.
        tiling: how it wants pictures cut.
    """

    def __init__(self, network: nn.Module, tiling: Tiling) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device).eval().requires_grad_(False)
        self.tiling = tiling
        self.precision = "f32"

    def prepare(self, height: int, width: int) -> Callable[[Floats], Floats]:
        """Return the network itself, which takes any size."""
        del height, width
        return self._restore

    @torch.inference_mode()
    def _restore(self, image: Floats) -> Floats:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].to(self._device).contiguous()
        restored = cast(Tensor, self._network(planes))
        if restored.shape != planes.shape:
            raise ModelError(
                f"the network made {tuple(restored.shape)} of {tuple(planes.shape)}; "
                "only one that keeps the size can be used here"
            )
        return cast(Floats, restored[0].float().permute(1, 2, 0).cpu().numpy())


def open_network(model: str, named: HeavyModel | None, threads: int | None) -> StudioSession:
    """Open what :func:`whet.studio.open_studio` describes.

    Args:
        model: as the user wrote it.
        named: its entry in ``STUDIO``, where it has one.
        threads: set for PyTorch as a whole, which has no number per network.

    Raises:
        InputError, MissingExtraError, ModelError: see there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    licences: tuple[str, ...] = ()
    if named is not None:
        path, licences = fetched(named.weights), (FETCHABLE[named.weights].licence,)
        kind, network, tiling = "maxim", build_teacher("maxim", path), MAXIM_TILING
        digest = file_sha256(path)
    elif ".py:" in model:
        network, digest = _built(model)
        kind, tiling = "own", _TILING
    else:
        path = Path(model)
        kind, network, tiling = _recognised(path)
        digest = file_sha256(path)
    card = Card(
        name=Path(model.partition(".py:")[0]).stem,
        architecture=kind,
        multiple=tiling.multiple,
        halo=tiling.overlap,
        kmac_per_px=_UNKNOWN_KMAC_PER_PX,
        parameters=sum(p.numel() for p in network.parameters()),
        licences=licences,
        weights_sha256=digest,
    )
    return StudioSession(card, "torch", TorchNetwork(network, tiling))


def _recognised(path: Path) -> tuple[str, nn.Module, Tiling]:
    """Return (architecture, network, tiling) of a checkpoint, told by the names of its weights."""
    state = load_state(path)
    if "stage_0_input_conv_0.weight" in state:
        return "maxim", build_teacher("maxim", path), MAXIM_TILING
    if "patch_embed.proj.weight" in state and "latent.0.attn.temperature" in state:
        return "restormer", build_teacher("restormer", path, tlc=True), RESTORMER_TILING
    if name := _student(path, state):
        multiple = MODELS[name].multiple
        return name, build_teacher("assistant", path), Tiling(512, 2 * MODELS[name].halo, multiple)
    return "spandrel", build_teacher("spandrel", path), _TILING


def _student(path: Path, state: Mapping[str, Tensor]) -> str | None:
    """Return the student that a checkpoint fits; None where it fits none."""
    del state
    try:
        return load_student(path)[0]
    except ModelError:
        return None


def _built(model: str) -> tuple[nn.Module, str]:
    """Return the network that ``file.py:function`` makes, and a hash of file and weights."""
    file, _, function = model.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{path}: no such file; name one that defines {function}()")
    spec = importlib.util.spec_from_file_location(f"whet_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        network: Any = getattr(module, function)()
    except Exception as error:  # it is someone's own program, and may raise anything
        raise InputError(
            f"{model}: {type(error).__name__}: {error}; it must define {function}() "
            "that returns a torch.nn.Module"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{model} returned a {type(network).__name__}; it must return a torch.nn.Module"
        )
    digest = hashlib.sha256(path.read_bytes())
    for key, tensor in network.state_dict().items():
        digest.update(key.encode() + tensor.detach().cpu().numpy().tobytes())
    return network, digest.hexdigest()
