"""Which pictures are worth looking at, and which part of them.

Scores hide what people see. A gallery keeps, of any number of pictures and in
bounded memory, those with the smallest and the largest gain and some drawn by
lot, so that a report shows failures as readily as successes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.data.scenes import stable_hash
from whet.evaluate.suites.opening import Item

__all__ = ["CROP_HEIGHT", "CROP_WIDTH", "Gallery", "Triplet", "most_degraded"]

Pixels = NDArray[np.uint8]

CROP_WIDTH, CROP_HEIGHT = 480, 360
_STRIDE = 8  # corners of candidate crops lie on this grid


@dataclass(frozen=True)
class Triplet:
    """The same crop of one picture: degraded, restored by each restorer, sharp.

    Attributes:
        picture: name within the suite.
        lead: the restorer whose gain decided.
        why: "smallest gain", "largest gain" or "drawn by lot".
        gain_db: its PSNR gain over the whole picture.
        left, top: corner of the crop in pixels.
        degraded, sharp: uint8 HWC RGB.
        restored: restorer -> uint8 HWC RGB, without identity.
    """

    picture: str
    lead: str
    why: str
    gain_db: float
    left: int
    top: int
    degraded: Pixels
    sharp: Pixels
    restored: Mapping[str, Pixels]


class Gallery:
    """Keeps up to ``size`` triplets of the pictures offered to it.

    A third each goes to the smallest gains, to the lot, and to the largest
    gains; remainders in this order, so that failures come first.

    Args:
        size: how many to keep.
        lead: the restorer whose gains decide.
    """

    def __init__(self, size: int, lead: str) -> None:
        self._lead = lead
        quota = {
            "smallest gain": (size + 2) // 3,
            "drawn by lot": (size + 1) // 3,
            "largest gain": size // 3,
        }
        self._size = size
        self._quota = {why: count for why, count in quota.items() if count}
        self._kept: dict[str, list[tuple[float, Triplet]]] = {why: [] for why in self._quota}

    def offer(self, item: Item, restored: Mapping[str, Pixels], gain_db: float) -> None:
        """Consider one picture; only what is kept is copied."""
        ranks = {
            "smallest gain": gain_db,
            "drawn by lot": stable_hash(f"lot {item.name}") / 2**64,
            "largest gain": -gain_db,
        }
        for why, kept in self._kept.items():
            # A picture can be chosen for several reasons; spares then take its other places.
            if len(kept) < self._size or ranks[why] < kept[-1][0]:
                kept.append((ranks[why], _cut(item, restored, self._lead, why, gain_db)))
                kept.sort(key=lambda entry: entry[0])
                del kept[self._size :]

    def triplets(self) -> tuple[Triplet, ...]:
        """Return what was kept, every picture once."""
        chosen: dict[str, Triplet] = {}
        for why, quota in self._quota.items():
            fresh = [t for _, t in self._kept[why] if t.picture not in chosen]
            chosen.update({triplet.picture: triplet for triplet in fresh[:quota]})
        return tuple(chosen.values())


def most_degraded(
    degraded: Pixels, sharp: Pixels, width: int = CROP_WIDTH, height: int = CROP_HEIGHT
) -> tuple[int, int]:
    """Return (left, top) of the crop with the largest squared error.

    Where the two pictures are identical, the crop with the most detail.

    Args:
        degraded: uint8 HWC.
        sharp: uint8 HWC of the same shape.
        width: of the crop; the picture's where that is smaller.
        height: likewise.
    """
    error = np.square(degraded.astype(np.float64) - sharp).sum(2)
    if not error.any():
        rows, columns = np.gradient(sharp.astype(np.float64).sum(2))
        error = rows**2 + columns**2
    width, height = min(width, error.shape[1]), min(height, error.shape[0])
    sums = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    inside = (inside + sums[:-height, :-width])[::_STRIDE, ::_STRIDE]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(left) * _STRIDE, int(top) * _STRIDE


def _cut(
    item: Item, restored: Mapping[str, Pixels], lead: str, why: str, gain_db: float
) -> Triplet:
    left, top = most_degraded(item.degraded, item.sharp)
    box = (slice(top, top + CROP_HEIGHT), slice(left, left + CROP_WIDTH))
    return Triplet(
        picture=item.name,
        lead=lead,
        why=why,
        gain_db=gain_db,
        left=left,
        top=top,
        degraded=item.degraded[box].copy(),
        sharp=item.sharp[box].copy(),
        restored={name: p[box].copy() for name, p in restored.items() if name != "identity"},
    )
