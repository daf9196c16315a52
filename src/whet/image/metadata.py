"""The pixel contract, and what travels beside the pixels.

A :class:`Picture` is upright, opaque RGB with its alpha apart; its
:class:`Metadata` says how the file it came from looked. The functions below
change metadata as bytes, in place, instead of parsing and rewriting it: maker
notes and unknown entries survive, whatever they mean.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError

__all__ = [
    "Metadata",
    "Picture",
    "Pixels",
    "animated",
    "check_size",
    "from_array",
    "marked_upright",
    "orientation_of",
    "to_array",
    "to_gray",
    "upright",
    "without_prefix",
]

Pixels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Metadata:
    """What a picture's file held beside its pixels.

    Attributes:
        format: a key of ``image_codecs.FORMATS``, or "" for pixels made in memory.
        gray: the file held one colour channel; formats that can do so write one.
        icc: ICC colour profile.
        exif: EXIF block, a TIFF structure without the leading ``Exif\\0\\0``.
        xmp: XMP packet, UTF-8.
        dpi: horizontal and vertical resolution in pixels per inch.
        quality: JPEG quality from 1 to 100, estimated from the file's tables.
        lossless: the file was a lossless WebP.
        chunks: PNG chunks kept as they are (text, gamma, primaries), ``(type, data)``.
        tags: TIFF tags kept as they are, ``(code, dtype, count, value)``.
        compressed: the TIFF was compressed.
        notes: what the reader had to change, in sentences for the user.
    """

    format: str = ""
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    quality: int | None = None
    lossless: bool = False
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tags: tuple[tuple[int, int, int, Any], ...] = ()
    compressed: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """One still picture, upright.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, RGB, full range of the type, not
            multiplied by alpha.
        alpha: (H, W, 1) of the same dtype, or None for an opaque picture.
        metadata: what is written back beside the pixels.

    Raises:
        ImageError: shape or dtype is none of the above.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype not in (np.uint8, np.uint16):
            raise ImageError(
                f"pixels must be (height, width, 3) of uint8 or uint16, not {shape} of {dtype}"
            )
        if self.alpha is not None and (
            self.alpha.shape != (*shape[:2], 1) or self.alpha.dtype != dtype
        ):
            raise ImageError(
                f"alpha must be {(*shape[:2], 1)} of {dtype}, "
                f"not {self.alpha.shape} of {self.alpha.dtype}"
            )

    def with_pixels(self, pixels: Pixels) -> Picture:
        """Return this picture with other colours, the same alpha and metadata."""
        return replace(self, pixels=pixels)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by its header, before memory is taken for its pixels.

    Raises:
        ImageError: it has more than ``max_pixels`` pixels, or none.
    """
    if width < 1 or height < 1:
        raise ImageError(f"the header says {width} x {height} pixels; the file is damaged")
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} is {width * height / 1e6:.0f} megapixels, the limit is "
            f"{max_pixels / 1e6:.0f}; if you trust the file, raise it (max_pixels, --max-pixels)"
        )


def to_gray(pixels: Pixels) -> Pixels:
    """Return (H, W, 1) or, with alpha, (H, W, 2): the rounded mean of R, G and B.

    The mean and not luma: the three differ only by what restoration added, and
    equal channels must come back as they were.
    """
    total = pixels[..., :3].sum(axis=2, dtype=np.uint32, keepdims=True)
    gray = ((total + 1) // 3).astype(pixels.dtype)
    return gray if pixels.shape[2] == 3 else np.concatenate([gray, pixels[..., 3:]], axis=2)


def from_array(array: NDArray[Any], metadata: Metadata) -> Picture:
    """Split (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) into colour and alpha."""
    array = array.reshape(*array.shape[:2], -1)
    channels = array.shape[2]
    alpha = np.ascontiguousarray(array[..., -1:]) if channels in (2, 4) else None
    gray = channels < 3
    colour = np.repeat(array[..., :1], 3, axis=2) if gray else array[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, replace(metadata, gray=gray))


def to_array(picture: Picture) -> NDArray[Any]:
    """Join colour and alpha as the file wants them: 1 to 4 channels, (H, W) for one."""
    whole = to_gray(picture.pixels) if picture.metadata.gray else picture.pixels
    if picture.alpha is not None:
        whole = np.concatenate([whole, picture.alpha], axis=2)
    return np.ascontiguousarray(whole[..., 0] if whole.shape[2] == 1 else whole)


def animated(frames: int) -> ImageError:
    """Return the refusal of a file with several frames."""
    return ImageError(
        f"it is an animation of {frames} frames; restore it as a video ('whet video IN -o "
        "OUT.mp4') or extract the frames first ('ffmpeg -i IN frame-%04d.png')"
    )


# --- Orientation ---------------------------------------------------------------------------

_TURN: Mapping[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""EXIF orientation -> what makes the stored array upright (EXIF 2.3, tag 0x0112)."""


_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>)\s*)([1-8])")


def _orientation_at(exif: bytes) -> tuple[str, int | None, int]:
    """Return byte order, the offset of the orientation value, and of the link to IFD 1."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return "<", None, 0
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        link = start + 2 + 12 * count
        struct.unpack_from(order + "I", exif, link)
        for entry in range(start + 2, link, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == 0x0112 and kind == 3:
                return order, entry + 8, link
    except struct.error:
        return order, None, 0
    return order, None, link


def without_prefix(exif: bytes | None) -> bytes | None:
    """Return an EXIF block without the marker that some formats put before it."""
    return exif.removeprefix(b"Exif\0\0") if exif else None


def orientation_of(metadata: Metadata) -> int:
    """Return the orientation, 1 to 8, that EXIF or, where it is silent, XMP states; else 1."""
    order, where, _ = _orientation_at(metadata.exif or b"")
    if where is not None and metadata.exif:
        (value,) = struct.unpack_from(order + "H", metadata.exif, where)
        return value if 1 <= value <= 8 else 1
    stated = _XMP_ORIENTATION.search(metadata.xmp or b"")
    return int(stated[2]) if stated else 1


def _upright_exif(exif: bytes) -> bytes:
    """Set the orientation to 1 and unlink the thumbnail, which shows the degraded picture."""
    order, where, link = _orientation_at(exif)
    patched = bytearray(exif)
    if where is not None:
        struct.pack_into(order + "H", patched, where, 1)
    if link:
        struct.pack_into(order + "I", patched, link, 0)
    return bytes(patched)


def marked_upright(metadata: Metadata) -> Metadata:
    """Make EXIF and XMP say that the pixels are upright, and unlink the stale thumbnail."""
    exif, xmp = metadata.exif, metadata.xmp
    return replace(
        metadata,
        exif=_upright_exif(exif) if exif else None,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
    )


def upright(picture: Picture) -> Picture:
    """Turn the pixels as the metadata asks and make it say that this was done."""
    turn = _TURN.get(orientation_of(picture.metadata))
    metadata = marked_upright(picture.metadata)
    if turn is None:
        return replace(picture, metadata=metadata)
    pixels = turn(picture.pixels)
    if metadata.dpi is not None and pixels.shape != picture.pixels.shape:
        metadata = replace(metadata, dpi=metadata.dpi[::-1])
    alpha = None if picture.alpha is None else np.ascontiguousarray(turn(picture.alpha))
    return Picture(np.ascontiguousarray(pixels), alpha, metadata)
