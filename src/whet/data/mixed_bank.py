"""Several banks as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.data.batch import Bank, Batch, joined
from whet.data.shares import sources_of

__all__ = ["MixedBank"]


class MixedBank:
    """Several banks as one; shares hold over steps, whatever the size of a batch.

    Args:
        banks: the banks with their shares, above 0; they need not add up to 1.
    """

    def __init__(self, banks: Sequence[tuple[Bank, float]]) -> None:
        self._banks = [bank for bank, _ in banks]
        self._shares = [share for _, share in banks]

    @property
    def taught(self) -> bool:
        """Whether some of its crops come with a teacher's output."""
        return any(bank.taught for bank in self._banks)

    def batch(
        self, seed: int, step: int, size: int, crop: int, rank: int = 0, first: int | None = None
    ) -> Batch:
        """See :class:`Bank`. The images of one source stand together."""
        place = step * size if first is None else first
        counts = np.bincount(sources_of(self._shares, place, size), minlength=len(self._banks))
        parts = []
        for i, (bank, share) in enumerate(zip(self._banks, self._shares, strict=True)):
            if counts[i]:
                before = round(share / sum(self._shares) * place)
                count = int(counts[i])
                parts.append(bank.batch(seed + 104_729 * i, step, count, crop, rank, before))
        # A small batch may hold none of the crops that are taught, and is no other kind for it.
        return joined(parts, taught=self.taught)
