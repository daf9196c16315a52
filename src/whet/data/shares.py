"""Which source each place of a run takes, so that shares hold over every stretch of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["sources_of"]

GOLDEN = (5**0.5 - 1) / 2


def sources_of(shares: Sequence[float], first: int, count: int) -> NDArray[np.int64]:
    """Return the source (index into ``shares``) of the places ``first`` to ``first + count - 1``.

    The multiples of the golden ratio, modulo 1, are spread more evenly than those of any other
    number (Weyl's sequence with the slowest rational approximations): among any ``n`` places in a
    row, however they are cut into batches, a source with the share ``s`` has ``s n``, give or take
    a few. Rounding each batch by itself would never draw a source with a share of an eighth from
    batches of three, and drawing at random has rare sources come in bursts.

    Args:
        shares: at least 0, not all 0; they need not add up to 1.
    """
    edges = np.cumsum(np.asarray(shares, np.float64))
    at = (first + np.arange(count)) * GOLDEN % 1 * edges[-1]
    sources: NDArray[np.int64] = np.searchsorted(edges, at, "right").clip(max=len(edges) - 1)
    return sources
