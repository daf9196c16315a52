"""The pixel contract, and what travels beside the pixels.

A :class:`Picture` is upright, opaque RGB with its alpha apart; its
:class:`Metadata` says how the file it came from looked. The functions below
change metadata as bytes, in place, instead of parsing and rewriting it: maker
notes and unknown entries survive, whatever they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError, Kind
from whet.image import exif_upright, photoshop
from whet.image import xmp as xmp_packet

__all__ = [
    "Cicp",
    "Metadata",
    "Picture",
    "Pixels",
    "animated",
    "check_size",
    "from_array",
    "from_floats",
    "marked_upright",
    "orientation_of",
    "stripped",
    "to_array",
    "to_floats",
    "to_gray",
    "upright",
]

_MOST_BEYOND_WHITE = 0.25
"""Share of numbers above 1 in a picture of floats whose 1 is white; highlights are rarer."""

Pixels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Cicp:
    """Code points of colour (ITU-T H.273), as nclx in AVIF and HEIC and cICP in PNG carry them.

    Attributes:
        primaries: 1 for BT.709 and sRGB, 9 for BT.2020, 12 for Display P3, 2 for unknown.
        transfer: 13 for sRGB, 16 for PQ, 18 for HLG, 2 for unknown.
        matrix: how the file's luma and chroma were made; pixels here are RGB.
    """

    primaries: int
    transfer: int
    matrix: int = 6


@dataclass(frozen=True)
class Metadata:
    """What a picture's file held beside its pixels.

    Attributes:
        format: a key of ``image_codecs.FORMATS``, or "" for pixels made in memory.
        gray: the file held one colour channel; formats that can do so write one.
        icc: ICC colour profile.
        cicp: colour by code points; where there is a profile too, this one wins.
        exif: EXIF block, a TIFF structure without the leading ``Exif\\0\\0``.
        xmp: XMP packet, UTF-8.
        dpi: horizontal and vertical resolution in pixels per inch.
        quality: JPEG quality from 1 to 100, estimated from the file's tables.
        lossless: the file was a lossless WebP or JPEG.
        bits: per channel in a file that had more than 8 and fewer than 16.
        chroma: sampling of a HEIC's colour: "420", "422" or "444".
        resources: Photoshop's image resources, which hold IPTC.
        comments: of a JPEG, as bytes, as their encoding is not stated.
        mastering: SMPTE ST 2086 as a PNG's mDCV writes it: x and y of red, green, blue and white
            in units of 0.00002, most and least luminance in 0.0001 cd/m2.
        light_level: MaxCLL and MaxFALL in cd/m2 (CTA-861.3).
        chunks: PNG chunks kept as they are (text, gamma, primaries), ``(type, data)``.
        tags: TIFF tags kept as they are, ``(code, dtype, count, value)``.
        compressed: the TIFF was compressed.
        history: program and parameters of what was done, to be added to the XMP's history.
        notes: what the reader had to change, in sentences for the user.
    """

    format: str = ""
    gray: bool = False
    icc: bytes | None = None
    cicp: Cicp | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    quality: int | None = None
    lossless: bool = False
    bits: int | None = None
    chroma: str | None = None
    resources: bytes | None = None
    comments: tuple[bytes, ...] = ()
    mastering: tuple[int, ...] | None = None
    light_level: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tags: tuple[tuple[int, int, int, Any], ...] = ()
    compressed: bool = True
    history: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """One still picture, upright.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, RGB, full range of the type, not
            multiplied by alpha.
        alpha: (H, W, 1) of the same dtype, or None for an opaque picture.
        metadata: what is written back beside the pixels.
        floats: (H, W, 3) the colours of a file of floating point numbers, of which ``pixels``
            are the rounded and clipped copy; None for all others.

    Raises:
        ImageError: shape or dtype is none of the above.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    floats: NDArray[np.floating[Any]] | None = None

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


def stripped(metadata: Metadata) -> Metadata:
    """Return metadata without what tells of people, places and programs.

    What the pixels need to be shown as they were meant stays: colour, resolution, depth.
    """
    text = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
    return replace(
        metadata,
        exif=None,
        xmp=None,
        resources=None,
        comments=(),
        chunks=tuple(chunk for chunk in metadata.chunks if chunk[0] not in text),
        tags=(),
        history=None,
    )


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by its header, before memory is taken for its pixels.

    Raises:
        ImageError: it has more than ``max_pixels`` pixels, or none.
    """
    if width < 1 or height < 1:
        raise ImageError(
            f"the header says {width} x {height} pixels; the file is damaged", Kind.DAMAGED
        )
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} is {width * height / 1e6:.0f} megapixels, the limit is "
            f"{max_pixels / 1e6:.0f}",
            Kind.TOO_LARGE,
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


def from_floats(array: NDArray[Any], metadata: Metadata) -> Picture:
    """Make a picture of floating point numbers, 0 for black and 1 for white.

    The numbers themselves are kept in ``floats``, those beyond 0 to 1 too: restoration works
    on a copy in 16 bits, and what it changes is added to them.

    Args:
        array: (H, W) gray, (H, W, 2) with alpha, (H, W, 3) RGB or (H, W, 4).

    Raises:
        ImageError: the numbers are of another range, such as 0 to 255.
    """
    shape = array.reshape(*array.shape[:2], -1)
    finite = np.nan_to_num(shape, nan=0.0, posinf=1.0, neginf=0.0)
    if (finite > 1).mean() > _MOST_BEYOND_WHITE:
        raise ImageError(
            f"its numbers reach {finite.max():g}; floating point pictures are restored where 1 "
            "is white: divide them first"
        )
    rounded = np.rint(np.clip(finite, 0, 1).astype(np.float64) * 65535).astype(np.uint16)
    picture = from_array(rounded, metadata)
    colours = 1 if metadata.gray or shape.shape[2] < 3 else 3
    floats = np.ascontiguousarray(np.broadcast_to(shape[..., :colours], picture.pixels.shape))
    return replace(picture, floats=floats)


def to_floats(picture: Picture) -> NDArray[Any]:
    """Return (H, W, 3) floats: the source's, and what restoration added to their 16-bit copy."""
    assert picture.floats is not None
    finite = np.nan_to_num(picture.floats, nan=0.0, posinf=1.0, neginf=0.0).astype(np.float64)
    before = np.rint(np.clip(finite, 0, 1) * 65535)
    added = (picture.pixels.astype(np.float64) - before) / 65535
    return np.where(added == 0, picture.floats, picture.floats + added).astype(picture.floats.dtype)


def to_array(picture: Picture) -> NDArray[Any]:
    """Join colour and alpha as the file wants them: 1 to 4 channels, (H, W) for one."""
    whole = to_gray(picture.pixels) if picture.metadata.gray else picture.pixels
    if picture.alpha is not None:
        whole = np.concatenate([whole, picture.alpha], axis=2)
    return np.ascontiguousarray(whole[..., 0] if whole.shape[2] == 1 else whole)


def animated(frames: int) -> ImageError:
    """Return the refusal of a file with several frames."""
    return ImageError(
        f"it is an animation of {frames} frames; restore it as a video, or take its frames out "
        "first",
        Kind.UNSUPPORTED,
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


def orientation_of(metadata: Metadata) -> int:
    """Return the orientation, 1 to 8, that EXIF or, where it is silent, XMP states; else 1."""
    stated = exif_upright.orientation_of(metadata.exif) or xmp_packet.orientation_of(metadata.xmp)
    return stated or 1


def marked_upright(metadata: Metadata, orientation: int, width: int, height: int) -> Metadata:
    """Make metadata say that the pixels are upright; what is meant across and down turns too.

    Args:
        metadata: of the picture as it was stored.
        orientation: that was applied, 1 to 8.
        width, height: of the picture as it was stored, in pixels.
    """
    exif, xmp, resources = metadata.exif, metadata.xmp, metadata.resources
    quarter = orientation >= 5
    return replace(
        metadata,
        exif=exif_upright.turned(exif, orientation, width, height) if exif else None,
        xmp=xmp_packet.turned(xmp, orientation) if xmp else None,
        dpi=metadata.dpi[::-1] if metadata.dpi and quarter else metadata.dpi,
        resources=photoshop.turned(resources) if resources and quarter else resources,
    )


def upright(picture: Picture) -> Picture:
    """Turn the pixels as the metadata asks and make it say that this was done."""
    orientation = orientation_of(picture.metadata)
    height, width = picture.pixels.shape[:2]
    metadata = marked_upright(picture.metadata, orientation, width, height)
    turn = _TURN.get(orientation)
    if turn is None:
        return replace(picture, metadata=metadata)
    alpha, floats = (
        None if plane is None else np.ascontiguousarray(turn(plane))
        for plane in (picture.alpha, picture.floats)
    )
    return Picture(np.ascontiguousarray(turn(picture.pixels)), alpha, metadata, floats)
