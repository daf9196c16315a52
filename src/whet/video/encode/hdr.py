"""Light levels of HDR video: what its frames say of the display that it was graded on.

Encoders take them as options when they are opened, each in its own spelling.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from whet.video.encode.carried import carried

__all__ = ["light_options"]

_MASTERING = struct.Struct("=20i2i")  # AVMasteringDisplayMetadata: ten fractions, two flags
_LIGHT = struct.Struct("=2I")  # AVContentLightMetadata


def light_options(frame: Any, encoder: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return an encoder's options with the light levels that a decoded frame carries.

    Args:
        frame: FFmpeg's, the first of the video.
        encoder: FFmpeg's name.
        options: those that are set already.
    """
    writer = _WRITERS.get(encoder)
    added = writer(*_levels(frame)) if writer else []
    if not added:
        return dict(options)
    key = _KEYS[encoder]
    joined = ":".join([options[key], *added] if key in options else added)
    return {**options, key: joined}


def _levels(frame: Any) -> tuple[list[Fraction] | None, tuple[int, int] | None]:
    """Return x and y of red, green, blue and white, least and most cd/m2; and content levels."""
    data = carried(frame)
    mastering, light = data.get("MASTERING_DISPLAY_METADATA"), data.get("CONTENT_LIGHT_LEVEL")
    display = None
    if mastering and len(mastering) >= _MASTERING.size:
        *numbers, primaries, luminance = _MASTERING.unpack_from(mastering)
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if primaries and luminance and all(below for _, below in pairs):
            display = [Fraction(above, below) for above, below in pairs]
    content = _LIGHT.unpack_from(light) if light and len(light) >= _LIGHT.size else None
    return display, content


def _x265(display: list[Fraction] | None, content: tuple[int, int] | None) -> list[str]:
    options = []
    if display:
        options.append("master-display=" + _in_units(display))
    if content:
        options.append(f"max-cll={content[0]},{content[1]}")
    return options


def _x264(display: list[Fraction] | None, content: tuple[int, int] | None) -> list[str]:
    options = []
    if display:
        options.append("mastering-display=" + _in_units(display))
    if content:
        options.append(f"cll={content[0]},{content[1]}")
    return options


def _svt_av1(display: list[Fraction] | None, content: tuple[int, int] | None) -> list[str]:
    options = []
    if display:
        values = [f"{float(value):.6f}" for value in display]
        options.append("mastering-display=" + _spelt(values))
    if content:
        options.append(f"content-light={content[0]},{content[1]}")
    return options


def _in_units(display: list[Fraction]) -> str:
    """Return a display in HEVC's units: 1/50,000 of a coordinate, 1/10,000 cd/m2."""
    return _spelt([str(round(v * (50_000 if i < 8 else 10_000))) for i, v in enumerate(display)])


def _spelt(values: list[str]) -> str:
    rx, ry, gx, gy, bx, by, wx, wy, least, most = values
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"


_WRITERS = {"libx265": _x265, "libx264": _x264, "libsvtav1": _svt_av1}
_KEYS = {"libx265": "x265-params", "libx264": "x264-params", "libsvtav1": "svtav1-params"}
