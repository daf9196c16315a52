"""Restores whatever a picture is held in, and returns it in the same."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.image import Metadata, Picture, read, write
from whet.image.formats.pillow import picture_of
from whet.image.metadata import from_array, to_array, to_floats
from whet.runtime import Session
from whet.stills.files import restore_file, restore_picture
from whet.stills.jobs import Job, plan
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
        job = _one_file(image)
        result = restore_file(session, job.source, job.target, strength=strength)
        target, notes = result.job.target, result.notes
        restored = target if isinstance(image, Path) else str(target)
    elif isinstance(image, (bytes, bytearray)):
        encoded, notes = _encoded(session, bytes(image), strength)
        restored = type(image)(encoded)
    elif isinstance(image, np.ndarray):
        restored = _array(session, image, strength)
    elif _comes_from(image, "PIL"):
        restored, notes = _pil(session, image, strength)
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


def _one_file(name: str | Path) -> Job:
    """Return where the result of one file goes.

    Raises:
        InputError: the name is that of a folder, or no file's.
    """
    path = Path(name)
    if path.is_dir():
        raise InputError(
            f"{name} is a folder and holds any number of pictures; name one of them, or take "
            "whet.stills.files.restore_files"
        )
    if not path.exists():
        raise InputError(f"{name} cannot be read: no such file; check the path")
    return plan([path])[0]


def _encoded(session: Session, data: bytes, strength: float) -> tuple[bytes, tuple[str, ...]]:
    picture = read(data)
    stream = io.BytesIO()
    after = restore_picture(session, picture, strength)
    notes = write(after, stream)
    return stream.getvalue(), after.metadata.notes + notes


def _array(session: Session, array: NDArray[Any], strength: float) -> NDArray[Any]:
    """Restore gray, RGB, and either with alpha; other shapes are the session's to refuse."""
    channels = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    if channels not in (1, 2, 4) or array.dtype not in (np.uint8, np.uint16):
        return session.restore(array, strength)
    after = restore_picture(session, from_array(array, Metadata()), strength)
    return to_array(after).reshape(array.shape)


def _pil(session: Session, image: Any, strength: float) -> tuple[Any, tuple[str, ...]]:
    """Restore one of Pillow's images by the code that restores files, in the mode it has.

    Palettes, bilevel images and inks come back as the colours they stand for, as from files.
    """
    if strength == 0:
        return image.copy(), ()
    picture = picture_of(image, Metadata(icc=image.info.get("icc_profile")))
    after = restore_picture(session, picture, strength)
    restored = _in_mode(after, image)
    restored.info = {key: value for key, value in image.info.items() if key != "transparency"}
    if after.metadata.icc is not None:
        restored.info["icc_profile"] = after.metadata.icc
    elif image.mode == "CMYK":
        restored.info.pop("icc_profile", None)
    return restored, after.metadata.notes


def _in_mode(picture: Picture, like: Any) -> Any:
    """Return a picture as one of Pillow's images of the same mode, where it can be."""
    from PIL import Image as Pil

    mode, array = like.mode, to_array(picture)
    if mode == "F":
        return Pil.fromarray(np.ascontiguousarray(to_floats(picture)[..., 0]))
    if mode == "I":
        return Pil.fromarray(array.astype(np.int32))
    if mode.startswith("I;16"):
        order = np.asarray(like).dtype.newbyteorder(">" if mode.endswith("B") else "<")
        return Pil.frombytes(mode, like.size, array.astype(order).tobytes())
    restored = Pil.fromarray(array)
    if mode == "RGBX":
        return Pil.merge(mode, (*restored.split(), like.getchannel("X")))
    return restored.convert(mode) if mode in ("YCbCr", "HSV", "La", "RGBa") else restored


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
