"""Frames as decoders keep them: 4:2:0 planes, and the blocks that a network takes of them.

Most video holds brightness for every pixel and colour for every fourth one. Turning that into
RGB and back costs a third of what nano does, and so does feeding a network with three colours
per pixel. :mod:`whet.graph.yuv420_io` makes a network that takes the planes themselves; here
they are cut into the blocks that it works on: per block its rows of Y, then of U, then of V.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.runtime.tiling import pad_to_multiple

__all__ = ["FORMATS", "Planar", "Planes", "from_blocks", "to_blocks"]

Bytes = NDArray[np.uint8]

FORMATS = ("yuv420p", "yuvj420p")
"""FFmpeg's names of what :class:`Planes` holds."""


class Planes:
    """A decoded 4:2:0 frame of 8 bits.

    Args:
        frame: a frame of FFmpeg's in one of :data:`FORMATS`; kept, not copied.

    Attributes:
        y: uint8 (H, W), a view of the frame's memory, with gaps between its rows.
        u, v: the same, (ceil(H/2), ceil(W/2)).
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.y, self.u, self.v = (
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
            for plane in frame.planes
        )

    @classmethod
    def empty(cls, height: int, width: int) -> Planes:
        """Return planes to be written to."""
        import av  # a tenth of a second, which pictures need not pay

        return cls(av.VideoFrame(width, height, FORMATS[0]))

    def field(self, first: int) -> Planes:
        """Return every other line, from line ``first`` on: a view, as a picture of its own.

        Where it has fewer lines of colour than its height asks for, the last one stands twice.
        """
        field = copy(self)
        field.y = self.y[first::2]
        lines = (len(field.y) + 1) // 2
        field.u, field.v = (
            plane if len(plane) == lines else np.pad(plane, ((0, 1), (0, 0)), "edge")
            for plane in (self.u[first::2], self.v[first::2])
        )
        return field

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.y.shape
        return height, width

    def __iter__(self) -> Any:
        return iter((self.y, self.u, self.v))


@dataclass(frozen=True)
class Planar:
    """A network that takes blocks of planes.

    Attributes:
        block: side in pixels of a block.
        run: maps uint8 (1, h, w, 3/2 * block**2) and a strength to the same shape and type; may
            be called from ``at_once`` threads.
        at_once: frames that are best worked on at the same time.
    """

    block: int
    run: Callable[[Bytes, float], Bytes]
    at_once: int = 1


def to_blocks(planes: Planes, block: int, multiple: int) -> Bytes:
    """Cut a frame into blocks, extended to multiples of ``multiple`` pixels as pictures are.

    Args:
        planes: of any size.
        block: side in pixels, even.
        multiple: of which the network wants height and width; itself one of ``block``.

    Returns:
        uint8 (h, w, 3/2 * block**2), C-contiguous.
    """
    half = multiple // 2
    y, u, v = (pad_to_multiple(p, m) for p, m in zip(planes, (multiple, half, half), strict=True))
    blocks = np.empty((len(y) // block, y.shape[1] // block, 3 * block**2 // 2), np.uint8)
    for plane, runs in zip((y, u, v), _runs(blocks, block), strict=True):
        side = runs.dtype.itemsize
        rows = plane.view(runs.dtype)  # numpy then copies runs of bytes instead of single ones
        for row in range(side):
            runs[..., row] = rows[row::side]
    return blocks


def from_blocks(blocks: Bytes, block: int, height: int, width: int) -> Planes:
    """Invert :func:`to_blocks`; what it added is cut off."""
    rows, columns = blocks.shape[0] * block, blocks.shape[1] * block
    planes = Planes.empty(rows, columns)
    for plane, runs in zip(planes, _runs(blocks, block), strict=True):
        side = runs.dtype.itemsize
        target = plane.view(runs.dtype)
        for row in range(side):
            target[row::side] = runs[..., row]
    if (rows, columns) == (height, width):
        return planes
    cropped = Planes.empty(height, width)
    for plane, whole in zip(cropped, planes, strict=True):
        plane[:] = whole[: plane.shape[0], : plane.shape[1]]
    return cropped


def _runs(blocks: Bytes, block: int) -> tuple[NDArray[Any], ...]:
    """Return views of Y, U and V in blocks, (h, w, rows), a row of a block as one item."""
    luma, chroma = block**2, block**2 // 4
    parts = (blocks[..., :luma], blocks[..., luma : luma + chroma], blocks[..., luma + chroma :])
    sides = (block, block // 2, block // 2)
    return tuple(part.view(f"V{side}") for part, side in zip(parts, sides, strict=True))
