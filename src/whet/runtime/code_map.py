"""What a look found in a picture, place by place, and how a restorer is told it.

A code says what happened to a cell of 128 pixels (:mod:`whet.models.students.told`): a
portrait's soft background and its sharp face get different ones. It is estimated once,
on the whole picture, and interpolated linearly between cells; so tiles join without a
seam, whatever their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.conditions import KINDS, MEASURES, Condition, unscaled
from whet.graph.look import NODE_PX, TOLD_PX
from whet.runtime.tiling import Rows, pad_to_least, pad_to_multiple

__all__ = ["CodeMap", "Codes", "look_at"]

Codes = NDArray[np.float32]

_CELLS_AT_ONCE = 8
"""Rows of cells in one run of the look: memory does not grow with the height of the picture."""


@dataclass(frozen=True)
class CodeMap:
    """The codes of a picture.

    Attributes:
        nodes: float32 (codes, rows, columns), the code at every 64th pixel from the upper left
            corner on; the outermost hold beyond.
        top, left: where the picture begins that is to be told, in pixels of the one looked at;
            multiples of 16.
    """

    nodes: Codes
    top: int = 0
    left: int = 0

    def window(self, top: int, left: int) -> CodeMap:
        """Return the map for a part of the picture that begins there."""
        return CodeMap(self.nodes, self.top + top, self.left + left)

    def tile(self, top: int, left: int, height: int, width: int) -> Codes:
        """Return the codes of a window as the restorer takes them.

        Args:
            top, left: of the window, multiples of 16.
            height, width: of the window, multiples of 16.

        Returns:
            float32 (1, codes, height/16, width/16), at the centres of blocks; C-contiguous.
        """
        down = _between(self.nodes.shape[1], self.top + top, height)
        across = _between(self.nodes.shape[2], self.left + left, width)
        codes = np.einsum("ka,nab,lb->nkl", down, self.nodes, across, optimize=True)
        return np.ascontiguousarray(codes[None], np.float32)

    def mean(self) -> CodeMap:
        """Return the same with one code for the whole picture."""
        return CodeMap(self.nodes.mean((1, 2), keepdims=True))

    def towards(self, other: CodeMap, share: float) -> CodeMap:
        """Return the map that lies between this one and ``other`` of the same picture size."""
        return CodeMap((1 - share) * self.nodes + np.float32(share) * other.nodes)

    def condition(self) -> Condition:
        """Return the condition of the picture as a whole: the likeliest kind, mean measures."""
        mean = self.nodes.mean((1, 2))
        measures = unscaled(mean[len(KINDS) : len(KINDS) + len(MEASURES)])
        return Condition(KINDS[int(mean[: len(KINDS)].argmax())], *map(float, measures))


def _between(count: int, start: int, length: int) -> NDArray[np.float32]:
    """Return the matrix (length/16, count) of linear interpolation between nodes."""
    places = (start + TOLD_PX * (np.arange(length // TOLD_PX) + 0.5)) / NODE_PX
    places = places.clip(0, count - 1)
    low = np.minimum(places.astype(int), max(0, count - 2))
    matrix = np.zeros((len(places), count), np.float32)
    rows = np.arange(len(places))
    matrix[rows, low] = 1 - (places - low)
    matrix[rows, np.minimum(low + 1, count - 1)] += places - low
    return matrix


def look_at(
    look: Callable[[NDArray[np.float32]], Codes],
    bands: Iterable[NDArray[Any]],
    height: int,
    *,
    multiple: int,
    least: int,
) -> CodeMap:
    """Look at a picture that arrives in bands of rows.

    Args:
        look: maps float32 (H, W, 3) in [0, 1] to the codes (codes, R, C) at every 64th pixel.
        bands: uint8 or uint16 (rows, width, 3), from top to bottom.
        height: of the whole picture, in pixels.
        multiple, least: of the look's pictures.

    Returns:
        The same map whatever the bands.
    """
    rows = Rows(bands)
    full = -(-max(height, least) // multiple) * multiple
    cells = (full - least) // NODE_PX + 1
    parts: list[Codes] = []
    for first in range(0, cells, _CELLS_AT_ONCE):
        last = min(first + _CELLS_AT_ONCE, cells)
        # A cell of context on either side: what the look sees beyond a cut would not be there.
        start = max(0, first - 1) * NODE_PX
        stop = full if last == cells else (last + 1) * NODE_PX + NODE_PX
        part = rows.take(min(start, height - 1), min(stop, height))
        pixels = pad_to_multiple(pad_to_least(part, least), multiple)
        # Around the cells the file's look repeats the outermost: one before, two behind.
        found = look(np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=np.float32))[:, 1:-2]
        parts.append(found[:, first - start // NODE_PX : last - start // NODE_PX])
    seen = np.concatenate(parts, axis=1)
    return CodeMap(np.pad(seen, ((0, 0), (1, 2), (0, 0)), mode="edge"))
