"""EXIF patched in place: upright, without its thumbnail, and what is across and down exchanged."""

from __future__ import annotations

import io
import struct

from whet.image.exif import EXIF, ORIENTATION, Found, form_of, walk

__all__ = ["orientation_of", "turned", "turned_place"]

_INTEGERS = {1: "B", 3: "H", 4: "I"}

# What a quarter turn swaps: sizes, resolutions, and those of the focal plane.
_SWAPPED = ((0x0100, 0x0101), (0x011A, 0x011B), (0xA002, 0xA003), (0xA20E, 0xA20F))
_PLACES = (0x9214, 0xA214)  # SubjectArea, SubjectLocation: x, y and sizes in pixels


def _all_entries(exif: bytes) -> tuple[str, list[Found], int]:
    """Return byte order, the entries of all directories, and the place of the link to IFD 1."""
    stream = io.BytesIO(exif)
    form = form_of(stream)
    found, link_at, _ = walk(stream, form, form.first)
    below = []
    for one in found:
        if one.tag == EXIF and one.size == 4:
            (place,) = struct.unpack_from(form.order + "I", exif, one.value_at)
            try:
                below = walk(stream, form, place)[0]
            except ValueError:
                break
    return form.order, found + below, link_at


def orientation_of(exif: bytes | None) -> int | None:
    """Return the orientation, 1 to 8, that a block states; None where it states none."""
    try:
        order, found, _ = _all_entries(exif or b"")
    except (ValueError, struct.error):
        return None
    for one in found:
        if one.tag == ORIENTATION and one.kind in _INTEGERS and one.count == 1 and exif:
            (value,) = struct.unpack_from(order + _INTEGERS[one.kind], exif, one.value_at)
            return value if 1 <= value <= 8 else 1
    return None


def turned(exif: bytes, orientation: int, width: int, height: int) -> bytes:
    """Make a block say that the pixels are upright, and unlink its thumbnail.

    The orientation becomes 1; a quarter turn swaps what is meant across and down;
    places in the picture move with it. The thumbnail shows the degraded picture.

    Args:
        exif: the block.
        orientation: that was applied, 1 to 8.
        width, height: of the picture as it was stored, in pixels.
    """
    try:
        order, found, link_at = _all_entries(exif)
    except (ValueError, struct.error):
        return exif
    patched = bytearray(exif)
    known = {one.tag: one for one in found}
    if (one := known.get(ORIENTATION)) and one.kind in _INTEGERS:
        struct.pack_into(order + _INTEGERS[one.kind], patched, one.value_at, 1)
    if link_at + 4 <= len(patched):
        struct.pack_into(order + "I", patched, link_at, 0)
    if orientation >= 5:
        for pair in _SWAPPED:
            _swap(patched, known.get(pair[0]), known.get(pair[1]), exif)
    for tag in _PLACES:
        _move(patched, order, known.get(tag), orientation, width, height)
    return bytes(patched)


def _swap(patched: bytearray, across: Found | None, down: Found | None, exif: bytes) -> None:
    """Exchange type, count and value of two entries; their tags stay."""
    if across is None or down is None:
        return
    patched[across.at + 2 : across.at + 12] = exif[down.at + 2 : down.at + 12]
    patched[down.at + 2 : down.at + 12] = exif[across.at + 2 : across.at + 12]


def _move(
    patched: bytearray, order: str, one: Found | None, orientation: int, width: int, height: int
) -> None:
    """Turn a place in pixels: x, y, and where there are more, a diameter or width and height."""
    if (
        one is None
        or one.kind != 3
        or not 2 <= one.count <= 4
        or one.value_at + one.size > len(patched)
    ):
        return
    form = f"{order}{one.count}H"
    x, y, *sizes = struct.unpack_from(form, patched, one.value_at)
    x, y = turned_place(x, y, orientation, width - 1, height - 1)
    if orientation >= 5:
        sizes = sizes[::-1]
    if 0 <= x < 2**16 and 0 <= y < 2**16:
        struct.pack_into(form, patched, one.value_at, int(x), int(y), *sizes)


def turned_place(
    x: float, y: float, orientation: int, width: float, height: float
) -> tuple[float, float]:
    """Return where a point of the stored picture lies in the upright one.

    Args:
        x, y: from 0 to ``width`` and ``height``, which are those of the stored picture.
        orientation: 1 to 8 (CIPA DC-008, tag 0x0112).
    """
    places = {
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }
    return places.get(orientation, (x, y))
