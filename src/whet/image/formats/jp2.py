"""JPEG 2000 of 8 to 16 bits: pixels by imagecodecs, colour and metadata as boxes.

The boxes are those of ISO/IEC 15444-1 annex I; EXIF and XMP stand in boxes of their own, under the
identifiers that Adobe gave them.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from whet.errors import ImageError, Kind
from whet.image.exif import without_prefix
from whet.image.isobmff import boxes_in
from whet.image.metadata import Metadata, Picture, check_size, from_array, to_array
from whet.image.notes import SEALED

__all__ = ["decode", "encode"]

_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_SRGB, _GRAY = 16, 17
_TARGET_DB = (20.0, 0.4)  # of a lossy file: 30 dB at quality 25, 60 at 100


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    import imagecodecs

    stream.seek(0)
    data = stream.read()
    boxes = [] if data.startswith(b"\xff\x4f") else list(boxes_in(data))
    codestream = dict(boxes).get("jp2c", data)
    # SIZ, the first segment: sizes of the grid and of the offset into it (15444-1, A.5.1).
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    check_size(right - left, bottom - top, max_pixels)
    bits = (codestream[42] & 0x7F) + 1
    metadata = _described(boxes)
    array = np.asarray(imagecodecs.jpeg2k_decode(data))
    if codestream[42] & 0x80 or not 8 <= bits <= 16 or array.ndim > 3:
        raise ImageError(
            f"JPEG 2000 of numbers of {bits} bits{' with a sign' * (codestream[42] >> 7)} is not "
            "read; convert the picture to TIFF first",
            Kind.UNSUPPORTED,
        )
    if bits > 8:
        array = np.rint(array * (65535 / (2**bits - 1))).astype(np.uint16)
        metadata = replace(metadata, bits=bits if bits < 16 else None)
    return from_array(array, metadata)


def _described(boxes: list[tuple[str, bytes]]) -> Metadata:
    """Collect what the boxes say beside the pixels.

    Raises:
        ImageError: its colours are neither RGB nor gray.
    """
    known = dict(boxes)
    icc, exif, packet, notes = None, None, None, []
    for kind, content in boxes_in(known.get("jp2h", b"")):
        if kind == "colr" and content[0] in (2, 3):
            icc = content[3:]
        elif kind == "colr" and content[0] == 1:
            (space,) = struct.unpack_from(">I", content, 3)
            if space not in (_SRGB, _GRAY):
                raise ImageError(
                    f"JPEG 2000 in the colour space {space} is not read; convert it to sRGB first",
                    Kind.UNSUPPORTED,
                )
    for kind, content in boxes:
        if kind == "uuid" and content[:16] == _XMP:
            packet = content[16:]
        elif kind == "uuid" and content[:16] == _EXIF:
            exif = without_prefix(content[16:])
        elif kind == "jumb" or (kind == "uuid" and content[:16] == _C2PA):
            notes.append(SEALED)
    return Metadata("JP2", icc=icc, exif=exif, xmp=packet, notes=tuple(notes))


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    """Write without loss, or with a quality in so many dB as it asks for."""
    import imagecodecs

    array, metadata = to_array(picture), picture.metadata
    bits = 8
    if array.dtype == np.uint16:
        bits = metadata.bits or 16
        array = np.rint(array.astype(np.float64) * ((2**bits - 1) / 65535)).astype(np.uint16)
    base, step = _TARGET_DB
    level = 0 if quality is None else round(base + step * quality)
    encoded = imagecodecs.jpeg2k_encode(
        array, level=level, codecformat="jp2", reversible=quality is None, bitspersample=bits
    )
    stream.write(_with_metadata(bytes(encoded), picture))


def _with_metadata(encoded: bytes, picture: Picture) -> bytes:
    """Say colour and alpha in the header, and append EXIF and XMP."""
    metadata, colours = picture.metadata, 1 if picture.metadata.gray else 3
    out = []
    for kind, content in boxes_in(encoded):
        if kind == "jp2h":
            content = b"".join(
                _box(name, b"\2\0\0" + metadata.icc if name == "colr" and metadata.icc else inner)
                for name, inner in boxes_in(content)
            )
            if picture.alpha is not None:
                entries = [(n, 0, n + 1) for n in range(colours)] + [(colours, 1, 0)]
                packed = b"".join(struct.pack(">3H", *entry) for entry in entries)
                content += _box("cdef", struct.pack(">H", len(entries)) + packed)
        out.append(_box(kind, content))
    if metadata.exif:
        out.append(_box("uuid", _EXIF + metadata.exif))
    if metadata.xmp:
        out.append(_box("uuid", _XMP + metadata.xmp))
    return b"".join(out)


def _box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind.encode("latin-1")) + content
