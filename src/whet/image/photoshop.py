"""Photoshop's image resources, the blocks in which JPEG and TIFF carry IPTC."""

from __future__ import annotations

import struct

__all__ = ["iptc_of", "resources_of", "turned", "without_thumbnails"]

_IPTC, _RESOLUTION = 0x0404, 0x03ED
_THUMBNAILS = (0x0409, 0x040C)  # they show the degraded picture


def _resources(block: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return number, padded name and content of each resource; damage ends the list."""
    found, at = [], 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        (number,) = struct.unpack_from(">H", block, at + 4)
        name_bytes = block[at + 6] + 1
        name_bytes += name_bytes % 2
        name = block[at + 6 : at + 6 + name_bytes]
        at += 6 + name_bytes
        if at + 4 > len(block):
            break
        (size,) = struct.unpack_from(">I", block, at)
        found.append((number, name, block[at + 4 : at + 4 + size]))
        at += 4 + size + size % 2
    return found


def _joined(resources: list[tuple[int, bytes, bytes]]) -> bytes:
    return b"".join(
        struct.pack(">4sH", b"8BIM", number)
        + name
        + struct.pack(">I", len(content))
        + content
        + bytes(len(content) % 2)
        for number, name, content in resources
    )


def without_thumbnails(block: bytes) -> bytes:
    """Return the resources without those that show the degraded picture."""
    return _joined([one for one in _resources(block) if one[0] not in _THUMBNAILS])


def turned(block: bytes) -> bytes:
    """Exchange the resolutions across and down (resource 0x03ED), as after a quarter turn."""
    return _joined(
        [
            (number, name, content[8:16] + content[:8] + content[16:])
            if number == _RESOLUTION and len(content) == 16
            else (number, name, content)
            for number, name, content in _resources(block)
        ]
    )


def iptc_of(block: bytes) -> bytes | None:
    """Return the IPTC records in a block of resources."""
    return next((content for number, _, content in _resources(block) if number == _IPTC), None)


def resources_of(iptc: bytes) -> bytes:
    """Return IPTC records as a block of resources."""
    return _joined([(_IPTC, b"\0\0", iptc)])
