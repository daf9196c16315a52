"""Crops degraded beforehand, resident on the training device.

Written by :mod:`whet.data.bank_files` where degrading (video codecs) or teaching (seconds per crop)
is too slow to do in every step. Held as uint8: 20,000 crops of 256 px are 8 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from whet.data.batch import Batch, Conditions, generator
from whet.data.crops import Pixels, Places
from whet.errors import DataError

__all__ = ["CropBank", "PairBank"]


class CropBank:
    """Crops degraded beforehand, with the teacher's output where there is one.

    Args:
        sharp, degraded: uint8, N of (3, H, W); sizes may differ between images.
        teacher: uint8, M of (3, H, W), the outputs for the images listed in ``taught``.
        taught: indices (M,) into the crops, ascending.
        device: where they live.
        conditions: what happened to the crops, where that is known.
    """

    def __init__(
        self,
        sharp: Sequence[Tensor] | Tensor,
        degraded: Sequence[Tensor] | Tensor,
        teacher: Sequence[Tensor] | Tensor | None = None,
        taught: Sequence[int] = (),
        device: torch.device | str = "cpu",
        conditions: Conditions | None = None,
    ) -> None:
        if not len(sharp):
            raise DataError("there is nothing to train on; name a folder of pairs or a bank")
        self._device = torch.device(device)
        self._conditions = conditions
        self._sharp = Pixels(sharp, device)
        self._degraded = Pixels(degraded, device)
        self._teacher = None if teacher is None else Pixels(teacher, device)
        self._teacher_row = np.full(len(sharp), -1)
        self._teacher_row[list(taught)] = np.arange(len(taught))

    def __len__(self) -> int:
        return len(self._teacher_row)

    @property
    def taught(self) -> bool:
        """Whether some of its crops come with a teacher's output."""
        return self._teacher is not None

    @property
    def taught_count(self) -> int:
        """How many crops have a teacher's output."""
        return int((self._teacher_row >= 0).sum())

    def batch(
        self, seed: int, step: int, size: int, crop: int, rank: int = 0, first: int | None = None
    ) -> Batch:
        """See :class:`Bank`. Epochs are permutations: every crop is drawn equally often."""
        place = step * size if first is None else first
        rows = np.array(_epoch_indices(seed, place, size, len(self), rank))
        places = self._places(rows, crop, generator(seed, step, rank + 1_000_003))
        degraded, sharp = (p.cut(rows, places, crop) for p in (self._degraded, self._sharp))
        conditions = self._told(rows)
        if self._teacher is None:
            return Batch(degraded, sharp, conditions=conditions)
        teacher_rows = self._teacher_row[rows]
        taught = np.flatnonzero(teacher_rows >= 0)
        outputs = self._teacher.cut(teacher_rows[taught], places.only(taught), crop)
        where = torch.from_numpy(taught).to(sharp.device)
        teacher = sharp.index_copy(0, where, outputs)
        has = torch.from_numpy(teacher_rows >= 0).to(sharp.device)
        return Batch(degraded, sharp, teacher, has, conditions)

    def _told(self, rows: np.ndarray) -> Conditions | None:
        if self._conditions is None:
            return None
        chosen = torch.from_numpy(rows)
        kinds, measures = self._conditions.kinds[chosen], self._conditions.measures[chosen]
        return Conditions(kinds, measures).to(self._device)

    def _places(self, rows: np.ndarray, crop: int, rng: np.random.Generator) -> Places:
        height, width = self._sharp.heights[rows], self._sharp.widths[rows]
        if crop > min(height.min(), width.min()):
            small = int(np.argmin(np.minimum(height, width)))
            raise DataError(
                f"crops of {crop} px cannot be cut from {width[small]} x {height[small]} px; "
                "use --set crop=.. or a bank of larger crops"
            )
        top, left = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
        mirrored, upside_down, turned = rng.integers(2, size=(3, len(rows))).astype(bool)
        # Three colours are one picture, whichever is called red.
        colours = rng.permuted(np.tile(np.arange(3), (len(rows), 1)), axis=1)
        return Places(top, left, mirrored, upside_down, turned, colours)


def _epoch_indices(seed: int, first: int, size: int, count: int, rank: int) -> list[int]:
    """Return ``size`` indices from place ``first`` of an endless run of permutations."""
    indices: list[int] = []
    for position in range(first, first + size):
        epoch, offset = divmod(position, count)
        if not indices or offset == 0:
            order = generator(seed, epoch, 7919 + rank).permutation(count)
        indices.append(int(order[offset]))
    return indices


class PairBank(CropBank):
    """Whole (resized) pairs, one batch element each: what the founding run trained on."""

    def _places(self, rows: np.ndarray, crop: int, rng: np.random.Generator) -> Places:  # noqa: ARG002
        sides = (*self._sharp.heights[rows], *self._sharp.widths[rows])
        if any(side != crop for side in sides):
            raise DataError("pairs that were resized beforehand are used whole")
        nowhere = np.zeros(len(rows), np.int64)
        never = nowhere.astype(bool)
        colours = np.tile(np.arange(3), (len(rows), 1))
        return Places(nowhere, nowhere, never, never, never, colours)
