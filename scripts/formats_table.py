"""Print the table of docs/formats.md: what each format keeps of what another carried.

    python scripts/formats_table.py

Nothing is asserted by hand: for every pair of formats a picture that carries one thing is
written, read, written again and read again, and the table says what was found and what the notes
said. It fails if something vanished without a word.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image

from whet.errors import ImageError
from whet.image import Metadata, Picture, read, write
from whet.image.metadata import Cicp, from_floats
from whet.image.photoshop import resources_of

FORMATS: Mapping[str, str] = {
    "JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "TIFF": ".tif", "AVIF": ".avif",
    "HEIC": ".heic", "JPEG 2000": ".jp2", "JPEG XL": ".jxl", "BMP": ".bmp", "PPM": ".ppm",
}  # fmt: skip
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
_CONVERTED = ("ICC profile", "converted to sRGB", "reduced", "rounded")


@dataclass(frozen=True)
class Thing:
    """Something that a picture may carry.

    Attributes:
        put: adds it to a picture.
        there: whether a picture that was read has it.
        sources: the formats that can bring it.
    """

    put: Callable[[Picture], Picture]
    there: Callable[[Picture], bool]
    sources: tuple[str, ...]


def _with(**fields: object) -> Callable[[Picture], Picture]:
    def put(picture: Picture) -> Picture:
        return replace(picture, metadata=replace(picture.metadata, **fields))  # type: ignore[arg-type]

    return put


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Brunel"
    return exif.tobytes()[6:]


@cache
def _adobe_like() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("adobergb"))


def _half_clear(picture: Picture) -> Picture:
    alpha = np.full((*picture.pixels.shape[:2], 1), np.iinfo(picture.pixels.dtype).max)
    alpha[:4] //= 2
    return replace(picture, alpha=alpha.astype(picture.pixels.dtype))


def _deep(picture: Picture) -> Picture:
    return picture.with_pixels(picture.pixels.astype(np.uint16) * 257 + 3)


def _hdr(picture: Picture) -> Picture:
    return _with(cicp=Cicp(9, 16))(_deep(picture))


def _text(picture: Picture) -> bool:
    said = picture.metadata.comments + tuple(data for _, data in picture.metadata.chunks)
    return any(b"by hand" in text for text in said)


_RICH = ("JPEG", "PNG", "WebP", "TIFF", "AVIF", "HEIC")
_BOXED = (*_RICH, "JPEG 2000", "JPEG XL")
_CODED = ("PNG", "AVIF", "HEIC")
THINGS: Mapping[str, Thing] = {
    "transparency": Thing(
        _half_clear,
        lambda p: p.alpha is not None,
        ("PNG", "WebP", "TIFF", "AVIF", "HEIC", "JPEG 2000", "JPEG XL"),
    ),
    "more than 8 bits": Thing(
        _deep,
        lambda p: p.pixels.dtype == np.uint16,
        ("PNG", "TIFF", "AVIF", "HEIC", "JPEG 2000", "PPM"),
    ),
    "floating point": Thing(
        lambda p: from_floats(p.pixels / np.float32(255), p.metadata),
        lambda p: p.floats is not None,
        ("TIFF",),
    ),
    "colour profile": Thing(
        _with(icc=_adobe_like()), lambda p: p.metadata.icc == _adobe_like(), (*_RICH, "JPEG 2000")
    ),
    "colour by code points": Thing(
        _with(cicp=Cicp(12, 13)),
        lambda p: p.metadata.cicp is not None and p.metadata.cicp.primaries == 12,
        _CODED,
    ),
    "HDR": Thing(
        _hdr, lambda p: p.metadata.cicp is not None and p.metadata.cicp.transfer == 16, _CODED
    ),
    "gamma of PNG": Thing(
        _with(chunks=((b"gAMA", struct.pack(">I", 100000)),)),
        lambda p: b"gAMA" in dict(p.metadata.chunks),
        ("PNG",),
    ),
    "light level": Thing(
        _with(light_level=(1000.0, 400.0)), lambda p: p.metadata.light_level is not None, _CODED
    ),
    "EXIF": Thing(_with(exif=_exif()), lambda p: b"Brunel" in (p.metadata.exif or b""), _BOXED),
    "XMP": Thing(_with(xmp=XMP), lambda p: b'Rating="4"' in (p.metadata.xmp or b""), _BOXED),
    "IPTC": Thing(
        _with(resources=resources_of(b"\x1c\x02\x19\x00\x04tree")),
        lambda p: b"tree" in (p.metadata.resources or b""),
        ("JPEG", "TIFF"),
    ),
    "comment of JPEG": Thing(_with(comments=(b"by hand",)), _text, ("JPEG",)),
    "text of PNG": Thing(_with(chunks=((b"tEXt", b"Title\0by hand"),)), _text, ("PNG",)),
    "resolution": Thing(
        _with(dpi=(300.0, 300.0)),
        lambda p: p.metadata.dpi is not None,
        ("JPEG", "PNG", "TIFF", "BMP"),
    ),
    "private TIFF tags": Thing(
        _with(tags=((65000, 7, 5, b"alpha"),)), lambda p: bool(p.metadata.tags), ("TIFF",)
    ),
}


def _encoded(picture: Picture, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    stream = io.BytesIO()
    notes = write(picture, stream, suffix)
    return stream.getvalue(), notes


def fate(thing: Thing, source: str, target: str) -> str:
    """Return what becomes of a thing on its way from one format to another."""
    y, x = np.mgrid[0:24, 0:32]
    pixels = np.stack([4 * x, 6 * y, 2 * (x + y)], axis=-1).astype(np.uint8)
    start = thing.put(Picture(pixels, metadata=Metadata()))
    brought = read(_encoded(start, FORMATS[source])[0])
    if not thing.there(brought):
        raise AssertionError(f"{source} did not bring it")
    try:
        data, notes = _encoded(brought, FORMATS[target])
    except ImageError:
        return "refused"
    lessened = any(word in " ".join(notes) for word in _CONVERTED)
    if thing.there(read(data)):
        return "converted" if lessened else "kept"
    if not notes:
        raise AssertionError(f"lost without a word from {source} to {target}")
    return "converted" if lessened else "left out"


def rows() -> Iterator[list[str]]:
    """Yield the table's rows: the thing, where it comes from, what becomes of it in each format."""
    for name, thing in THINGS.items():
        fates: dict[tuple[str, ...], list[str]] = {}
        for source in thing.sources:
            found = tuple(fate(thing, source, target) for target in FORMATS)
            fates.setdefault(found, []).append(source)
        for found, sources in fates.items():
            yield [name, ", ".join(sources), *found]


def table() -> str:
    """Return the table in Markdown."""
    head = ["carries", "from", *FORMATS]
    lines = [head, ["---"] * len(head), *rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
