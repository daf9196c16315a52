"""JPEG: segments read and written as bytes, pixels by Pillow; 12 and 16 bit by imagecodecs.

What stands beside the pixels is ITU-T T.81 annex B (segments), T.871 (JFIF), EXIF 2.3, XMP part
3, ICC.1 annex B, Photoshop's image resources (IPTC), CIPA DC-007 (several pictures in a file)
and ISO 19566-5 (JUMBF, which carries Content Credentials).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError, Kind
from whet.image import photoshop, xmp
from whet.image.formats import pillow
from whet.image.formats.jpeg_scan import is_whole
from whet.image.metadata import Metadata, Picture, check_size, from_array, to_array
from whet.image.notes import SEALED, damaged_part

__all__ = ["decode", "encode", "salvage"]

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_KEPT_BARE = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, 0xDC, 0xEE}
_HUFFMAN_8 = {0xC0, 0xC1, 0xC2}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _IRB, _MPF = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"MPF\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_SEGMENT_BYTES = 65533
_END = b"\xff\xd9"

# Sum of the luminance quantisation table of ITU-T T.81, annex K, table K.1.
_TABLE_SUM = 3688


@dataclass
class _File:
    """A JPEG taken apart.

    Attributes:
        segments: marker and content of each, up to the end of the picture.
        bare: tables, frame and scans alone, from SOI to EOI.
        ended: whether it has its end marker.
        tail: what stands behind the picture.
    """

    segments: list[tuple[int, bytes]] = field(default_factory=list)
    bare: bytes = b""
    ended: bool = False
    tail: bytes = b""

    def starting(self, marker: int, prefix: bytes) -> list[bytes]:
        """Return the contents of the segments of a kind, without their prefix."""
        return [c[len(prefix) :] for m, c in self.segments if m == marker and c.startswith(prefix)]


def _taken_apart(data: bytes) -> _File:
    """Split a JPEG at its markers.

    Raises:
        ImageError: it ends before its picture begins.
    """
    file, at, bare = _File(), 2, [data[:2]]
    while match := _MARKER.search(data, at):
        start, marker = match.start(), data[match.start() + 1]
        at = start + 2
        if marker == 0xD9:
            file.ended, file.tail = True, data[at:]
            break
        if marker in (0x01, 0xD8):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        content = data[at + 2 : at + length]
        if len(content) != length - 2:
            break
        file.segments.append((marker, content))
        at += length
        if marker == 0xDA:
            scan_end = next((m.start() for m in _MARKER.finditer(data, at)), len(data))
            bare.append(data[start:scan_end])
            at = scan_end
        elif marker in _KEPT_BARE:
            bare.append(data[start:at])
    if not any(marker == 0xDA for marker, _ in file.segments):
        raise ImageError("the JPEG data is incomplete: it ends before the picture begins")
    file.bare = b"".join(bare) + _END
    return file


@dataclass(frozen=True)
class _Frame:
    """What the frame header says (T.81, B.2.2)."""

    marker: int
    precision: int
    height: int
    width: int
    samplings: frozenset[int]
    components: int


def _frame(file: _File) -> _Frame:
    for marker, content in file.segments:
        if marker in _FRAMES:
            precision, height, width, count = struct.unpack_from(">BHHB", content)
            factors = content[7 : 6 + 3 * count : 3]
            samplings = frozenset(f >> 4 for f in factors) | {f & 15 for f in factors}
            return _Frame(marker, precision, height, width, frozenset(samplings), count)
    raise ImageError("the JPEG data is damaged: it has no frame header")


# --- Reading -------------------------------------------------------------------------------


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    """Read a sound JPEG, or one that lacks only its end marker.

    Raises:
        ImageError: it is damaged, incomplete or too large.
    """
    return _decoded(stream, max_pixels, salvage=False)


def salvage(stream: BinaryIO, max_pixels: int) -> Picture:
    """Read a JPEG as far as it goes; what is damaged shows, and is noted."""
    return _decoded(stream, max_pixels, salvage=True)


def _decoded(stream: BinaryIO, max_pixels: int, *, salvage: bool) -> Picture:
    stream.seek(0)
    file = _taken_apart(stream.read())
    frame = _frame(file)
    check_size(frame.width, frame.height or 1, max_pixels)
    notes = []
    if not file.ended:
        notes.append("the file lacks its end marker; its picture is complete")
    if not _sound(file, frame):
        if not salvage:
            raise ImageError(
                "the JPEG data is damaged or incomplete; get a complete copy of the file",
                Kind.SALVAGEABLE,
            )
        notes = ["the JPEG data is damaged or incomplete; what could be read was restored"]
    described = _described(file, notes)
    if frame.precision == 8 and frame.marker != 0xC3:
        return _by_pillow(file, described)
    return _by_imagecodecs(file, frame, described)


def _sound(file: _File, frame: _Frame) -> bool:
    if frame.precision != 8 or frame.marker not in _HUFFMAN_8:
        return file.ended
    transcodable = frame.components in (1, 3) and frame.samplings <= {1, 2}
    return is_whole(file.bare, frame.width * frame.height, transcodable=transcodable)


def _by_pillow(file: _File, metadata: Metadata) -> Picture:
    from PIL import ImageFile
    from PIL.JpegImagePlugin import JpegImageFile

    image: ImageFile.ImageFile = JpegImageFile(io.BytesIO(file.bare))
    metadata = replace(metadata, quality=_quality(getattr(image, "quantization", None)))
    return pillow.picture_of(image, metadata)


def _by_imagecodecs(file: _File, frame: _Frame, metadata: Metadata) -> Picture:
    """Decode 12 and 16 bit and lossless kinds, in 16 bits where there are more than 8."""
    import imagecodecs

    if frame.components not in (1, 3):
        raise ImageError(f"JPEGs of {frame.precision} bits and {frame.components} channels are "
                         "not read; convert the picture to TIFF first")  # fmt: skip
    array = np.asarray(imagecodecs.jpeg8_decode(file.bare))
    metadata = replace(metadata, lossless=frame.marker == 0xC3)
    if frame.precision > 8:
        peak = 2**frame.precision - 1
        array = np.rint(array.astype(np.float64) * (65535 / peak)).astype(np.uint16)
        metadata = replace(metadata, bits=frame.precision)
    return from_array(array, metadata)


def _quality(tables: Mapping[int, Any] | None) -> int | None:
    """Estimate the libjpeg quality setting that made a file's luminance table."""
    if not tables:
        return None
    scale: float = 100 * sum(tables[min(tables)]) / _TABLE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return max(1, min(100, round(quality)))


def _described(file: _File, notes: list[str]) -> Metadata:
    """Collect what the segments say beside the pixels."""
    exif = next(iter(file.starting(0xE1, _EXIF)), None)
    packet = next(iter(file.starting(0xE1, _XMP)), None)
    if packet and (extensions := file.starting(0xE1, _EXTENDED)):
        whole = xmp.merged(packet, _extension(packet, extensions))
        if whole is None:
            notes.append(damaged_part("the extended part of the XMP"))
        packet = whole or packet
    icc = _icc(file.starting(0xE2, _ICC))
    resources = b"".join(file.starting(0xED, _IRB))
    comments = tuple(content for marker, content in file.segments if marker == 0xFE)
    notes += _beside(file, packet or b"")
    return Metadata(
        "JPEG",
        icc=icc,
        exif=exif,
        xmp=packet,
        dpi=_density(file.starting(0xE0, b"JFIF\0")),
        resources=photoshop.without_thumbnails(resources) or None,
        comments=comments,
        notes=tuple(notes),
    )


def _density(headers: list[bytes]) -> tuple[float, float] | None:
    """Return JFIF's resolution in pixels per inch, where it says one."""
    if not headers or len(headers[0]) < 7:
        return None
    unit, x, y = struct.unpack_from(">BHH", headers[0], 2)
    scale = {1: 1.0, 2: 2.54}.get(unit)
    return (x * scale, y * scale) if scale and x and y else None


def _icc(parts: list[bytes]) -> bytes | None:
    """Join a profile's parts in the order of their numbers."""
    numbered = sorted((part[0], part[2:]) for part in parts if len(part) > 2)
    return b"".join(part for _, part in numbered) or None


def _extension(packet: bytes, parts: list[bytes]) -> bytes:
    """Join the parts of extended XMP that bear the digest which the packet names."""
    wanted = [part for part in parts if part[:32] in packet]
    placed = sorted((struct.unpack_from(">I", part, 36)[0], part[40:]) for part in wanted)
    return b"".join(content for _, content in placed)


def _beside(file: _File, packet: bytes) -> list[str]:
    """Say what else the file holds that is not written: pictures, films, seals."""
    notes = []
    tail = file.tail.strip(b"\0")
    several = bool(file.starting(0xE2, _MPF))
    gain_map = b"hdr-gain-map" in packet or bool(file.starting(0xE2, _GAIN_MAP))
    gain_map |= b"HDRGainMap" in packet or b"hdr-gain-map" in tail or _GAIN_MAP in tail
    if gain_map:
        notes.append("the gain map for HDR screens was left out; the picture itself is complete")
    if b"ftyp" in tail[:4096] or b"MotionPhoto" in packet or b"MicroVideo" in packet:
        notes.append("the short film behind the photograph was left out")
    elif tail.startswith(b"\xff\xd8") and several and not gain_map:
        notes.append("the other pictures behind the photograph (previews or views) were left out")
    elif tail and not gain_map:
        notes.append(f"{len(tail)} bytes of other data behind the picture were left out")
    if file.starting(0xEB, b"JP"):
        notes.append(SEALED)
    return notes


# --- Writing -------------------------------------------------------------------------------


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    metadata = picture.metadata
    if picture.pixels.dtype == np.uint16 or (metadata.lossless and metadata.format == "JPEG"):
        bare = _deep(to_array(picture), metadata, quality)
    else:
        bare = _usual(to_array(picture), metadata, quality)
    stream.write(_with_segments(bare, metadata))


def _usual(array: NDArray[Any], metadata: Metadata, quality: int | None) -> bytes:
    from PIL import Image

    options: dict[str, Any] = {"dpi": metadata.dpi} if metadata.dpi else {}
    options["quality"] = quality or max(85, metadata.quality or 95)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", subsampling="4:4:4", **options)
    return buffer.getvalue()


def _deep(array: NDArray[Any], metadata: Metadata, quality: int | None) -> bytes:
    """Encode 12 or 16 bits, or without loss, as the source was."""
    import imagecodecs

    options: dict[str, Any] = {"lossless": True} if metadata.lossless else {}
    if array.dtype == np.uint16:
        bits = metadata.bits or 12
        array = np.rint(array.astype(np.float64) * ((2**bits - 1) / 65535)).astype(np.uint16)
        options["bitspersample"] = bits
    if not metadata.lossless:
        options |= {"level": quality or 95, "subsampling": "444" if array.ndim == 3 else None}
    return bytes(imagecodecs.jpeg8_encode(array, **options))


def _with_segments(bare: bytes, metadata: Metadata) -> bytes:
    """Insert metadata behind the JFIF header, in the order that readers expect."""
    parts = []
    if metadata.exif:
        parts.append((0xE1, _EXIF + metadata.exif))
    if metadata.xmp:
        parts += _xmp_segments(metadata.xmp)
    if metadata.icc:
        room = _SEGMENT_BYTES - len(_ICC) - 2
        pieces = _pieces(metadata.icc, room)
        parts += [
            (0xE2, _ICC + bytes([number + 1, len(pieces)]) + piece)
            for number, piece in enumerate(pieces)
        ]
    if metadata.resources:
        room = _SEGMENT_BYTES - len(_IRB)
        parts += [(0xED, _IRB + piece) for piece in _pieces(metadata.resources, room)]
    parts += [(0xFE, comment) for comment in metadata.comments]
    inserted = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in parts
    )
    at = 2
    if bare[2:4] == b"\xff\xe0":
        at += 2 + int.from_bytes(bare[4:6], "big")
    return bare[:at] + inserted + bare[at:]


def _xmp_segments(packet: bytes) -> list[tuple[int, bytes]]:
    """Return one segment, or for a long packet a pointer and the parts of its extension."""
    if len(_XMP) + len(packet) <= _SEGMENT_BYTES:
        return [(0xE1, _XMP + packet)]
    pointer, rest, digest = xmp.extended(packet)
    pieces = _pieces(rest, _SEGMENT_BYTES - len(_EXTENDED) - 40)
    segments, at = [(0xE1, _XMP + pointer)], 0
    for piece in pieces:
        head = _EXTENDED + digest + struct.pack(">II", len(rest), at)
        segments.append((0xE1, head + piece))
        at += len(piece)
    return segments


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
