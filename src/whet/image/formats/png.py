"""PNG, 8 and 16 bit: pixels by imagecodecs, as Pillow would reduce them; chunks as bytes.

The chunks are those of the W3C's PNG specification, third edition (cICP, mDCV, cLLI, eXIf), and
C2PA's caBX. A chunk that says by its name that it may be copied whatever was changed is copied.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from whet.errors import ImageError
from whet.image.metadata import (
    Cicp,
    Metadata,
    Picture,
    animated,
    check_size,
    from_array,
    to_array,
)
from whet.image.notes import SEALED, damaged_part

__all__ = ["decode", "encode"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_COLOUR = {b"gAMA", b"cHRM", b"sRGB"}
_KEPT = _COLOUR | {b"tIME", b"sTER", b"oFFs", b"pCAL", b"sCAL"}
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_READ_APART = {b"iCCP", b"cICP", b"eXIf", b"pHYs", b"mDCV", b"cLLI", b"bKGD", b"caBX", b"sBIT"}
_STORAGE = {b"hIST", b"sPLT", b"iDOT", b"acTL", b"fcTL", b"fdAT", b"caNv"}
"""Chunks about how pixels were stored, which have no meaning in another file."""

_DAMAGED = b"!bad"

_XMP_KEY = b"XML:com.adobe.xmp\0"
_MAX_CHUNK_BYTES = 2**26  # a profile or text larger than 64 MiB is an attack
_LUMINANCE_UNIT = 0.0001  # of mDCV and cLLI, in cd/m2


def _inflate(data: bytes) -> bytes:
    """Decompress at most :data:`_MAX_CHUNK_BYTES`, so that a bomb stays small."""
    return zlib.decompressobj().decompress(data, _MAX_CHUNK_BYTES)


def _chunks(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG, from the stream's start, in order.

    One with a wrong checksum becomes :data:`_DAMAGED` with its type; pixels are left to the
    decoder.
    """
    stream.seek(len(_SIGNATURE))
    found = []
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT" or length > _MAX_CHUNK_BYTES:
            stream.seek(length + 4, 1)
            continue
        data, check = stream.read(length), stream.read(4)
        if kind in _PIXELS or check == zlib.crc32(kind + data).to_bytes(4, "big"):
            found.append((kind, data))
        else:
            found.append((_DAMAGED, kind))
        if kind == b"IEND":
            break
    return found


def _bare(stream: BinaryIO) -> bytes:
    """Return the file without what carries no pixels, on which libpng comments on the screen."""
    stream.seek(0)
    parts = [stream.read(len(_SIGNATURE))]
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _PIXELS:
            parts += [head, stream.read(length + 4)]
        else:
            stream.seek(length + 4, 1)
    return b"".join(parts)


# --- Reading -------------------------------------------------------------------------------


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    import imagecodecs

    stream.seek(0)
    header = stream.read(33)
    if header[12:16] != b"IHDR" or len(header) < 33:
        raise ImageError("the PNG data is damaged: it has no header; get a complete copy")
    width, height = struct.unpack_from(">II", header, 16)
    check_size(width, height, max_pixels)
    chunks = _chunks(stream)
    for kind, data in chunks:
        if kind == b"acTL" and (frames := int.from_bytes(data[:4], "big")) > 1:
            raise animated(frames)
    interlaced, colour_type = header[28], header[25]
    # libpng, told nothing of interlacing, comments on it on the screen; libspng does not, but
    # knows no gray with alpha.
    quiet = interlaced and colour_type != 4
    decoded = imagecodecs.spng_decode if quiet else imagecodecs.png_decode
    array = np.asarray(decoded(_bare(stream)))
    return from_array(array.reshape(height, width, -1), _metadata(chunks))


def _metadata(chunks: list[tuple[bytes, bytes]]) -> Metadata:
    """Build metadata from the chunks of a file."""
    known = dict(reversed(chunks))
    colour_type = known[b"IHDR"][9]
    notes: list[str] = []
    packet, text = _texts(chunks, notes)
    kept = [(kind, data) for kind, data in chunks if _may_be_kept(kind)] + text
    physical = known.get(b"pHYs", b"")
    dpi = None
    if len(physical) == 9:
        x, y, unit = struct.unpack(">IIB", physical)
        dpi = (x * 0.0254, y * 0.0254) if unit == 1 and x and y else None
    if b"bKGD" in known and (background := _background(known, colour_type)):
        kept.append((b"bKGD", background))
    if b"sBIT" in known:
        notes.append("the mark of significant bits (sBIT) was left out: restoration uses all bits")
    if b"caBX" in known:
        notes.append(SEALED)
    notes += [
        damaged_part(f"the chunk {bad.decode('latin-1')}") for k, bad in chunks if k == _DAMAGED
    ]
    unknown = sorted({k for k, _ in chunks if not _known(k)})
    if unknown:
        names = ", ".join(kind.decode("latin-1") for kind in unknown)
        notes.append(f"left out, as their meaning is unknown: the chunks {names}")
    metadata = Metadata(
        "PNG",
        gray=colour_type in (0, 4),
        icc=_profile(known, notes),
        exif=known.get(b"eXIf"),
        xmp=packet,
        dpi=dpi,
        chunks=tuple(kept),
        notes=tuple(notes),
    )
    return _with_light(metadata, known)


def _known(kind: bytes) -> bool:
    return _may_be_kept(kind) or kind in _PIXELS | _TEXT | _READ_APART | _STORAGE | {_DAMAGED}


def _may_be_kept(kind: bytes) -> bool:
    """Whether a chunk is copied: bit 5 of its last letter says that it is safe to."""
    special = _TEXT | _READ_APART | _STORAGE | {_DAMAGED}
    return kind in _KEPT or (kind[3:].islower() and kind not in special and kind not in _PIXELS)


def _profile(known: dict[bytes, bytes], notes: list[str]) -> bytes | None:
    if b"iCCP" not in known:
        return None
    try:
        return _inflate(known[b"iCCP"].split(b"\0", 1)[1][1:])
    except (IndexError, zlib.error):
        notes.append(damaged_part("the colour profile"))
        return None


def _texts(
    chunks: list[tuple[bytes, bytes]], notes: list[str]
) -> tuple[bytes | None, list[tuple[bytes, bytes]]]:
    """Return XMP, and the text chunks that are none."""
    packet, kept = None, []
    for kind, data in chunks:
        if kind == b"iTXt" and data.startswith(_XMP_KEY):
            try:
                compressed = data[len(_XMP_KEY)] == 1
                content = data[len(_XMP_KEY) + 2 :].split(b"\0", 2)[2]
                packet = _inflate(content) if compressed else content
            except (IndexError, zlib.error):
                notes.append(damaged_part("the XMP"))
        elif kind in _TEXT:
            kept.append((kind, data))
    return packet, kept


def _background(known: dict[bytes, bytes], colour_type: int) -> bytes | None:
    """Return bKGD for the colour type that is written; a palette's number becomes its colour."""
    data = known[b"bKGD"]
    if colour_type != 3:
        return data
    entry = known.get(b"PLTE", b"")[3 * data[0] : 3 * data[0] + 3] if data else b""
    return struct.pack(">3H", *entry) if len(entry) == 3 else None


def _with_light(metadata: Metadata, known: dict[bytes, bytes]) -> Metadata:
    """Add code points of colour, mastering volume and light level."""
    if len(data := known.get(b"cICP", b"")) == 4:
        metadata = replace(metadata, cicp=Cicp(data[0], data[1]))
    if len(data := known.get(b"mDCV", b"")) == 24:
        metadata = replace(metadata, mastering=struct.unpack(">8HII", data))
    if len(data := known.get(b"cLLI", b"")) == 8:
        most, average = (value * _LUMINANCE_UNIT for value in struct.unpack(">II", data))
        metadata = replace(metadata, light_level=(most, average))
    return metadata


# --- Writing -------------------------------------------------------------------------------


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    import imagecodecs

    del quality
    array = to_array(picture)
    # The encoder's own estimate forgets the filter byte of each row: tall and narrow pictures of
    # noise would not fit.
    room = array.nbytes + array.nbytes // 64 + 16 * len(array) + 4096
    # Level 3 takes a third of the time of the usual 6 for 6% more bytes (a 720p photograph).
    encoded = imagecodecs.png_encode(array, level=3, out=room)
    stream.write(_with_metadata(bytes(encoded), picture))


def _with_metadata(encoded: bytes, picture: Picture) -> bytes:
    """Insert the metadata's chunks behind the header of an encoded PNG."""
    metadata = picture.metadata
    chunks = []
    if metadata.cicp:
        chunks.append((b"cICP", bytes([metadata.cicp.primaries, metadata.cicp.transfer, 0, 1])))
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    chunks += [(k, d) for k, d in metadata.chunks if not (metadata.icc and k == b"sRGB")]
    if metadata.mastering:
        chunks.append((b"mDCV", struct.pack(">8HII", *metadata.mastering)))
    if metadata.light_level:
        levels = (round(level / _LUMINANCE_UNIT) for level in metadata.light_level)
        chunks.append((b"cLLI", struct.pack(">II", *levels)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", _XMP_KEY + b"\0\0\0\0" + metadata.xmp))
    if metadata.dpi:
        x, y = (round(dpi / 0.0254) for dpi in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    chunks += [_comment(comment) for comment in metadata.comments]
    inserted = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    header_end = len(_SIGNATURE) + 25  # IHDR: length, type, 13 bytes, checksum
    return encoded[:header_end] + inserted + encoded[header_end:]


def _comment(comment: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG's comment as a text chunk: UTF-8 where it is, else as Latin-1."""
    try:
        comment.decode("utf-8")
    except UnicodeDecodeError:
        return b"tEXt", b"Comment\0" + comment
    return b"iTXt", b"Comment" + bytes(5) + comment
