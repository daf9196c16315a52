"""Items and properties inserted into an encoded AVIF, whose encoder takes no metadata."""

from __future__ import annotations

import struct

from whet.image.isobmff import associations, boxes_in

__all__ = ["with_items"]


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_items(
    encoded: bytes,
    items: list[tuple[bytes, bytes, bytes]],
    properties: list[tuple[bytes, bytes]],
) -> bytes:
    """Return an encoded AVIF with items and properties of its primary picture added.

    Args:
        encoded: as libavif writes it: ``ftyp``, ``meta``, ``mdat``, small item numbers, places
            counted from the start of the file in 4 bytes or fewer.
        items: ``(kind, media type, content)``; a kind is ``Exif`` or ``mime``.
        properties: ``(kind, content)``.
    """
    if not items and not properties:
        return encoded
    top = dict(boxes_in(encoded))
    meta = top["meta"]
    parts = dict(boxes_in(meta, 4))
    (primary,) = struct.unpack_from(">H", parts["pitm"], 4)
    numbers = range(1000, 1000 + len(items))
    iinf = bytearray(parts["iinf"])
    struct.pack_into(">H", iinf, 4, struct.unpack_from(">H", iinf, 4)[0] + len(items))
    links = b""
    for number, (kind, media_type, _) in zip(numbers, items, strict=True):
        text = b"\0" + (media_type + b"\0" if media_type else b"")
        iinf += _box(b"infe", struct.pack(">IHH4s", 0x02000000, number, 0, kind) + text)
        links += _box(b"cdsc", struct.pack(">HHH", number, 1, primary))
    parts["iinf"] = bytes(iinf)
    parts["iref"] = parts.get("iref", bytes(4)) + links
    parts["iprp"] = _with_properties(parts["iprp"], primary, properties)

    def joined(iloc: bytes) -> bytes:
        parts["iloc"] = iloc
        body = b"".join(_box(kind.encode("latin-1"), content) for kind, content in parts.items())
        return _box(b"meta", meta[:4] + body)

    contents = [content for _, _, content in items]
    places = _places(parts["iloc"])
    # Twice: the first pass tells how much longer the directory became.
    longer = len(joined(_iloc(places, numbers, contents, 0, 0))) - len(meta) - 8
    end = len(encoded) + longer + 8
    rebuilt = joined(_iloc(places, numbers, contents, longer, end))
    before = encoded[: encoded.index(b"meta") - 4]
    after = encoded[len(before) + len(meta) + 8 :]
    return before + rebuilt + after + _box(b"mdat", b"".join(contents))


def _with_properties(iprp: bytes, primary: int, properties: list[tuple[bytes, bytes]]) -> bytes:
    """Append properties to ``ipco`` and tie them to the primary picture in ``ipma``."""
    inside = dict(boxes_in(iprp))
    ipco, ipma = inside["ipco"], inside["ipma"]
    first = len(list(boxes_in(ipco))) + 1
    ipco += b"".join(_box(kind, content) for kind, content in properties)
    ties = associations(ipma)
    essential = _essential(ipma)
    ties[primary] += range(first, first + len(properties))
    entries = b""
    for item, numbers in sorted(ties.items()):
        marks = [n | 0x80 if (item, n) in essential else n for n in numbers]
        entries += struct.pack(">HB", item, len(marks)) + bytes(marks)
    return _box(b"ipco", ipco) + _box(b"ipma", struct.pack(">II", 0, len(ties)) + entries)


def _essential(ipma: bytes) -> set[tuple[int, int]]:
    """Return the ``(item, property)`` ties that a reader must understand (one-byte form)."""
    (count,) = struct.unpack_from(">I", ipma, 4)
    at, found = 8, set()
    for _ in range(count):
        item, numbers = struct.unpack_from(">HB", ipma, at)
        at += 3
        found |= {(item, n & 0x7F) for n in ipma[at : at + numbers] if n & 0x80}
        at += numbers
    return found


def _places(iloc: bytes) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return each item's ``(number, [(offset, length)])`` from a version 0 ``iloc``."""
    sizes, count = struct.unpack_from(">HH", iloc, 4)
    if iloc[0] != 0 or sizes != 0x4400:
        raise ValueError("an unknown form of item locations")
    at, places = 8, []
    for _ in range(count):
        item, _, extents = struct.unpack_from(">HHH", iloc, at)
        at += 6
        places.append((item, [struct.unpack_from(">II", iloc, at + 8 * n) for n in range(extents)]))
        at += 8 * extents
    return places


def _iloc(
    places: list[tuple[int, list[tuple[int, int]]]],
    numbers: range,
    contents: list[bytes],
    longer: int,
    end: int,
) -> bytes:
    """Build ``iloc``: old places moved by ``longer``, new contents from ``end`` on."""
    all_places = [(n, [(start + longer, size) for start, size in e]) for n, e in places]
    for number, content in zip(numbers, contents, strict=True):
        all_places.append((number, [(end, len(content))]))
        end += len(content)
    body = struct.pack(">IHH", 0, 0x4400, len(all_places))
    for number, extents in all_places:
        body += struct.pack(">HHH", number, 0, len(extents))
        body += b"".join(struct.pack(">II", *extent) for extent in extents)
    return body
