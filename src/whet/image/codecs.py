"""One entry per file format: how it is recognised, read and written.

A new format is one new file with its two functions and one line in
:data:`FORMATS`. PNG goes through imagecodecs and TIFF through tifffile, as
Pillow reads 16-bit colour as 8-bit in both; the rest is Pillow's. Each imports
its library when it is called: a JPEG does not pay for the TIFF library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from whet.image.fit import Holds
from whet.image.formats import avif, heif, jp2, jpeg, jxl, pillow, png, pnm, tiff, tiff_write
from whet.image.metadata import Picture

__all__ = ["FORMATS", "Format", "sniff"]


@dataclass(frozen=True)
class Format:
    """What whet knows about a file format.

    Attributes:
        suffixes: file name endings, the first is the usual one.
        magic: tells from the first 32 bytes whether a file is of this format.
        decode: reads a seekable stream; refuses more pixels than the second argument.
        encode: writes picture to stream at a quality of 1 to 100 or None; None
            where whet only reads the format.
        holds: what it can hold.
        salvage: reads a damaged file as far as it goes; None where that is not told apart.
    """

    suffixes: tuple[str, ...]
    magic: Callable[[bytes], bool]
    decode: Callable[[BinaryIO, int], Picture]
    encode: Callable[[Picture, BinaryIO, int | None], None] | None
    holds: Holds = field(default_factory=Holds)
    salvage: Callable[[BinaryIO, int], Picture] | None = None


_PACKETS = frozenset({"EXIF", "XMP"})
_LIGHT = frozenset({"the mastering display", "the light level"})
_JPEG = Holds(
    gray=True, icc=True, parts=_PACKETS | {"IPTC", "the comment", "the resolution"},
)  # fmt: skip
_PNG = Holds(
    gray=True, alpha=True, bits=16, icc=True, cicp=True,
    parts=_PACKETS | _LIGHT | {"the comment", "the resolution", "text chunks",
                               "PNG's time and background"},
)  # fmt: skip
_TIFF = Holds(
    gray=True, alpha=True, bits=16, floats=True, icc=True,
    parts=_PACKETS | {"IPTC", "the resolution", "private TIFF tags"},
)  # fmt: skip


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[4:8] == b"ftyp" and head[8:12] in brands


FORMATS: Mapping[str, Format] = {
    "JPEG": Format(
        (".jpg", ".jpeg", ".jpe", ".jfif"), _starts(b"\xff\xd8\xff"),
        jpeg.decode, jpeg.encode, _JPEG, jpeg.salvage,
    ),
    "PNG": Format((".png",), _starts(b"\x89PNG\r\n\x1a\n"), png.decode, png.encode, _PNG),
    "WEBP": Format(
        (".webp",), lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        pillow.reader("WEBP"), pillow.encode_webp, Holds(alpha=True, icc=True, parts=_PACKETS),
    ),
    "TIFF": Format(
        (".tif", ".tiff"), _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        tiff.decode, tiff_write.encode, _TIFF,
    ),
    "AVIF": Format(
        (".avif",), _brand(b"avif", b"avis"), avif.decode, avif.encode,
        Holds(gray=True, alpha=True, bits=10, icc=True, cicp=True,
              parts=_PACKETS | {"the light level"}),
    ),
    "HEIF": Format(
        (".heic", ".heif", ".hif"), _brand(b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"),
        heif.decode, heif.encode,
        Holds(alpha=True, bits=10, icc=True, cicp=True, parts=_PACKETS | _LIGHT),
    ),
    "JP2": Format(
        (".jp2", ".j2k", ".jpf", ".jpx"), _starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
        jp2.decode, jp2.encode, Holds(gray=True, alpha=True, bits=16, icc=True, parts=_PACKETS),
    ),
    "JXL": Format(
        (".jxl",), _starts(b"\0\0\0\x0cJXL ", b"\xff\x0a"), jxl.decode, jxl.encode,
        Holds(gray=True, alpha=True, parts=_PACKETS),
    ),
    "BMP": Format(
        (".bmp",), _starts(b"BM"), pillow.reader("BMP"), pillow.encode_bmp,
        Holds(gray=True, parts=frozenset({"the resolution"})),
    ),
    "PPM": Format(
        (".ppm", ".pgm", ".pnm"), lambda head: head[:1] == b"P" and head[1:2] in b"123456",
        pnm.decode, pnm.encode, Holds(gray=True, bits=16),
    ),
    "GIF": Format((".gif",), _starts(b"GIF87a", b"GIF89a"), pillow.reader("GIF"), None),
}  # fmt: skip
"""Every format, by the name that ``Metadata.format`` carries."""


def sniff(head: bytes) -> str | None:
    """Return the format that a file's first bytes show, or None."""
    return next((name for name, entry in FORMATS.items() if entry.magic(head)), None)
