"""JPEG XL in sRGB: pixels by imagecodecs, metadata as boxes.

The decoder does not tell what the colours mean, so the header of the codestream is read here
(ISO/IEC 18181-1); what has neither sRGB's primaries and its curve nor linear light is refused by
name. The encoder calls 16-bit numbers linear light, so that what whet writes has 8 bits.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from whet.errors import ImageError, Kind
from whet.image.colour import gamma_profile
from whet.image.exif_upright import orientation_of
from whet.image.isobmff import boxes_in
from whet.image.metadata import (
    Metadata,
    Picture,
    check_size,
    from_array,
    marked_upright,
    to_array,
)
from whet.image.notes import SEALED

__all__ = ["decode", "encode"]

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_LINEAR, _SRGB_CURVE = 8, 13
_D65, _SRGB_PRIMARIES, _XYB = 1, 1, 2
_LOSSY_QUALITY = 95


class _Bits:
    """Bits of a codestream, lowest first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data[:4096], "little")

    def take(self, count: int) -> int:
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read one of four forms, each an offset and a number of bits (18181-1, B.2.2)."""
        offset, bits = choices[self.take(2)]
        return offset + self.take(bits)

    def enum(self) -> int:
        return self.u32((0, 0), (1, 0), (2, 4), (18, 6))


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    import imagecodecs

    stream.seek(0)
    data = stream.read()
    boxes = list(boxes_in(data)) if data.startswith(_CONTAINER) else []
    codestream = b"".join(c[4:] if k == "jxlp" else c for k, c in boxes if k in ("jxlc", "jxlp"))
    width, height, bits, linear, lossy = _checked_header(codestream or data, max_pixels)
    exif = next((c[4:] for k, c in boxes if k == "Exif"), None)
    packet = next((c for k, c in boxes if k == "xml "), None)
    notes = (SEALED,) if any(kind == "jumb" for kind, _ in boxes) else ()
    if any(kind == "brob" for kind, _ in boxes):
        notes = (*notes, "metadata that is compressed in the JPEG XL was left out")
    array = np.asarray(imagecodecs.jpegxl_decode(data))
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"JPEG XL of {array.dtype} is not read; convert it to 16 bits first",
                         Kind.UNSUPPORTED)  # fmt: skip
    if 8 < bits < 16 and int(array.max()) < 2**bits:
        array = np.rint(array * (65535 / (2**bits - 1))).astype(np.uint16)
    orientation = orientation_of(exif) or 1
    gray = array.ndim == 2 or array.shape[2] == 2
    icc = gamma_profile(1.0, None, gray=gray) if linear else None
    lossy |= any(kind == "jbrd" for kind, _ in boxes)  # it was a JPEG
    metadata = Metadata("JXL", icc=icc, exif=exif, xmp=packet, lossless=not lossy, notes=notes)
    # The decoder turns the pixels as the codestream says; EXIF says it again.
    return from_array(array, marked_upright(metadata, orientation, width, height))


def _checked_header(codestream: bytes, max_pixels: int) -> tuple[int, int, int, bool, bool]:
    """Return width, height, bits per channel, whether in linear light, and whether with loss.

    Raises:
        ImageError: it is too large, an animation, or not in sRGB.
    """
    bits = _Bits(codestream[2:])
    width, height = _size(bits)
    check_size(width, height, max_pixels)
    if bits.take(1):  # everything as usual: 8 bits, sRGB
        return width, height, 8, False, True
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _size(bits)  # intended size
        if bits.take(1) or bits.take(1):
            raise ImageError("it is an animation or holds a preview; take its frames out first",
                             Kind.UNSUPPORTED)  # fmt: skip
    depth = _depth(bits)
    bits.take(1)  # buffers of 16 bits suffice
    for _ in range(bits.u32((0, 0), (1, 0), (2, 4), (1, 12))):
        _extra_channel(bits)
    lossy = bool(bits.take(1))  # in XYB, the space of lossy coding
    return width, height, depth, _is_linear(bits), lossy


def _size(bits: _Bits) -> tuple[int, int]:
    forms = ((1, 9), (1, 13), (1, 18), (1, 30))
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else bits.u32(*forms)
    if ratio := bits.take(3):
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return (8 * (1 + bits.take(5)) if small else bits.u32(*forms)), height


def _depth(bits: _Bits) -> int:
    if bits.take(1):
        depth = bits.u32((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)  # of the exponent
        return depth
    return bits.u32((8, 0), (10, 0), (12, 0), (1, 6))


def _extra_channel(bits: _Bits) -> None:
    """Pass over an extra channel; only alpha is known."""
    if bits.take(1):
        return
    kind = bits.enum()
    _depth(bits)
    bits.u32((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.u32((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    if kind:
        raise ImageError("it holds channels beside colour and alpha; convert it to TIFF first",
                         Kind.UNSUPPORTED)  # fmt: skip
    bits.take(1)  # whether colours are multiplied by it


def _is_linear(bits: _Bits) -> bool:
    """Return whether the curve is linear and not that of sRGB.

    Raises:
        ImageError: the colours are others.
    """
    refusal = ImageError(
        "JPEG XL in other colours than sRGB is not read, as they cannot be kept; "
        "convert it to PNG first",
        Kind.UNSUPPORTED,
    )
    if bits.take(1):
        return False
    if bits.take(1):  # an ICC profile follows
        raise refusal
    space = bits.enum()
    if space == _XYB or bits.enum() != _D65:
        raise refusal
    if space == 0 and bits.enum() != _SRGB_PRIMARIES:
        raise refusal
    curve = None if bits.take(1) else bits.enum()
    if curve not in (_LINEAR, _SRGB_CURVE):
        raise refusal
    return curve == _LINEAR


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    """Write without loss where the source's format has none, else at a quality like JPEG's."""
    import imagecodecs

    array, metadata = to_array(picture), picture.metadata
    exact = metadata.format in ("PNG", "TIFF", "BMP", "PPM", "JP2", "GIF") or (
        metadata.format == "JXL" and metadata.lossless
    )
    lossless = quality is None and exact
    options = {"lossless": True} if lossless else {"level": quality or _LOSSY_QUALITY}
    encoded = bytes(imagecodecs.jpegxl_encode(array, usecontainer=True, **options))
    if metadata.exif:
        encoded += _box(b"Exif", bytes(4) + metadata.exif)
    if metadata.xmp:
        encoded += _box(b"xml ", metadata.xmp)
    stream.write(encoded)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
