"""Any other restoration network as a teacher, recognised and run by spandrel.

spandrel (optional extra ``spandrel``) tells from a state dict which of several
dozen published architectures it belongs to. It needs a torchvision that fits
the installed PyTorch; where that is not so, the error says it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.errors import MissingExtraError, ModelError
from whet.models.checkpoints import load_state

__all__ = ["SpandrelTeacher", "load_teacher"]


class SpandrelTeacher(nn.Module):
    """A spandrel model behind the contract of every teacher.

    float32 (N, 3, H, W) RGB in [0, 1], H and W of at least 16 -> the same
    shape, clamped to [0, 1] by spandrel, which also pads and crops.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        # Registered as a submodule so that moving the teacher to a device moves
        # the weights, which the descriptor refers to as well.
        self.network: nn.Module = descriptor.model
        self._descriptor = descriptor

    def forward(self, degraded: Tensor) -> Tensor:
        """Restore a batch, one picture at a time: spandrel promises no more than one."""
        restored = [self._descriptor(picture) for picture in torch.split(degraded, 1)]
        # spandrel computes in inference mode. Concatenation outside of it makes
        # an ordinary tensor, which a loss may keep for its backward pass.
        return torch.cat(restored)


def load_teacher(weights: Path | None) -> SpandrelTeacher:
    """Return the network that ``weights`` belong to, frozen and in eval mode.

    The file is read by :func:`~whet.models.checkpoints.load_state`; spandrel's
    own readers of files, which are more permissive, are not used.

    Args:
        weights: a checkpoint of an RGB -> RGB network at scale 1.

    Raises:
        MissingExtraError: spandrel is not installed.
        ModelError: spandrel cannot be imported, does not know the network, or
            the network changes size or channels; or the file is absent or unsafe.
    """
    if weights is None:
        raise ModelError("the spandrel teacher has no weights of its own; give the path of a file")
    spandrel = _import_spandrel()
    state = load_state(weights)
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(state)
    except spandrel.UnsupportedModelError as error:
        raise ModelError(
            f"{weights}: spandrel {spandrel.__version__} does not know this network; "
            "use another checkpoint or a newer spandrel"
        ) from error
    except Exception as error:
        # It guesses sizes from key names; a file that only resembles a known
        # network fails in as many ways as there are architectures.
        raise ModelError(
            f"{weights}: spandrel cannot build this network ({_reason(error)}); "
            "use another checkpoint"
        ) from error
    _check(spandrel, descriptor, weights)
    return SpandrelTeacher(descriptor).eval().requires_grad_(False)


def _import_spandrel() -> Any:
    """Return the module, or raise the error that says why there is none."""
    try:
        import spandrel
    except ModuleNotFoundError as error:
        if error.name == "spandrel":
            raise MissingExtraError("spandrel", "spandrel") from error
        raise _broken(error) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise _broken(error) from error
    return spandrel


def _broken(error: Exception) -> ModelError:
    return ModelError(
        f"spandrel is installed but cannot be imported ({_reason(error)}); "
        f"install the torchvision made for PyTorch {torch.__version__}"
    )


def _check(spandrel: Any, descriptor: Any, weights: Path) -> None:
    """Raise ModelError unless the network maps an RGB picture to one of the same size."""
    name = descriptor.architecture.name
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ModelError(f"{weights}: {name} needs more than a picture; use a restoration network")
    if descriptor.scale != 1:
        raise ModelError(
            f"{weights}: {name} enlarges {descriptor.scale} times; use a network of scale 1"
        )
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3):
        raise ModelError(
            f"{weights}: {name} maps {channels[0]} to {channels[1]} channels; use an RGB network"
        )


def _reason(error: Exception) -> str:
    """Return the first line of an error message, which may otherwise run over pages."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
