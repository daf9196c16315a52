"""What a TIFF says beside its pixels: tags kept, EXIF directories read and appended."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from whet.image.metadata import Metadata

__all__ = ["append_ifds", "extra_tags", "parsed_exif", "read_metadata"]

# Tags of IFD 0 that describe the picture and not its storage (TIFF 6.0, TIFF/EP, GeoTIFF).
_TEXT_TAGS = {270, 271, 272, 305, 306, 315, 316, 33432}
_KEPT_TAGS = _TEXT_TAGS | {269, 285, 33723, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
_EXIF_IFDS = (0x8769, 0x8825)  # EXIF, GPS
_UNIT_PER_INCH = {2: 1.0, 3: 2.54}  # ResolutionUnit: inch, centimetre


def read_metadata(page: Any, stream: BinaryIO, *, gray: bool) -> Metadata:
    """Collect what the page says beside its pixels."""
    tags = tuple(
        (tag.code, int(tag.dtype), tag.count, tag.value)
        for tag in page.tags
        if tag.code in _KEPT_TAGS
    )
    dpi = None
    if 282 in page.tags and 283 in page.tags:
        unit = _UNIT_PER_INCH.get(int(page.tags.valueof(296, 2)), 0.0)
        x, y = (n / d * unit if d else 0.0 for n, d in (page.tags[282].value, page.tags[283].value))
        dpi = (x, y) if x > 0 and y > 0 else None
    icc, xmp = page.tags.valueof(34675), page.tags.valueof(700)
    return Metadata(
        "TIFF",
        gray=gray,
        icc=bytes(icc) if icc is not None else None,
        xmp=bytes(xmp) if isinstance(xmp, bytes) else None,
        exif=_exif_of(stream),
        dpi=dpi,
        tags=tags,
        compressed=int(page.compression) != 1,
    )


def parsed_exif(block: bytes | None) -> Any:
    """Return Pillow's view of an EXIF block, empty where it is damaged."""
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + block if block else b"")
    except (SyntaxError, struct.error):
        return Image.Exif()
    return exif


def _exif_of(stream: BinaryIO) -> bytes | None:
    """Build an EXIF block from the describing tags of a TIFF."""
    from PIL import Image

    whole, exif = Image.Exif(), Image.Exif()
    stream.seek(0)
    if stream.read(4) in (b"II+\0", b"MM\0+"):  # BigTIFF, which Pillow's EXIF cannot read
        return None
    stream.seek(0)
    whole.load_from_fp(stream)
    for tag, value in whole.items():
        if tag in _TEXT_TAGS or tag == 0x0112:
            exif[tag] = value
    for ifd in _EXIF_IFDS:
        if entries := whole.get_ifd(ifd):
            exif[ifd] = dict(entries)
    return exif.tobytes()[6:] if len(exif) else None


def extra_tags(metadata: Metadata, exif: Any) -> list[tuple[Any, ...]]:
    """Return tifffile's ``extratags``: kept tags, describing EXIF tags, orientation, XMP."""
    tags = {code: (code, kind, count, value, True) for code, kind, count, value in metadata.tags}
    for code in _TEXT_TAGS & set(exif):
        text = str(exif[code]).encode("utf-8", "replace")
        tags.setdefault(code, (code, 2, len(text) + 1, text + b"\0", True))
    if 0x0112 in exif:
        tags[0x0112] = (0x0112, 3, 1, int(exif[0x0112]), True)
    if metadata.xmp:
        tags[700] = (700, 1, len(metadata.xmp), metadata.xmp, True)
    return list(tags.values())


def append_ifds(stream: BinaryIO, exif: Any) -> None:
    """Append EXIF's own directories, and the main one again with links to them.

    tifffile writes no tag that points at a directory, as it would have to know
    its place. This is known when all else is written; a TIFF's main directory
    may stand anywhere.
    """
    from PIL import TiffImagePlugin

    wanted = [code for code in _EXIF_IFDS if exif.get_ifd(code)]
    if not wanted:
        return
    stream.seek(0)
    head = stream.read(8)
    order = "<" if head[:2] == b"II" else ">"
    stream.seek(struct.unpack(order + "4xI", head)[0])
    (count,) = struct.unpack(order + "H", stream.read(2))
    entries = [stream.read(12) for _ in range(count)]
    for code in wanted:
        directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=head)
        for tag, value in exif.get_ifd(code).items():
            if tag != 0xA005:  # a directory of its own, of no use beside its parent
                directory[tag] = value
        place = _even_end(stream)
        stream.write(directory.tobytes(place))
        entries.append(struct.pack(order + "HHII", code, 4, 1, place))
    entries.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
    place = _even_end(stream)
    stream.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))
    stream.seek(4)
    stream.write(struct.pack(order + "I", place))


def _even_end(stream: BinaryIO) -> int:
    """Move to the end, made even as the format demands, and return its place."""
    end = stream.seek(0, 2)
    return end + stream.write(bytes(end % 2))
