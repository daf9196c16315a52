"""What is flat comes back as it was: a change fades where its surroundings hold no contrast.

A network answers even a flat field with something: the biases of its layers do not cancel to the
last digit, its zero padding looks like an edge, and in int8 every layer rounds. That is 1 to 4
levels of 255 (7 at borders), another one in each place of a block of pixels, which lifts black and
lets a screenshot double in size. There is nothing to sharpen where nothing differs, so the change
is scaled by the contrast of the 4 x 4 pixels it is in and of those next to them: to nothing where
all are equal, by ``contrast / FULL`` up to :data:`FULL` levels, and by 1 from there on. It holds
for any network in any runtime, as it only looks at what goes in and what comes out.

This costs no sharpness, as below 8 levels there is more noise than detail: on the eight photographs
that come with whet PSNR rises by .000 to .009 dB where they had been softened and by .11 to .32 dB
where they were sharp, for each of the models (``scripts/flat_areas.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.runtime.tiling import pad_to_multiple

__all__ = ["FULL", "SIDE_PX", "keep_flat", "keep_flat_blocks"]

FULL = 8
"""Contrast in levels of 255 from which a change is left as it is."""

SIDE_PX = 4
"""Contrast is measured in squares of this side, and those next to them."""

# Of the type of a picture: the integer that holds a change times a contrast, and log2 of FULL.
_WIDER: Mapping[Any, tuple[Any, int]] = {
    np.dtype(np.uint8): (np.int16, 3),
    np.dtype(np.uint16): (np.int32, 11),
}

_ROWS = 8  # of squares at a time

Values = NDArray[Any]
Extreme = Callable[..., Values]


def keep_flat(degraded: Values, restored: Values) -> Values:
    """Return ``restored`` with every change scaled by the contrast around it.

    Args:
        degraded: uint8 or uint16 (H, W, 3), any size.
        restored: the same shape and type; its memory is used for the result.
    """
    height, width, colours = degraded.shape
    before, after = (
        pad_to_multiple(np.ascontiguousarray(a), SIDE_PX) for a in (degraded, restored)
    )
    rows, columns = before.shape[0] // SIDE_PX, before.shape[1] // SIDE_PX
    lines = before.reshape(rows, SIDE_PX, -1)
    starts = np.arange(columns) * SIDE_PX * colours

    def reduced(part: Values, extreme: Any) -> Sequence[Values]:
        # Of four lines, then of four neighbours, at all places of a line at once.
        found = part.max(1) if extreme is np.maximum else part.min(1)
        for step in (colours, 2 * colours):
            found = extreme(found[:, step:], found[:, :-step])
        return [found[:, starts + colour] for colour in range(colours)]

    _fade(lines, after.reshape(lines.shape), _contrast(lines, reduced, columns))
    return after[:height, :width]


def keep_flat_blocks(degraded: Values, restored: Values, block: int) -> Values:
    """Do the same for blocks of 4:2:0 planes, as :func:`whet.runtime.yuv420.to_blocks` cuts them.

    Args:
        degraded: uint8 (h, w, 3/2 * block**2), C-contiguous.
        restored: the same shape and type; its memory is used for the result.
        block: side in pixels, 2 or 4.
    """
    rows, columns, channels = degraded.shape
    luma, chroma = block**2, block**2 // 4
    after = np.ascontiguousarray(restored)
    lines = degraded.reshape(rows, 1, columns * channels)

    def reduced(part: Values, extreme: Extreme) -> Sequence[Values]:
        # Of ever longer runs of bytes, from every byte on, of which one in a block is kept.
        found, run, width = [], part.reshape(-1), 1
        for start, size in ((luma, chroma), (luma + chroma, chroma), (0, luma)):
            while width < size:
                run, width = extreme(run[width:], run[:-width]), 2 * width
            found.append(run[start::channels][: len(part) * columns].reshape(-1, columns))
        return found

    contrast = _contrast(lines, reduced, columns, SIDE_PX // block)
    _fade(lines, after.reshape(lines.shape), contrast)
    return after


def _contrast(
    lines: Values,
    reduced: Callable[[Values, Any], Sequence[Values]],
    columns: int,
    blocks: int = 1,
) -> Values:
    """Return the largest difference of any colour in and around squares, (rows, columns).

    Args:
        lines: (rows, ...).
        reduced: returns an extreme of each block of some rows, by colour.
        columns: blocks in a row.
        blocks: that make the side of a square.
    """
    extremes = (np.maximum, np.minimum)
    found = np.empty((2, 3, len(lines), columns), lines.dtype)
    for start in range(0, len(lines), _ROWS):  # what fits into a processor's cache
        part = slice(start, start + _ROWS)
        for index, extreme in enumerate(extremes):
            for colour, values in enumerate(reduced(lines[part], extreme)):
                found[index, colour, part] = values
    highest, lowest = (
        [_around(_joined(values, blocks, extreme), extreme) for values in colours]
        for colours, extreme in zip(found, extremes, strict=True)
    )
    contrast: Values = functools.reduce(np.maximum, map(np.subtract, highest, lowest))
    return contrast.repeat(blocks, 0).repeat(blocks, 1)[: len(lines), :columns]


def _joined(values: Values, blocks: int, extreme: Extreme) -> Values:
    """Return an extreme of each square of blocks; the last ones may be narrower."""
    for axis in (0, 1) if blocks == 2 else ():
        lines = values.swapaxes(0, axis)
        joined = lines[::2].copy()
        extreme(joined[: len(lines) // 2], lines[1::2], out=joined[: len(lines) // 2])
        values = joined.swapaxes(0, axis)
    return values


def _around(values: Values, extreme: Extreme) -> Values:
    """Return an extreme of each value and the eight next to it."""
    for axis in (0, 1):
        lines = values.swapaxes(0, axis)
        found = lines.copy()
        extreme(found[1:], lines[:-1], out=found[1:])
        extreme(found[:-1], lines[1:], out=found[:-1])
        values = found.swapaxes(0, axis)
    return values


def _fade(before: Values, after: Values, contrast: Values) -> None:
    """Scale ``after - before`` in place where ``contrast`` is low.

    Args:
        before, after: (rows, lines of a row, values of a line).
        contrast: (rows, columns); a column is an equal share of the values of a line.
    """
    wider, bits = _WIDER[after.dtype]
    full = 1 << bits
    values = after.shape[2] // contrast.shape[1]
    for row in np.flatnonzero(contrast.min(1) < full):
        was, change = before[row].astype(wider), after[row].astype(wider)
        change -= was
        change *= np.minimum(contrast[row], full).astype(wider).repeat(values)
        change += full // 2
        change >>= bits  # by ``full``, rounded to nearest
        change += was
        after[row] = change
