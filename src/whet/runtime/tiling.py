"""Padding and tiling: the one place that makes any picture fit a network, exactly.

A network sees zeros beyond the border of its input. A window cut from the
middle of a picture is therefore wrong within ``halo`` pixels of its own border
and right everywhere else; a window that ends where the picture ends is right up
to that end. So windows overlap by twice the halo, all have one shape (a runtime
compiles once), and the last one in each direction is moved inwards until it
ends with the picture. Origins are multiples of ``multiple``, as a network that
works on blocks of pixels must see the same blocks. Tiled then equals untiled.

Everything here is plain numpy and knows nothing of networks or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TILE_PX",
    "Rows",
    "pad_to_least",
    "pad_to_multiple",
    "restore_bands",
    "restore_tiled",
    "windows",
]

Pixels = NDArray[Any]
Run = Callable[[Pixels], Pixels]
PlacedRun = Callable[[Pixels, int, int], Pixels]
"""Is also told the first row and column of its window."""

TILE_PX = 1536
"""Default side of a window. Its area, 2.4 megapixels, lets a 1080p frame pass
whole, and costs the founding student (64 channels at full size) about 2 GB."""


def _up(value: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is not below ``value``."""
    return -(-value // multiple) * multiple


def pad_to_least(image: Pixels, least: int) -> Pixels:
    """Extend an HWC array at the bottom and right to ``least`` pixels, mirroring it as needed."""
    missing = [(0, max(0, least - side)) for side in image.shape[:2]]
    if not any(after for _, after in missing):
        return image
    return np.pad(image, [*missing, (0, 0)], mode="symmetric")


def pad_to_multiple(image: Pixels, multiple: int) -> Pixels:
    """Extend an HWC array at the bottom and right to multiples of ``multiple``.

    The border is reflected (without repeating the border pixel), as this
    continues lines and gradients. Where the picture is too small for that, its
    last row or column is repeated. Returns ``image`` itself when nothing is
    missing.
    """
    for axis in (0, 1):
        size = image.shape[axis]
        missing = -size % multiple
        if missing:
            pad = [(0, 0)] * image.ndim
            pad[axis] = (0, missing)
            image = np.pad(image, pad, mode="reflect" if missing < size else "edge")
    return image


def windows(
    size: int, *, multiple: int, halo: int, tile: int
) -> tuple[int, list[tuple[int, int, int]]]:
    """Cover ``size`` pixels of one axis with overlapping windows of one length.

    Args:
        size: length of the axis in pixels, a multiple of ``multiple``.
        multiple: every origin and the length are multiples of this.
        halo: margin in pixels in which a window's result is not to be trusted.
        tile: upper bound of the length in pixels; raised where it leaves no
            room for two halos and two blocks.

    Returns:
        The length, and ``(origin, start, stop)`` for each window: its first
        pixel, and the part of the axis that is taken from its result. The parts
        join without gap or overlap.
    """
    margin = _up(halo, multiple)
    tile = max(tile // multiple * multiple, 2 * margin + 2 * multiple)
    if size <= tile:
        return size, [(0, 0, size)]
    count = -(-(size - 2 * margin) // (tile - 2 * margin))
    # The shortest length that still covers the axis with as many windows:
    # fixed-length windows would nearly double the work of a slightly larger picture.
    core = _up(-(-(size - 2 * margin) // count), multiple)
    length = core + 2 * margin
    parts = []
    start = 0
    for index in range(count):
        origin = min(index * core, size - length)
        stop = size if index == count - 1 else origin + length - margin
        parts.append((origin, start, stop))
        start = stop
    return length, parts


def _restore_row(
    run: PlacedRun, band: Pixels, top: int, *, multiple: int, halo: int, tile: int
) -> Pixels:
    """Restore one full-width HWC band whose size already is a multiple."""
    length, columns = windows(band.shape[1], multiple=multiple, halo=halo, tile=tile)
    if len(columns) == 1:
        return run(np.ascontiguousarray(band), top, 0)
    parts = []
    for origin, start, stop in columns:
        part = run(np.ascontiguousarray(band[:, origin : origin + length]), top, origin)
        parts.append(part[:, start - origin : stop - origin])
    return np.concatenate(parts, axis=1)


class Rows:
    """The part of a stream of bands that is still needed."""

    def __init__(self, bands: Iterable[Pixels]) -> None:
        self._bands = iter(bands)
        self._held: list[tuple[int, Pixels]] = []
        self._end = 0

    def take(self, start: int, stop: int) -> Pixels:
        """Return rows ``start`` to ``stop``; rows before ``start`` are forgotten.

        Raises:
            ValueError: the stream ends before ``stop``.
        """
        while self._end < stop:
            band = next(self._bands, None)
            if band is None:
                raise ValueError(f"bands end at row {self._end}, expected {stop}")
            self._held.append((self._end, band))
            self._end += len(band)
        self._held = [(first, band) for first, band in self._held if first + len(band) > start]
        pieces = [band[max(start - first, 0) : stop - first] for first, band in self._held]
        pieces = [piece for piece in pieces if len(piece)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def restore_bands(
    run: Run | PlacedRun,
    bands: Iterable[Pixels],
    *,
    height: int,
    width: int,
    multiple: int,
    halo: int,
    tile: int | None = None,
    placed: bool = False,
) -> Iterator[Pixels]:
    """Restore a picture that arrives and leaves in bands of rows.

    Memory holds one row of windows and its result, not the picture.

    Args:
        run: maps an HWC array, height and width multiples of ``multiple``,
            C-contiguous, to one of the same shape.
        bands: HWC arrays of ``width`` columns, any number of rows each, from
            top to bottom.
        height: rows of the whole picture.
        width: columns of the whole picture.
        multiple: block size of the network in pixels.
        halo: margin in pixels beyond which an input pixel cannot change an
            output pixel.
        tile: side of a window in pixels; a picture of at most ``tile`` squared
            pixels is not divided. None means :data:`TILE_PX`.
        placed: ``run`` is also told where its window begins, as a network must be that was told
            what lies where in the picture.

    Yields:
        Restored bands from top to bottom, ``height`` rows in total.

    Raises:
        ValueError: the bands hold fewer than ``height`` rows.
    """
    tile = TILE_PX if tile is None else tile
    full_height, full_width = _up(height, multiple), _up(width, multiple)
    if full_height * full_width <= tile * tile:
        tile = max(full_height, full_width)
    length, parts = windows(full_height, multiple=multiple, halo=halo, tile=tile)
    rows = Rows(bands)
    at = cast(PlacedRun, run) if placed else lambda window, *_: cast(Run, run)(window)
    for origin, start, stop in parts:
        band = rows.take(origin, min(origin + length, height))
        padded = pad_to_multiple(band, multiple)
        restored = _restore_row(at, padded, origin, multiple=multiple, halo=halo, tile=tile)
        yield restored[start - origin : min(stop, height) - origin, :width]


def restore_tiled(
    run: Run | PlacedRun,
    image: Pixels,
    *,
    multiple: int,
    halo: int,
    tile: int | None = None,
    placed: bool = False,
) -> Pixels:
    """Restore an HWC array of any size of at least 1x1 pixels.

    The result equals ``run`` on the whole padded picture, cropped. Arguments
    are those of :func:`restore_bands`.

    Returns:
        An array of the height and width of ``image`` and the dtype of ``run``'s result.

    Raises:
        ValueError: the array is empty.
    """
    height, width = image.shape[:2]
    if not height or not width:
        raise ValueError(f"a picture of {width}x{height} pixels holds nothing to restore")
    row = 0
    restored = image[:0]
    for band in restore_bands(
        run,
        [image],
        height=height,
        width=width,
        multiple=multiple,
        halo=halo,
        tile=tile,
        placed=placed,
    ):
        if len(band) == height:
            return band
        if row == 0:
            restored = np.empty((height, *band.shape[1:]), band.dtype)
        restored[row : row + len(band)] = band
        row += len(band)
    return restored
