"""Restores whatever a picture is held in, and returns it in the same."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.image import read, write
from whet.runtime import Session
from whet.stills.files import restore_file, restore_picture
from whet.stills.jobs import plan
from whet.stills.picture import said_by

__all__ = ["Restoration", "restore_anything"]

Image = TypeVar("Image")


@dataclass(frozen=True)
class Restoration(Generic[Image]):
    """A restored picture, and what could not be kept.

    Attributes:
        image: of the type that was given.
        notes: what was converted or left out, in sentences that fit behind "NAME: ".
    """

    image: Image
    notes: tuple[str, ...] = ()


def restore_anything(session: Session, image: Image, strength: float = 1.0) -> Restoration[Image]:
    """Return ``image`` restored, as the type that was given; see :func:`whet.restore`.

    Raises:
        InputError: no picture, or of a type that is not known.
    """
    restored: Any
    notes: tuple[str, ...] = ()
    if isinstance(image, (str, Path)):
        job = plan([image])[0]
        result = restore_file(session, job.source, job.target, strength=strength)
        target, notes = result.job.target, result.notes
        restored = target if isinstance(image, Path) else str(target)
    elif isinstance(image, (bytes, bytearray)):
        encoded, notes = _encoded(session, bytes(image), strength)
        restored = type(image)(encoded)
    elif isinstance(image, np.ndarray):
        restored = _array(session, image, strength)
    elif _comes_from(image, "PIL"):
        restored = _pil(session, image, strength)
    elif _comes_from(image, "torch"):
        restored = _tensor(session, image, strength)
    else:
        raise InputError(
            f"a {type(image).__name__} is no picture that whet knows; give a path, bytes, "
            "a PIL image, a numpy array or a torch tensor"
        )
    return Restoration(cast(Image, restored), notes + said_by(session))


def _comes_from(image: object, package: str) -> bool:
    """Tell a type by its origin, so that the package need not be imported, or installed."""
    return any(base.__module__.partition(".")[0] == package for base in type(image).__mro__)


def _encoded(session: Session, data: bytes, strength: float) -> tuple[bytes, tuple[str, ...]]:
    picture = read(data)
    stream = io.BytesIO()
    after = restore_picture(session, picture, strength)
    notes = write(after, stream)
    return stream.getvalue(), after.metadata.notes + notes


def _array(session: Session, image: NDArray[Any], strength: float) -> NDArray[Any]:
    if image.ndim == 2:
        return session.restore(np.stack([image] * 3, axis=-1), strength)[..., 1]
    return session.restore(image, strength)


def _pil(session: Session, image: Any, strength: float) -> Any:
    from PIL import Image as Pil

    alpha = image.getchannel("A") if "A" in image.getbands() else None
    restored = Pil.fromarray(session.restore(np.asarray(image.convert("RGB")), strength))
    if image.mode in ("L", "LA"):
        restored = restored.convert("L")
    if alpha is not None:
        restored.putalpha(alpha)
    restored.info = dict(image.info)
    return restored


def _tensor(session: Session, image: Any, strength: float) -> Any:
    import importlib

    torch = importlib.import_module("torch")
    batch = image[None] if image.ndim == 3 else image
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise InputError(f"a tensor of shape {tuple(image.shape)} is not CHW or NCHW RGB")
    floating = batch.is_floating_point()
    values = (batch.detach().clamp(0, 1) * 65535).round() if floating else batch
    pixels = values.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint16 if floating else np.uint8)
    restored = np.stack([session.restore(p, strength) for p in pixels]).astype(np.float32)
    result = torch.from_numpy(restored).permute(0, 3, 1, 2)
    result = (result / 65535 if floating else result).to(image.device, image.dtype)
    return result[0] if image.ndim == 3 else result
