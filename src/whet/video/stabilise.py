"""Keeps restoration from trembling: where the video stands still, so does what is added to it.

A network sees the noise of a frame and answers it with a slightly other change in every frame, and
in int8 rounding adds to that. The eye sees it on a wall before it sees anything else. So where a
pixel is what it was in the frame before, but for :data:`STILL` levels, it gets the change that it
got there, unless that is more than :data:`BOUND` levels from what the network says now. The
result is therefore never further than the bound from the network's own, whatever came before:
a cut needs no looking for, and nothing can drag. What it does to flicker and to PSNR stands in
``docs/video.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUND", "STILL", "Stabiliser", "stabilised"]

STILL = 1
"""Levels of 255 by which a value may differ from the frame before and still counts as the same."""

BOUND = 2
"""Levels of 255 by which the result may differ from the network's."""

_CHUNK = 2**16  # values at a time: what fits into a processor's second cache

Values = NDArray[Any]


def stabilised(
    before: Values, degraded: Values, before_restored: Values, restored: Values
) -> Values:
    """Return ``restored`` with the change of the frame before where that is nearly the same.

    Args:
        before: the frame before as it came, uint8 or uint16 of any shape.
        degraded: this frame.
        before_restored: what became of ``before``: the last result of this function.
        restored: what the network makes of this frame.

    Returns:
        ``before_restored + degraded - before`` where degraded differs by at most :data:`STILL`
        and the sum by at most :data:`BOUND` levels from ``restored``; else ``restored``.
    """
    level = np.iinfo(restored.dtype).max // 255
    result = np.empty(restored.shape, restored.dtype)  # in C order, as it is filled chunk by chunk
    arrays = (before, degraded, before_restored, restored, result)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    scratch = np.empty((3, min(_CHUNK, result.size)), restored.dtype)
    for start in range(0, result.size, _CHUNK):
        _steady([values[start : start + _CHUNK] for values in flat], scratch, level)
    return result


def _steady(chunks: Sequence[Values], scratch: Values, level: int) -> None:
    """Fill the last chunk. Modular arithmetic without branches takes a seventh of the plain way."""
    before, degraded, before_restored, restored, result = chunks
    step, apart, low = (row[: len(result)] for row in scratch)
    np.subtract(degraded, before, out=step)
    np.add(before_restored, step, out=result)
    # A sum that wraps around is judged like any other, by its distance from ``restored``.
    np.maximum(result, restored, out=apart)
    np.minimum(result, restored, out=low)
    apart -= low
    step += STILL * level  # now 0 to twice as much where the frame stands still
    kept = (step <= 2 * STILL * level) & (apart <= BOUND * level)
    result -= restored
    result *= kept
    result += restored


class Stabiliser:
    """Takes the frames of a video in order."""

    def __init__(self) -> None:
        self._last: tuple[Values, Values] | None = None

    def reset(self) -> None:
        """Forget the frame before."""
        self._last = None

    def __call__(self, degraded: Values, restored: Values) -> Values:
        """Return the frame's stabilised result; both arrays are kept and must not change."""
        if self._last is not None and self._last[0].shape == degraded.shape:
            restored = stabilised(self._last[0], degraded, self._last[1], restored)
        self._last = (degraded, restored)
        return restored
