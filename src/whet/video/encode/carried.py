"""What a decoded frame carries beside its pixels: captions, light levels, how it is turned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["carried", "turn_like"]


def carried(frame: Any) -> Mapping[str, bytes]:
    """Return what a decoded frame carries, by FFmpeg's names.

    Of a frame that carries what PyAV has no name for yet, it is nothing.
    """
    try:
        return {str(side.type.name): bytes(side) for side in frame.side_data}
    except ValueError:
        return {}


def turn_like(video: Any, frame: Any) -> None:
    """Let a stream to be written be turned or mirrored by players as a decoded frame is."""
    if matrix := carried(frame).get("DISPLAYMATRIX"):
        video.set_display_matrix(np.frombuffer(matrix, np.int32).tolist())
    elif frame.rotation:
        video.set_display_rotation(frame.rotation)
