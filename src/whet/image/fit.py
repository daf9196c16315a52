"""What a format can hold of a picture: the rest is converted, refused, or named in a note."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError
from whet.image import colour, xmp
from whet.image.metadata import Metadata, Picture
from whet.image.notes import left_out

__all__ = ["Holds", "fitted", "to_8bit"]

_JPEG_EXIF_BYTES = 65527
_TIFF_ONLY = "private TIFF tags"


@dataclass(frozen=True)
class Holds:
    """What a format can hold.

    Attributes:
        gray, alpha: one colour channel; transparency.
        bits: most bits per channel.
        floats: floating point numbers.
        icc, cicp: colour by a profile; by code points, the only way to say HDR.
        parts: names of the other things, as :func:`_parts` gives them.
    """

    gray: bool = False
    alpha: bool = False
    bits: int = 8
    floats: bool = False
    icc: bool = False
    cicp: bool = False
    parts: frozenset[str] = frozenset()


def to_8bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Round 0..65535 to 0..255 (257 = 65535 / 255)."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def fitted(picture: Picture, name: str, holds: Holds) -> tuple[Picture, tuple[str, ...]]:
    """Reduce a picture to what format ``name`` can hold, and say what was reduced.

    Raises:
        ImageError: the reduction would lose transparency or high dynamic range.
    """
    notes: list[str] = []
    if picture.alpha is not None and not holds.alpha:
        if (picture.alpha < np.iinfo(picture.alpha.dtype).max).any():
            raise ImageError(f"{name} holds no transparency; write a .png, .webp or .tif")
        picture = replace(picture, alpha=None)
    picture = _in_its_colours(picture, name, holds, notes)
    picture = _in_its_depth(picture, name, holds, notes)
    picture = _without_parts(picture, name, holds, notes)
    return replace(picture, metadata=_with_history(picture.metadata, holds)), tuple(notes)


def _with_history(metadata: Metadata, holds: Holds) -> Metadata:
    """Say in the XMP what was done, where the format holds one."""
    if metadata.history is None or "XMP" not in holds.parts:
        return metadata
    return replace(metadata, xmp=xmp.marked(metadata.xmp, *metadata.history))


# --- Colour --------------------------------------------------------------------------------


def _in_its_colours(picture: Picture, name: str, holds: Holds, notes: list[str]) -> Picture:
    metadata = picture.metadata
    if not holds.cicp and colour.described(metadata.cicp) and metadata.icc is None:
        assert metadata.cicp is not None
        icc = colour.profile_of(metadata.cicp, gray=metadata.gray)
        metadata = _with_profile(metadata, icc, name, holds, notes)
    if name != "PNG" and metadata.icc is None and not colour.described(metadata.cicp):
        metadata = _with_profile(metadata, _gamma_profile(metadata), name, holds, notes)
    if not holds.cicp:
        metadata = replace(metadata, cicp=None)
    picture = replace(picture, metadata=metadata)
    gray_kept = metadata.gray and holds.gray and (picture.alpha is None or holds.alpha)
    if metadata.icc is None:
        return replace(picture, metadata=replace(metadata, gray=gray_kept))
    for_gray = metadata.icc[16:20] == b"GRAY"
    if holds.icc and (gray_kept or not for_gray):
        # PNG is strict: a profile for RGB describes no gray picture.
        strict = name == "PNG" and not for_gray
        return replace(picture, metadata=replace(metadata, gray=gray_kept and not strict))
    if not colour.is_srgb(metadata.icc):
        picture = colour.in_srgb(picture)
        notes.append(f"the colours were converted to sRGB, as {name} cannot hold their profile")
    return replace(picture, metadata=replace(picture.metadata, icc=None, gray=gray_kept))


def _with_profile(
    metadata: Metadata, icc: bytes | None, name: str, holds: Holds, notes: list[str]
) -> Metadata:
    """Attach the profile that says what code points or a gamma said."""
    if icc is not None and holds.icc:
        notes.append(f"the meaning of the colours is said by an ICC profile in the {name}")
    return replace(metadata, icc=icc)


def _gamma_profile(metadata: Metadata) -> bytes | None:
    """Return the profile of a PNG's gAMA and cHRM; sRGB stands above both."""
    chunks = dict(metadata.chunks)
    if b"sRGB" in chunks or len(gamma := chunks.get(b"gAMA", b"")) != 4:
        return None
    value = int.from_bytes(gamma, "big") / 100000
    primaries = None
    if len(chunks.get(b"cHRM", b"")) == 32:
        primaries = tuple(v / 100000 for v in struct.unpack(">8I", chunks[b"cHRM"]))
    if not 0.01 <= value <= 10 or (primaries and min(primaries[1::2]) <= 0):
        return None
    return colour.gamma_profile(value, primaries, gray=metadata.gray)


# --- Depth ---------------------------------------------------------------------------------


def _in_its_depth(picture: Picture, name: str, holds: Holds, notes: list[str]) -> Picture:
    metadata, pixels, alpha = picture.metadata, picture.pixels, picture.alpha
    if picture.floats is not None and not holds.floats:
        picture = replace(picture, floats=None)
        notes.append(f"{name} holds no floating point numbers: they were rounded and clipped")
    if pixels.dtype == np.uint8:
        return picture
    source = metadata.bits or 16
    same = metadata.format == name
    if holds.bits == 8 and not (same and metadata.bits):
        pixels, alpha = to_8bit(pixels), None if alpha is None else to_8bit(alpha)
        notes.append(f"{name} holds 8 bits per channel: {source} were reduced to 8")
        return Picture(pixels, alpha, replace(metadata, bits=None))
    if holds.bits < source and not same:
        notes.append(f"{name} holds {holds.bits} bits per channel: {source} were reduced")
    return picture


# --- The rest ------------------------------------------------------------------------------


def _parts(metadata: Metadata) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each thing beside the pixels, and the fields without it."""
    if metadata.exif:
        yield "EXIF", {"exif": None}
    if metadata.xmp:
        yield "XMP", {"xmp": None}
    if metadata.resources:
        yield "IPTC", {"resources": None}
    if metadata.comments:
        yield "the comment", {"comments": ()}
    if metadata.dpi:
        yield "the resolution", {"dpi": None}
    if metadata.mastering:
        yield "the mastering display", {"mastering": None}
    if metadata.light_level:
        yield "the light level", {"light_level": None}
    text = tuple(c for c in metadata.chunks if c[0] in (b"tEXt", b"zTXt", b"iTXt"))
    if text:
        yield "text chunks", {"chunks": tuple(c for c in metadata.chunks if c not in text)}
    if any(kind in (b"tIME", b"bKGD") for kind, _ in metadata.chunks):
        yield "PNG's time and background", {}
    if metadata.tags:
        yield _TIFF_ONLY, {"tags": ()}


def _without_parts(picture: Picture, name: str, holds: Holds, notes: list[str]) -> Picture:
    metadata, missing = picture.metadata, []
    for part, without in _parts(metadata):
        too_long = (
            part == "EXIF" and name == "JPEG" and len(metadata.exif or b"") > _JPEG_EXIF_BYTES
        )
        if part in holds.parts and not too_long:
            continue
        metadata = replace(metadata, **without)
        missing.append(part)
    if missing:
        notes.append(left_out(name, missing))
    return replace(picture, metadata=metadata)
