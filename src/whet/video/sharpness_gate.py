"""Frames that are sharp already pass as they are: a measure of sharpness, and a gate that is slow.

The measure is :func:`whet.image.sharpness.sharpness`. The gate errs towards restoring: it starts
closed, it opens after :data:`PATIENCE` sharp frames on end, closes at the first soft one, and
between opening and closing lies a gap. Restoration fades in and out, so that neither shows as a
jump. The thresholds come from pictures; the script that measures them and what it found are named
in ``docs/video.md``.
"""

from __future__ import annotations

from whet.image import Pixels
from whet.image.sharpness import sharpness

__all__ = ["CLOSE", "FADE", "OPEN", "PATIENCE", "Gate", "sharpness"]

OPEN, CLOSE = 0.24, 0.20
"""At or above the first a frame counts as sharp, below the second as soft; see docs/video.md."""

PATIENCE = 12
"""Sharp frames on end before the gate opens: half a second."""

FADE = 8
"""Frames over which restoration fades in or out."""


class Gate:
    """Says for each frame of a video, in order, how much of the restoration it needs.

    Args:
        passing: the frame before the first one passed, as when a run goes on.
    """

    def __init__(self, passing: bool = False) -> None:
        self._open = passing
        self._sharp_frames = 0
        self._share = 0 if passing else FADE  # in units of 1/FADE

    def share(self, pixels: Pixels) -> float:
        """Return the share of restoration that the next frame gets: 0 lets it pass.

        Args:
            pixels: as :func:`sharpness` takes them.
        """
        measured = sharpness(pixels)
        if measured is not None:  # one that cannot be told changes nothing
            self._sharp_frames = self._sharp_frames + 1 if measured >= OPEN else 0
            if measured < CLOSE:
                self._open = False
            elif self._sharp_frames >= PATIENCE:
                self._open = True
        self._share = max(0, self._share - 1) if self._open else min(FADE, self._share + 1)
        return self._share / FADE
