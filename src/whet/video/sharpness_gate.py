"""Frames that are sharp already pass as they are: a measure of sharpness, and a gate that is slow.

The measure compares how much neighbouring pixels differ with how much pixels four apart
differ. Blur takes from the first and leaves the second. It is taken in four directions and the
smallest counts, as motion blurs along one direction only; what the flattest tiles differ by is
noise and is taken off both sums. 64 small tiles are looked at, in luma, as video's colours are
soft by half its resolution anyway.

The gate errs towards restoring: it starts closed, it opens after :data:`PATIENCE` sharp frames on
end, closes at the first soft one, and between opening and closing lies a gap. Restoration fades
in and out, so that neither shows as a jump. The thresholds come from pictures; the script that
measures them and what it found are named in ``docs/video.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whet.image import Pixels

__all__ = ["CLOSE", "FADE", "OPEN", "PATIENCE", "Gate", "sharpness"]

OPEN, CLOSE = 0.24, 0.20
"""At or above the first a frame counts as sharp, below the second as soft; see docs/video.md."""

PATIENCE = 12
"""Sharp frames on end before the gate opens: half a second."""

FADE = 8
"""Frames over which restoration fades in or out."""

_GRID, _MOST_PX, _LEAST_PX = 8, 64, 16
_NEAR, _FAR = 1, 4
_FLATTEST = 5  # percentile of the tiles that shows the noise
_LUMA = np.array([0.25, 0.5, 0.25], np.float32)
_CONTENT = 4.0  # squared levels of 255: less, and the frame is too flat to tell

Tiles = NDArray[np.float32]


def sharpness(pixels: Pixels) -> float | None:
    """Return how sharp a frame is: 0.05 to 0.17 when soft, mostly above 0.2 when sharp.

    Args:
        pixels: (H, W, 3) uint8 or uint16, or (H, W) uint8 luma.

    Returns:
        Mean squared difference of pixels 1 apart over that of pixels 4 apart, noise taken off
        both, in the direction in which it is least; None for a frame too flat or too small.
    """
    tiles = _tiles(pixels)
    if tiles is None:
        return None
    near, far = _energies(tiles, _NEAR), _energies(tiles, _FAR)
    noise = float(np.percentile(near.mean(axis=0), _FLATTEST))
    near, far = (np.maximum(energy - noise, 0).mean(axis=1) for energy in (near, far))
    if far.min() < _CONTENT:
        return None
    return float((near / far).min())


def _tiles(pixels: Pixels) -> Tiles | None:
    """Return (N, S, S) tiles of luma in levels of 255, spread over the frame."""
    height, width = pixels.shape[:2]
    side = min(_MOST_PX, max(_LEAST_PX, min(height, width) // (2 * _GRID)))
    rows, columns = (min(_GRID, length // side) for length in (height, width))
    if not rows or not columns:
        return None
    tops = np.linspace(0, height - side, rows).astype(int)
    lefts = np.linspace(0, width - side, columns).astype(int)
    tiles = np.stack([pixels[y : y + side, x : x + side] for y in tops for x in lefts])
    if tiles.ndim == 3:
        return tiles.astype(np.float32)
    luma: Tiles = tiles.astype(np.float32) @ _LUMA
    return luma if pixels.dtype == np.uint8 else luma / np.float32(257)


def _energies(tiles: Tiles, step: int) -> NDArray[np.float64]:
    """Return mean squared differences, (4 directions, N tiles)."""
    corner, across = tiles[:, :-step, :-step], tiles[:, :-step, step:]
    below, opposite = tiles[:, step:, :-step], tiles[:, step:, step:]
    pairs = ((across, corner), (below, corner), (opposite, corner), (below, across))
    energies = []
    for one, other in pairs:
        difference = (one - other).reshape(len(tiles), -1)
        energies.append(np.einsum("ij,ij->i", difference, difference) / difference.shape[1])
    return np.asarray(energies, np.float64)


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
