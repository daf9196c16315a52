"""Overlapping tiles for networks that see a whole tile at once, blended into one picture.

A heavy network mixes over everything it is given, so no margin makes its tiles join exactly, as
:mod:`whet.runtime.tiling` does for small ones. Neighbours share ``overlap`` pixels instead, over
which one fades into the other along a squared sine: weights of two neighbours add up to one, and
have no kink where a fade begins. Only one row of tiles is held at a time.

Plain numpy; nothing here knows of networks or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "Tiling", "astray", "blend_rows", "boxes"]

Floats = NDArray[np.float32]

_BLOCK_PX = 32
_MOST_CHANGE = 0.25
"""Deblurring moves edges, but hardly changes what a block of pixels holds on the mean."""


@dataclass(frozen=True)
class Tiling:
    """How a network wants pictures cut.

    Attributes:
        size: side of a tile in pixels, a multiple of ``multiple``.
        overlap: pixels that neighbours share at least; at most half of ``size``.
        multiple: sides that the network takes are multiples of this; pictures smaller than a
            tile are extended to the next.
    """

    size: int
    overlap: int
    multiple: int


@dataclass(frozen=True)
class Box:
    """Where a tile lies in its picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return this part of an HWC picture, a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: evenly spread, sharing at least ``overlap`` pixels."""
    if length <= size:
        return [0]
    steps = math.ceil((length - size) / (size - overlap))
    return [round(step * (length - size) / steps) for step in range(steps + 1)]


def boxes(height: int, width: int, tiling: Tiling) -> list[list[Box]]:
    """Return the tiles of a picture, row by row; all have one size, the picture's at most."""
    tall, wide = min(tiling.size, height), min(tiling.size, width)
    return [
        [Box(top, left, tall, wide) for left in _starts(width, tiling.size, tiling.overlap)]
        for top in _starts(height, tiling.size, tiling.overlap)
    ]


def blend_rows(
    rows: list[list[Box]], overlap: int, restored: Callable[[Box], Floats]
) -> Iterator[tuple[int, Floats]]:
    """Yield ``(first row, float32 rows of the whole width)`` from top to bottom.

    Args:
        rows: from :func:`boxes`.
        overlap: as there.
        restored: called once for every box, in order; returns (height, width, 3).
    """
    last = rows[-1][-1]
    height, width = last.top + last.height, last.left + last.width
    window = _fade(last.height, overlap)[:, None, None] * _fade(last.width, overlap)[:, None]
    total = np.zeros((last.height, width, 3), np.float32)
    weight = np.zeros((last.height, width, 1), np.float32)
    tops = [row[0].top for row in rows]
    for row, following in zip(rows, [*tops[1:], height], strict=True):
        for box in row:
            columns = slice(box.left, box.left + box.width)
            total[:, columns] += restored(box) * window
            weight[:, columns] += window
        done = following - row[0].top
        yield row[0].top, total[:done] / weight[:done]
        for held in (total, weight):
            held[: len(held) - done] = held[done:].copy()
            held[len(held) - done :] = 0


def _fade(length: int, overlap: int) -> Floats:
    """Weights along a tile: 1 inside, falling along a squared sine at both ends, never to 0."""
    nearest_end = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    share = np.minimum(nearest_end / overlap, 1)
    fade: Floats = (np.sin(share * (np.pi / 2)) ** 2).astype(np.float32)
    return fade


def astray(degraded: Floats, restored: Floats) -> bool:
    """Whether a network has left the picture it was given: values that are no numbers, or blocks
    of 32 x 32 pixels whose mean moved by more than a quarter of the range.

    Public deblurring networks do so now and then, away from what they were trained on.
    """
    if not np.isfinite(restored).all():
        return True
    moved = _block_means(restored.clip(0, 1)) - _block_means(degraded)
    return bool(np.abs(moved).max() > _MOST_CHANGE)


def _block_means(image: Floats) -> Floats:
    """Mean of each block; where the picture is smaller than a block, of the whole."""
    means: NDArray[Any] = image
    for axis in (0, 1):
        blocks = np.arange(0, max(means.shape[axis] // _BLOCK_PX, 1)) * _BLOCK_PX
        counts = np.diff([*blocks, means.shape[axis]])
        shape = [-1 if a == axis else 1 for a in range(3)]
        sums = np.add.reduceat(means, blocks, axis=axis)
        means = sums / counts.astype(np.float32).reshape(shape)
    return means
