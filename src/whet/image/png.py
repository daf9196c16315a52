"""PNG and netpbm, 8 and 16 bit: the two formats whose pixels Pillow would reduce.

imagecodecs decodes and encodes PNG pixels; the metadata chunks are read and
inserted here as bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import BinaryIO

import numpy as np

from whet.image import pillow
from whet.image.metadata import Metadata, Picture, animated, check_size, from_array, to_array

__all__ = ["decode_png", "decode_pnm", "encode_png", "encode_pnm"]

_PNG_KEPT = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt"}
_PNG_READ = {b"IHDR", b"acTL", b"iCCP", b"eXIf", b"pHYs"} | _PNG_KEPT
_PNM_DEEP = re.compile(rb"(P[56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d+)" + rb"\s")
_XMP_KEY = b"XML:com.adobe.xmp\0"
_MAX_CHUNK_BYTES = 2**26  # a profile or text larger than 64 MiB is an attack


def _inflate(data: bytes) -> bytes:
    """Decompress at most :data:`_MAX_CHUNK_BYTES`, so that a bomb stays small."""
    return zlib.decompressobj().decompress(data, _MAX_CHUNK_BYTES)


def _chunks(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG that carry metadata, from the stream's start, in order."""
    stream.seek(8)
    found = []
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _PNG_READ and length <= _MAX_CHUNK_BYTES:
            found.append((kind, stream.read(length)))
            stream.seek(4, 1)
        else:
            stream.seek(length + 4, 1)
    return found


def _metadata(chunks: list[tuple[bytes, bytes]]) -> Metadata:
    """Build metadata from the chunks that :func:`_chunks` found."""
    known = dict(reversed(chunks))
    icc, xmp = None, None
    kept, notes = [], []
    if b"iCCP" in known:
        try:
            icc = _inflate(known[b"iCCP"].split(b"\0", 1)[1][1:])
        except (IndexError, zlib.error):
            notes.append("the colour profile is damaged and was left out")
    for kind, data in chunks:
        if kind == b"iTXt" and data.startswith(_XMP_KEY):
            compressed = data[len(_XMP_KEY)] == 1
            text = data[len(_XMP_KEY) + 2 :].split(b"\0", 2)[2]
            xmp = _inflate(text) if compressed else text
        elif kind in _PNG_KEPT:
            kept.append((kind, data))
    dpi = None
    if len(known.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", known[b"pHYs"])
        dpi = (x * 0.0254, y * 0.0254) if unit == 1 and x and y else None
    return Metadata(
        "PNG",
        gray=known[b"IHDR"][9] in (0, 4),
        icc=icc,
        exif=known.get(b"eXIf"),
        xmp=xmp,
        dpi=dpi,
        chunks=tuple(kept),
        notes=tuple(notes),
    )


def _with_metadata(encoded: bytes, metadata: Metadata) -> bytes:
    """Insert the metadata's chunks behind the header of an encoded PNG."""
    chunks = [(k, d) for k, d in metadata.chunks if not (metadata.icc and k == b"sRGB")]
    if metadata.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append((b"iTXt", _XMP_KEY + b"\0\0\0\0" + metadata.xmp))
    if metadata.dpi:
        x, y = (round(dpi / 0.0254) for dpi in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    inserted = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    header_end = 8 + 25  # signature, then IHDR: length, type, 13 bytes, checksum
    return encoded[:header_end] + inserted + encoded[header_end:]


def decode_png(stream: BinaryIO, max_pixels: int) -> Picture:
    import imagecodecs

    chunks = _chunks(stream)
    known = dict(chunks)
    width, height = struct.unpack(">II", known[b"IHDR"][:8])
    check_size(width, height, max_pixels)
    if b"acTL" in known:
        (frames,) = struct.unpack(">I", known[b"acTL"][:4])
        if frames > 1:
            raise animated(frames)
    stream.seek(0)
    return from_array(imagecodecs.png_decode(stream.read()), _metadata(chunks))


def encode_png(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    import imagecodecs

    del quality
    # Level 3 takes a third of the time of the usual 6 for 6% more bytes (a 720p photograph).
    encoded = imagecodecs.png_encode(to_array(picture), level=3)
    stream.write(_with_metadata(bytes(encoded), picture.metadata))


def decode_pnm(stream: BinaryIO, max_pixels: int) -> Picture:
    """Read netpbm; the binary 16-bit kinds here, as Pillow reduces them to 8 bits."""
    stream.seek(0)
    header = _PNM_DEEP.match(stream.read(4096))
    if header is None or int(header[4]) < 256:
        return pillow.reader("PPM")(stream, max_pixels)
    width, height, peak = (int(header[group]) for group in (2, 3, 4))
    check_size(width, height, max_pixels)
    channels = 3 if header[1] == b"P6" else 1
    stream.seek(header.end())
    data = stream.read(2 * width * height * channels)
    array = np.frombuffer(data, ">u2").reshape(height, width, channels)
    if peak != 65535:
        array = np.rint(array.astype(np.float64) * (65535 / peak))
    return from_array(array.astype(np.uint16), Metadata("PPM"))


def encode_pnm(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    del quality
    array = to_array(picture)
    height, width = array.shape[:2]
    kind = "P5" if array.ndim == 2 else "P6"
    stream.write(f"{kind}\n{width} {height}\n{np.iinfo(array.dtype).max}\n".encode())
    stream.write(array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes())
