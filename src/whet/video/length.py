"""How long a file says that it is: what it holds is compared with that."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

__all__ = ["file_end_s", "stated_end_s"]


def stated_end_s(stream: Any) -> Fraction | None:
    """Return when a stream is to end by its header or its tags, in seconds, or None."""
    if stream.duration and stream.time_base:
        return Fraction((stream.duration + (stream.start_time or 0)) * stream.time_base)
    stated = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (Fraction(part) for part in stated)
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def file_end_s(container: Any) -> Fraction | None:
    """Return when an open file is to end by its header, in seconds, or None."""
    if not container.duration:
        return None
    return Fraction(container.duration + (container.start_time or 0), av.time_base)
