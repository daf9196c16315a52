"""What a TIFF says beside its pixels: tags kept, and EXIF directories appended."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from whet.image import photoshop
from whet.image.exif import (
    EXIF,
    GPS,
    INTEROP,
    ORIENTATION,
    Directories,
    Entry,
    built,
    directory_bytes,
    read_directories,
)
from whet.image.metadata import Metadata
from whet.image.notes import SEALED

__all__ = ["append_directories", "extra_tags", "read_metadata"]

_COLOUR_TAGS = (301, 318, 319)  # transfer function, white point, primaries
# Tags that describe a picture in any file (EXIF 2.3, 4.6.4; the XP tags are Windows').
_TEXT_TAGS = {
    270,
    271,
    272,
    305,
    306,
    315,
    316,
    *_COLOUR_TAGS,
    33432,
    18246,
    18249,
    *range(40091, 40096),
}
# Tags about how the pixels are stored; a writer has its own (TIFF 6.0 and supplements).
_STORAGE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 285), *range(288, 294), 296, 297, 317,
    *range(320, 329), *range(332, 344), *range(344, 348), 351, *range(512, 522), 529, 530, 531,
    532, 559, 32997, 32998, 34925, 50838, 50839,
}  # fmt: skip
_ICC, _XMP, _RESOURCES, _IPTC = 34675, 700, 34377, 33723
_SUB_PICTURES, _LAYERS, _SEAL = 330, 37724, 52545
_SHAPE = b'{"shape":'  # tifffile's own note of the array it was given
_UNIT_PER_INCH = {2: 1.0, 3: 2.54}  # ResolutionUnit: inch, centimetre


def read_metadata(page: Any, stream: BinaryIO, *, gray: bool) -> Metadata:
    """Collect what the page says beside its pixels."""
    found = read_directories(stream, int(page.offset))
    main = dict(found.main)
    notes = []
    for tag, sentence in (
        (_SUB_PICTURES, "the smaller copies or further pictures below the picture were left out"),
        (_LAYERS, "Photoshop's layers were left out; they show the picture as it was"),
        (_SEAL, SEALED),
    ):
        if main.pop(tag, None):
            notes.append(sentence)
    icc, packet, resources, iptc = (
        entry.data if (entry := main.pop(tag, None)) else None
        for tag in (_ICC, _XMP, _RESOURCES, _IPTC)
    )
    if resources is None and iptc is not None:
        resources = photoshop.resources_of(iptc)
    if main.get(270, Entry(2, 0, b"")).data.startswith(_SHAPE):
        del main[270]
    described = {t: e for t, e in main.items() if t in _TEXT_TAGS or t == ORIENTATION}
    tags = tuple(
        (tag, entry.kind, entry.count, entry.data)
        for tag, entry in sorted(main.items())
        if tag not in _STORAGE and tag not in described
    )
    return Metadata(
        "TIFF",
        gray=gray,
        icc=icc,
        xmp=packet.rstrip(b"\0") if packet else None,
        exif=built(Directories(described, found.below)),
        dpi=_dpi(page),
        resources=photoshop.without_thumbnails(resources) if resources else None,
        tags=tags,
        compressed=int(page.compression) != 1,
        notes=tuple(notes),
    )


def _dpi(page: Any) -> tuple[float, float] | None:
    """Return the resolution in pixels per inch, where the page says one."""
    if 282 not in page.tags or 283 not in page.tags:
        return None
    unit = _UNIT_PER_INCH.get(int(page.tags.valueof(296, 2)), 0.0)
    x, y = (n / d * unit if d else 0.0 for n, d in (page.tags[282].value, page.tags[283].value))
    return (x, y) if x > 0 and y > 0 else None


def extra_tags(metadata: Metadata, directories: Directories) -> list[tuple[Any, ...]]:
    """Return tifffile's ``extratags``: kept tags, those of EXIF's main directory, XMP, IPTC.

    Values are given as little-endian bytes, which keeps text of any encoding.
    """
    entries = {tag: Entry(kind, count, data) for tag, kind, count, data in metadata.tags}
    for tag, entry in directories.main.items():
        if tag not in _STORAGE:
            entries.setdefault(tag, entry)
    if metadata.xmp:
        entries[_XMP] = Entry(1, len(metadata.xmp), metadata.xmp)
    if metadata.resources:
        entries[_RESOURCES] = Entry(1, len(metadata.resources), metadata.resources)
        if iptc := photoshop.iptc_of(metadata.resources):
            entries[_IPTC] = Entry(7, len(iptc), iptc)
    return [(tag, e.kind, e.count, _value(e), True) for tag, e in sorted(entries.items())]


def _value(entry: Entry) -> bytes | tuple[int, ...]:
    """Return what tifffile takes for an entry: bytes, but for fractions it wants numbers."""
    if entry.kind not in (5, 10):
        return entry.data
    return struct.unpack(f"<{2 * entry.count}{'I' if entry.kind == 5 else 'i'}", entry.data)


def append_directories(stream: BinaryIO, directories: Directories, *, big: bool) -> None:
    """Append EXIF's own directories, and the main one again with links to them.

    tifffile writes no tag that points at a directory, as it would have to know
    its place. This is known when all else is written; a TIFF's main directory
    may stand anywhere.
    """
    below = {tag: dict(entries) for tag, entries in directories.below.items() if entries}
    if not below:
        return
    place, count, entry_bytes = ("<Q", "<Q", 20) if big else ("<I", "<H", 12)
    link_at = 8 if big else 4
    stream.seek(link_at)
    stream.seek(struct.unpack(place, stream.read(struct.calcsize(place)))[0])
    (entries,) = struct.unpack(count, stream.read(struct.calcsize(count)))
    main = [stream.read(entry_bytes) for _ in range(entries)]
    for tag in (INTEROP, EXIF, GPS):  # a directory before the one that links to it
        if tag not in below:
            continue
        start = _even_end(stream)
        stream.write(directory_bytes(below[tag], start, big=big))
        link = Entry(16 if big else 4, 1, struct.pack(place, start))
        if tag == INTEROP:
            below.setdefault(EXIF, {})[tag] = link
        else:
            main.append(struct.pack("<HH", tag, link.kind) + struct.pack(place, 1) + link.data)
    main.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    start = _even_end(stream)
    following = bytes(struct.calcsize(place))
    stream.write(struct.pack(count, len(main)) + b"".join(main) + following)
    stream.seek(link_at)
    stream.write(struct.pack(place, start))


def _even_end(stream: BinaryIO) -> int:
    """Move to the end, made even as the format demands, and return its place."""
    end = stream.seek(0, 2)
    return end + stream.write(bytes(end % 2))
