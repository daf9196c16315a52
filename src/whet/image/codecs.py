"""One entry per file format: how it is recognised, read and written.

A new format is one new file with its two functions and one line in
:data:`FORMATS`. PNG goes through imagecodecs and TIFF through tifffile, as
Pillow reads 16-bit colour as 8-bit in both; the rest is Pillow's. Each imports
its library when it is called: a JPEG does not pay for the TIFF library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from whet.image import heif, pillow, png, tiff
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
        gray, alpha, deep: whether it holds one colour channel, transparency, 16 bits.
    """

    suffixes: tuple[str, ...]
    magic: Callable[[bytes], bool]
    decode: Callable[[BinaryIO, int], Picture]
    encode: Callable[[Picture, BinaryIO, int | None], None] | None
    gray: bool = False
    alpha: bool = False
    deep: bool = False


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[4:8] == b"ftyp" and head[8:12] in brands


FORMATS: Mapping[str, Format] = {
    "JPEG": Format(
        (".jpg", ".jpeg", ".jpe", ".jfif"), _starts(b"\xff\xd8\xff"),
        pillow.reader("JPEG"), pillow.encode_jpeg, gray=True,
    ),
    "PNG": Format(
        (".png",), _starts(b"\x89PNG\r\n\x1a\n"),
        png.decode_png, png.encode_png, gray=True, alpha=True, deep=True,
    ),
    "WEBP": Format(
        (".webp",), lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        pillow.reader("WEBP"), pillow.encode_webp, alpha=True,
    ),
    "TIFF": Format(
        (".tif", ".tiff"), _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        tiff.decode, tiff.encode, gray=True, alpha=True, deep=True,
    ),
    "AVIF": Format(
        (".avif",), _brand(b"avif", b"avis"), pillow.reader("AVIF"), pillow.encode_avif, alpha=True,
    ),
    "HEIF": Format(
        (".heic", ".heif", ".hif"), _brand(b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"),
        heif.decode, heif.encode, alpha=True, deep=True,
    ),
    "BMP": Format((".bmp",), _starts(b"BM"), pillow.reader("BMP"), pillow.encode_bmp, gray=True),
    "PPM": Format(
        (".ppm", ".pgm", ".pnm"), lambda head: head[:1] == b"P" and head[1:2] in b"123456",
        png.decode_pnm, png.encode_pnm, gray=True, deep=True,
    ),
    "GIF": Format((".gif",), _starts(b"GIF87a", b"GIF89a"), pillow.reader("GIF"), None),
}  # fmt: skip
"""Every format, by the name that ``Metadata.format`` carries."""


def sniff(head: bytes) -> str | None:
    """Return the format that a file's first bytes show, or None."""
    return next((name for name, entry in FORMATS.items() if entry.magic(head)), None)
