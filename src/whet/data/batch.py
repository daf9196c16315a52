"""A training step's images, and what offers them.

A batch is a pure function of (seed, step, rank): no iterator has a state, so a
resumed run draws the very batches that an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from whet.conditions import KINDS, MEASURES, Condition, scaled

__all__ = ["UNTOLD", "Bank", "Batch", "Conditions", "generator", "joined", "told"]

UNTOLD = -1
"""The kind of an image of which nothing is known."""


@dataclass(frozen=True)
class Conditions:
    """What happened to the images of a batch.

    Attributes:
        kinds: int64 (N,), indices into ``whet.conditions.KINDS`` or :data:`UNTOLD`.
        measures: float32 (N, 4), scaled to [0, 1] by ``whet.conditions.scaled``, NaN where unknown.
    """

    kinds: Tensor
    measures: Tensor

    def to(self, device: torch.device) -> Conditions:
        """Return them on ``device``."""
        return Conditions(self.kinds.to(device), self.measures.to(device))


def told(conditions: Sequence[Condition]) -> Conditions:
    """Return conditions as networks are taught them."""
    kinds = torch.tensor([KINDS.index(c.kind) for c in conditions], dtype=torch.int64)
    measures = np.array([c.measures for c in conditions]).reshape(-1, len(MEASURES))
    return Conditions(kinds, torch.from_numpy(scaled(measures)))


@dataclass(frozen=True)
class Batch:
    """One step's images, float32 NCHW RGB in [0, 1] on the training device.

    Attributes:
        teacher: the teacher's output, or None when it has to be computed.
        taught: bool (N,): for which images ``teacher`` is one; None with ``teacher``.
        conditions: what happened to the images, or None where none tells.
    """

    degraded: Tensor
    sharp: Tensor
    teacher: Tensor | None = None
    taught: Tensor | None = None
    conditions: Conditions | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``, its images channels-last, as convolutions like them."""

        def move(image: Tensor) -> Tensor:
            return image.to(device, memory_format=torch.channels_last)

        return Batch(
            move(self.degraded),
            move(self.sharp),
            None if self.teacher is None else move(self.teacher),
            None if self.taught is None else self.taught.to(device),
            None if self.conditions is None else self.conditions.to(device),
        )


def joined(parts: Sequence[Batch], *, taught: bool = False) -> Batch:
    """Return several batches as one; what a part lacks counts as untaught and untold.

    Args:
        taught: say so of all images even where none of them has a teacher's output.
    """
    degraded = torch.cat([p.degraded for p in parts])
    sharp = torch.cat([p.sharp for p in parts])
    teacher = which = conditions = None
    if taught or any(p.teacher is not None for p in parts):
        teacher = torch.cat([p.sharp if p.teacher is None else p.teacher for p in parts])
        which = torch.cat([_none_taught(p) if p.taught is None else p.taught for p in parts])
    if any(p.conditions is not None for p in parts):
        all_told = [p.conditions or _nothing_told(p) for p in parts]
        conditions = Conditions(
            torch.cat([c.kinds for c in all_told]), torch.cat([c.measures for c in all_told])
        )
    return Batch(degraded, sharp, teacher, which, conditions)


def _none_taught(batch: Batch) -> Tensor:
    return torch.zeros(len(batch.sharp), dtype=torch.bool, device=batch.sharp.device)


def _nothing_told(batch: Batch) -> Conditions:
    count, device = len(batch.sharp), batch.sharp.device
    return Conditions(
        torch.full((count,), UNTOLD, device=device),
        torch.full((count, len(MEASURES)), torch.nan, device=device),
    )


class Bank(Protocol):
    """A source of batches."""

    @property
    def taught(self) -> bool:
        """Whether some of its crops come with a teacher's output."""
        ...

    def batch(
        self, seed: int, step: int, size: int, crop: int, rank: int = 0, first: int | None = None
    ) -> Batch:
        """Return ``size`` crops of ``crop x crop`` pixels; the same arguments, the same crops.

        Args:
            first: how many crops this source has given before; None is ``step * size``.
        """
        ...


def generator(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Return the random generator that belongs to one step of one process."""
    return np.random.default_rng((seed, step, rank))
