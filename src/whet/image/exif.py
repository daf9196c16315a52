"""EXIF as directories of entries, whose bytes are kept whatever they mean.

An EXIF block is a small TIFF structure (CIPA DC-008, TIFF 6.0). In a file that
keeps it as a block it is patched in place, so that maker notes and their
offsets survive. TIFF is the exception: there its directories are those of the
file, and the entries move.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

__all__ = [
    "EXIF",
    "GPS",
    "INTEROP",
    "ORIENTATION",
    "Directories",
    "Entry",
    "Form",
    "Found",
    "built",
    "chain_length",
    "directory_bytes",
    "form_of",
    "read_directories",
    "walk",
    "without_prefix",
]

EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005
ORIENTATION = 0x0112
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8, 129: 1}  # fmt: skip
_WORDS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8, 16: 8, 17: 8, 18: 8}
"""TIFF type -> bytes of a value; and of the words in it, whose order depends on the file."""
_MAX_ENTRY_BYTES = 2**26


@dataclass(frozen=True)
class Entry:
    """One value of a directory.

    Attributes:
        kind: TIFF type, 1 to 18.
        count: of values.
        data: their bytes, little-endian.
    """

    kind: int
    count: int
    data: bytes

    def number(self) -> int | None:
        """Return the first value of an integer entry."""
        width = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8}.get(self.kind, 0)
        return int.from_bytes(self.data[:width], "little") if width and self.data else None


@dataclass(frozen=True)
class Directories:
    """The directories of one picture, tag -> entry.

    Attributes:
        main: IFD 0, without links to the others.
        below: the directories it links to: EXIF, GPS, and interoperability below EXIF.
        damaged: whether some entry lies outside the block.
    """

    main: dict[int, Entry] = field(default_factory=dict)
    below: dict[int, dict[int, Entry]] = field(default_factory=dict)
    damaged: bool = False

    def __bool__(self) -> bool:
        return bool(self.main or any(self.below.values()))


def without_prefix(exif: bytes | None) -> bytes | None:
    """Return an EXIF block without the marker that some formats put before it."""
    return exif.removeprefix(b"Exif\0\0") if exif else None


class Form:
    """Byte order and widths of a TIFF structure, classic or BigTIFF."""

    def __init__(self, head: bytes) -> None:
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            raise ValueError("no TIFF structure")
        self.order = order
        self.big = struct.unpack_from(order + "H", head, 2)[0] == 43
        self.count, self.place = ("Q", "Q") if self.big else ("H", "I")
        self.entry_bytes, self.inline_bytes = (20, 8) if self.big else (12, 4)
        (self.first,) = struct.unpack_from(order + self.place, head, 8 if self.big else 4)


@dataclass(frozen=True)
class Found:
    """An entry where it stands: ``at`` is the place of the entry, ``value_at`` of its value."""

    tag: int
    kind: int
    count: int
    at: int
    value_at: int
    size: int


def form_of(stream: BinaryIO) -> Form:
    stream.seek(0)
    return Form(stream.read(16))


def walk(stream: BinaryIO, form: Form, start: int) -> tuple[list[Found], int, int]:
    """Return a directory's entries, the place of its link to the next one, and that link.

    Raises:
        ValueError: there is no whole directory at ``start``.
    """
    order, width = form.order, struct.calcsize("=" + form.count)
    stream.seek(start)
    head = stream.read(width)
    if start <= 0 or len(head) < width:
        raise ValueError("no directory")
    (count,) = struct.unpack(order + form.count, head)
    if count > 2**16:
        raise ValueError("a directory of too many entries")
    raw = stream.read(count * form.entry_bytes)
    if len(raw) < count * form.entry_bytes:
        raise ValueError("the directory ends early")
    found = []
    for number in range(count):
        at = number * form.entry_bytes
        tag, kind, values = struct.unpack_from(order + "HH" + form.place, raw, at)
        size = _SIZES.get(kind, 0) * values
        place = start + width + at + form.entry_bytes - form.inline_bytes
        if size > form.inline_bytes:
            end = at + form.entry_bytes - form.inline_bytes
            (place,) = struct.unpack_from(order + form.place, raw, end)
        found.append(Found(tag, kind, values, start + width + at, place, size))
    link_at = start + width + count * form.entry_bytes
    stream.seek(link_at)
    width = struct.calcsize("=" + form.place)
    tail = stream.read(width)
    link = struct.unpack(order + form.place, tail)[0] if len(tail) == width else 0
    return found, link_at, link


def _little(data: bytes, kind: int, order: str) -> bytes:
    """Return values in little-endian order."""
    width = _WORDS.get(kind, 1)
    if order == "<" or width == 1:
        return data
    return b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))


def read_directories(source: bytes | BinaryIO | None, start: int | None = None) -> Directories:
    """Read an EXIF block or a page of a TIFF; what is damaged is left out.

    Args:
        source: a block without its prefix, or a seekable TIFF, classic or BigTIFF.
        start: place of the page's directory; None takes the first.
    """
    stream = io.BytesIO(source or b"") if isinstance(source, (bytes, type(None))) else source
    try:
        form = form_of(stream)
        found = walk(stream, form, start or form.first)[0]
    except (ValueError, struct.error):
        return Directories(damaged=bool(source))
    main, damaged = _entries(stream, form, found)
    below: dict[int, dict[int, Entry]] = {}
    for holder, tag in ((main, EXIF), (main, GPS)):
        damaged |= _follow(stream, form, holder, tag, below)
    damaged |= _follow(stream, form, below.get(EXIF, {}), INTEROP, below)
    return Directories(main, below, damaged)


def _follow(
    stream: BinaryIO,
    form: Form,
    holder: dict[int, Entry],
    tag: int,
    below: dict[int, dict[int, Entry]],
) -> bool:
    """Move a linked directory from its holder to ``below``; return whether it is damaged."""
    link = holder.pop(tag, None)
    if link is None:
        return False
    try:
        inside = walk(stream, form, link.number() or 0)[0]
    except (ValueError, struct.error):
        return True
    below[tag], damaged = _entries(stream, form, inside)
    return damaged


def _entries(stream: BinaryIO, form: Form, found: list[Found]) -> tuple[dict[int, Entry], bool]:
    entries, damaged = {}, False
    for one in found:
        if one.size > _MAX_ENTRY_BYTES or (one.size == 0 and one.count):
            damaged = True
            continue
        stream.seek(one.value_at)
        data = stream.read(one.size)
        if len(data) < one.size:
            damaged = True
            continue
        entries[one.tag] = Entry(one.kind, one.count, _little(data, one.kind, form.order))
    return entries, damaged


def chain_length(stream: BinaryIO, most: int) -> int:
    """Count a TIFF's directories from their links alone, ``most`` + 1 for more or a circle."""
    form = form_of(stream)
    link, length = form.first, 0
    width = struct.calcsize("=" + form.count)
    while link and length <= most:
        length += 1
        stream.seek(link)
        (count,) = struct.unpack(form.order + form.count, stream.read(width))
        stream.seek(link + width + count * form.entry_bytes)
        tail = stream.read(struct.calcsize("=" + form.place))
        link = struct.unpack(form.order + form.place, tail)[0]
    return length


# --- Writing -------------------------------------------------------------------------------


def directory_bytes(
    entries: Mapping[int, Entry], place: int, *, big: bool = False, following: int = 0
) -> bytes:
    """Return a little-endian directory that will stand at ``place``, its values behind it."""
    head, tail = ("<HHQ", 8) if big else ("<HHI", 4)
    count = struct.pack("<Q" if big else "<H", len(entries))
    end = place + len(count) + len(entries) * (20 if big else 12) + tail
    body, values = b"", b""
    for tag, entry in sorted(entries.items()):
        body += struct.pack(head, tag, entry.kind, entry.count)
        if len(entry.data) <= tail:
            body += entry.data.ljust(tail, b"\0")
            continue
        values += bytes((end + len(values)) % 2)
        body += struct.pack("<Q" if big else "<I", end + len(values))
        values += entry.data
    return count + body + struct.pack("<Q" if big else "<I", following) + values


def built(directories: Directories) -> bytes | None:
    """Return directories as an EXIF block, or None for none."""
    if not directories:
        return None
    below = {tag: dict(entries) for tag, entries in directories.below.items() if entries}
    main = dict(directories.main)
    block = b"II*\0" + bytes(4)
    for tag in (INTEROP, EXIF, GPS):  # a directory before the one that links to it
        if tag not in below:
            continue
        block += bytes(len(block) % 2)
        parent = below.setdefault(EXIF, {}) if tag == INTEROP else main
        parent[tag] = Entry(4, 1, struct.pack("<I", len(block)))
        block += directory_bytes(below[tag], len(block))
    block += bytes(len(block) % 2)
    start = len(block)
    block += directory_bytes(main, start)
    return block[:4] + struct.pack("<I", start) + block[8:]
