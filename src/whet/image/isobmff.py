"""HEIF and AVIF as boxes: what a picture's items say.

The container is ISO/IEC 14496-12 with the item boxes of ISO/IEC 23008-12 and 23000-22. The
decoders tell the pixels; colour, light levels, second pictures and seals are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from whet.image.metadata import Cicp
from whet.image.notes import SEALED

__all__ = [
    "Boxes",
    "Item",
    "associations",
    "beside",
    "boxes_in",
    "chroma_of",
    "cicp_of",
    "depth_of",
    "light_of",
    "read_boxes",
]

_PICTURES = ("hvc1", "av01", "grid", "iden", "iovl", "avc1", "jpeg")
_MAX_META_BYTES = 2**26  # a larger directory of items is an attack
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA specification, BMFF embedding


@dataclass(frozen=True)
class Item:
    """One entry of the item directory: its kind, and for ``mime`` items the media type."""

    kind: str
    media_type: str = ""


@dataclass(frozen=True)
class Boxes:
    """What a HEIF or AVIF file says about its primary picture.

    Attributes:
        kinds: types of the boxes at the top of the file, in order.
        items: item number -> item.
        properties: type and content of each property of the primary picture.
        auxiliaries: the names that auxiliary pictures give themselves (``auxC``).
        primary: its item number.
        sealed: the file holds a manifest of Content Credentials.
        others: pictures that stand for themselves, as the primary one does.
        shared: all properties in the file, those of tiles too.
    """

    kinds: tuple[str, ...]
    items: dict[int, Item] = field(default_factory=dict)
    properties: tuple[tuple[str, bytes], ...] = ()
    auxiliaries: tuple[str, ...] = ()
    primary: int = 0
    sealed: bool = False
    others: int = 0
    shared: tuple[tuple[str, bytes], ...] = ()

    def all(self, kind: str) -> tuple[bytes, ...]:
        """Return the contents of the primary picture's properties of one kind."""
        return tuple(content for name, content in self.properties if name == kind)


def boxes_in(data: bytes, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield type and content of each box in ``data``."""
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        size = size or len(data) - start
        if size < head or start + size > len(data):
            return
        yield kind.decode("latin-1"), data[start + head : start + size]
        start += size


def read_boxes(stream: BinaryIO) -> Boxes:
    """Read the item directory of a HEIF or AVIF file; a damaged one reads as far as it goes."""
    stream.seek(0)
    kinds, meta, sealed = [], b"", False
    while len(head := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        skip = size - 8
        if size == 1:
            skip = struct.unpack(">Q", stream.read(8).rjust(8, b"\0"))[0] - 16
        kinds.append(kind.decode("latin-1"))
        if kind == b"meta" and 0 < skip <= _MAX_META_BYTES:
            meta = stream.read(skip)
        elif kind == b"uuid" and skip >= 16:
            sealed |= stream.read(16) == _C2PA
            stream.seek(skip - 16, 1)
        elif size == 0 or skip < 0:
            break
        else:
            stream.seek(skip, 1)
    try:
        return _described(tuple(kinds), meta, sealed)
    except (struct.error, IndexError):
        return Boxes(tuple(kinds), sealed=sealed)


def _described(kinds: tuple[str, ...], meta: bytes, sealed: bool) -> Boxes:
    known = dict(boxes_in(meta, 4))
    items = dict(_items(known.get("iinf", b"")))
    pitm = known.get("pitm", bytes(6))
    (primary,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)
    inside = dict(boxes_in(known.get("iprp", b"")))
    properties = list(boxes_in(inside.get("ipco", b"")))
    ties = associations(inside.get("ipma", bytes(8)))
    of = {
        item: tuple(properties[number - 1] for number in numbers if 0 < number <= len(properties))
        for item, numbers in ties.items()
    }
    auxiliaries = tuple(
        content[4:].split(b"\0")[0].decode("latin-1")
        for owned in of.values()
        for name, content in owned
        if name == "auxC"
    )
    used = {
        target for kind, _, targets in _references(known) for target in targets if kind == "dimg"
    }
    used |= {source for kind, source, _ in _references(known) if kind in ("auxl", "thmb")}
    others = sum(
        item.kind in _PICTURES and number != primary and number not in used
        for number, item in items.items()
    )
    return Boxes(
        kinds, items, of.get(primary, ()), auxiliaries, primary, sealed, others, tuple(properties)
    )


def _references(known: dict[str, bytes]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield kind, source and targets of each item reference."""
    iref = known.get("iref", bytes(4))
    number = ">I" if iref[0] else ">H"
    width = struct.calcsize(number)
    for kind, content in boxes_in(iref, 4):
        (source,) = struct.unpack_from(number, content)
        (count,) = struct.unpack_from(">H", content, width)
        targets = struct.unpack_from(f">{count}{number[1]}", content, width + 2)
        yield kind, source, targets


def _items(iinf: bytes) -> Iterator[tuple[int, Item]]:
    """Yield number and item of each ``infe`` of version 2 or 3."""
    for kind, entry in boxes_in(iinf, 6 if iinf[:1] == b"\0" else 8):
        if kind != "infe" or entry[0] < 2:
            continue
        wide = entry[0] == 3
        (number,) = struct.unpack_from(">I" if wide else ">H", entry, 4)
        at = 4 + (4 if wide else 2) + 2
        name = entry[at : at + 4].decode("latin-1")
        texts = entry[at + 4 :].split(b"\0")
        media_type = texts[1].decode("latin-1") if name == "mime" and len(texts) > 1 else ""
        yield number, Item(name, media_type)


def associations(ipma: bytes) -> dict[int, list[int]]:
    """Return item number -> numbers of its properties, counted from 1."""
    version, flags = ipma[0], ipma[3]
    (count,) = struct.unpack_from(">I", ipma, 4)
    at, ties = 8, {}
    for _ in range(min(count, len(ipma))):
        (item,) = struct.unpack_from(">I" if version else ">H", ipma, at)
        at += 4 if version else 2
        numbers = ipma[at]
        at += 1
        if flags & 1:
            found = struct.unpack_from(f">{numbers}H", ipma, at)
            ties[item] = [number & 0x7FFF for number in found]
            at += 2 * numbers
        else:
            ties[item] = [number & 0x7F for number in ipma[at : at + numbers]]
            at += numbers
    return ties


# --- What the properties mean --------------------------------------------------------------


def cicp_of(boxes: Boxes) -> Cicp | None:
    """Return the code points of the primary picture (``colr`` of kind nclx)."""
    for content in boxes.all("colr"):
        if content[:4] == b"nclx" and len(content) >= 10:
            return Cicp(*struct.unpack_from(">HHH", content, 4))
    return None


def depth_of(boxes: Boxes) -> int:
    """Return bits per channel, as ``av1C`` or ``pixi`` say; 8 where nothing is said."""
    for content in boxes.all("av1C"):
        high, twelve = content[2] & 0x40, content[2] & 0x20
        return 12 if high and twelve else 10 if high else 8
    for content in boxes.all("pixi"):
        return max(content[5:], default=8)
    return 8


def chroma_of(boxes: Boxes) -> str | None:
    """Return the chroma sampling of HEVC, "420", "422", "444" or "400" (``hvcC``)."""
    for kind, content in boxes.shared:
        if kind == "hvcC" and len(content) > 16:
            return ("400", "420", "422", "444")[content[16] & 3]
    return None


def light_of(boxes: Boxes) -> tuple[tuple[int, ...] | None, tuple[float, float] | None]:
    """Return mastering volume and light level in the form of ``Metadata``."""
    mastering, level = None, None
    for content in boxes.all("mdcv"):
        if len(content) >= 24:  # here in the order green, blue, red, white
            values = struct.unpack_from(">8HII", content)
            mastering = (*values[4:6], *values[:4], *values[6:])
    for content in boxes.all("clli"):
        most, average = struct.unpack_from(">HH", content)
        level = (float(most), float(average))
    return mastering, level


def beside(boxes: Boxes) -> tuple[str, ...]:
    """Say what else the file holds that is not written: pictures, films, seals."""
    notes = []
    names = " ".join(boxes.auxiliaries)
    kinds = [item.kind for number, item in boxes.items.items() if number != boxes.primary]
    if "gainmap" in names or "tmap" in kinds:
        notes.append("the gain map for HDR screens was left out; the picture itself is complete")
    if "depth" in names or "matte" in names:
        notes.append("depth maps and mattes were left out")
    if "mpvd" in boxes.kinds or ("moov" in boxes.kinds and "meta" in boxes.kinds):
        notes.append("the short film beside the photograph was left out")
    if boxes.others:
        notes.append(f"the primary picture was taken; {boxes.others} more were left out")
    if (
        boxes.sealed
        or "jumb" in boxes.kinds
        or any("c2pa" in item.media_type.lower() for item in boxes.items.values())
    ):
        notes.append(SEALED)
    return tuple(notes)
