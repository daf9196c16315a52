"""Transparency of decoded frames: whether there is any."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["has_alpha", "opaque"]

_WITH_ALPHA = ("yuva", "gbrap", "ya8", "ya16", "rgba", "bgra", "argb", "abgr")


def has_alpha(format: Any) -> bool:
    """Return whether a pixel format of FFmpeg's holds transparency."""
    return bool(format.has_palette or format.name.startswith(_WITH_ALPHA))


def opaque(frame: Any) -> bool:
    """Return whether nothing of a frame is transparent, whatever its format could hold."""
    if not has_alpha(frame.format):
        return True
    name, bits = frame.format.name, frame.format.components[-1].bits
    if name.startswith(("yuva", "gbrap")):
        plane, kind = frame.planes[3], np.uint16 if bits > 8 else np.uint8
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
        return bool(rows.min() == 2**bits - 1)
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() == 255)
