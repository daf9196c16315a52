"""Means with their intervals, and tests between methods. Nothing leaves here without both.

The participant is the unit: ratings of one person are not independent, so they
are averaged per person first, and N is the number of people. All intervals are
of level 95% and speak for other people of the same kind, looking at these scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError, MissingExtraError

try:
    from scipy import special
except ImportError as error:
    raise MissingExtraError("scipy", "web") from error

__all__ = [
    "LEVEL",
    "Contrast",
    "Estimate",
    "contrast",
    "holm",
    "mean_interval",
    "quantile",
    "two_sided",
    "within_intervals",
]

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value that does not go without its interval and number of participants.

    Attributes:
        value: the estimate.
        low, high: ends of its 95% interval.
        n: participants behind it, at least 2.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Contrast:
    """Two conditions against each other.

    Attributes:
        first, second: names of the conditions.
        difference: first minus second, with its interval (not corrected).
        p: two-sided, of no difference.
        p_holm: the same after Holm's correction over all contrasts of the study.
    """

    first: str
    second: str
    difference: Estimate
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the difference is one at the 5% level, all comparisons considered."""
        return self.p_holm < 1 - LEVEL


def quantile(freedom: int) -> float:
    """Return t of Student's distribution for a two-sided interval of level 95%."""
    # scipy.special in place of scipy.stats: the same numbers, a hundred times faster.
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))


def mean_interval(values: Floats) -> Estimate:
    """Return ``mean +- t(N-1) s / sqrt(N)``, s with N-1 in its denominator (Student 1908).

    Args:
        values: one per participant; NaN for those who have none.

    Raises:
        InputError: fewer than two values: one opinion says nothing about others.
    """
    known = values[~np.isnan(values)]
    if known.size < 2:
        raise InputError(
            f"a mean opinion needs at least two participants, this one has {known.size}; "
            "analyse when more have taken part"
        )
    half = quantile(known.size - 1) * float(known.std(ddof=1)) / np.sqrt(known.size)
    mean = float(known.mean())
    return Estimate(mean, mean - half, mean + half, int(known.size))


def within_intervals(means: Floats) -> list[Estimate]:
    """Return per-condition means after removal of each participant's bias.

    ITU-T P.913 (06/2021) 12.4: the bias of a participant, their mean minus that of
    all, is subtracted. What remains has too small a variance, by (K-1)/K for K
    conditions; Morey 2008 ("Confidence intervals from normalized data") corrects it.
    Such intervals compare the conditions of one panel. They leave out how strict
    another panel would be on the whole.

    Args:
        means: (participants, conditions), one mean per participant and condition;
            participants who lack a condition are left out.
    """
    known = means[~np.isnan(means).any(axis=1)]
    conditions = means.shape[1]
    if conditions < 2:
        return [mean_interval(column) for column in known.T]
    centre = known.mean(axis=0)
    unbiased = known - known.mean(axis=1, keepdims=True) + known.mean()
    # Morey's factor belongs to the variance, so its root stretches the deviations.
    stretched = centre + (unbiased - centre) * np.sqrt(conditions / (conditions - 1))
    return [mean_interval(column) for column in stretched.T]


def contrast(first: str, second: str, a: Floats, b: Floats) -> Contrast:
    """Compare two conditions by Student's paired t-test over participants; p_holm is still p.

    Args:
        first, second: their names.
        a, b: (participants,), the mean rating of each participant; NaN where missing.
    """
    difference = mean_interval(a - b)
    if difference.half_width == 0:
        p = 1.0 if difference.value == 0 else 0.0
    else:
        t = difference.value / (difference.half_width / quantile(difference.n - 1))
        p = two_sided(t, difference.n - 1)
    return Contrast(first, second, difference, p, p)


def two_sided(t: float, freedom: int) -> float:
    """Return the probability of a Student's t at least as far from zero."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979, step-down Bonferroni)."""
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    corrected = [0.0] * len(order)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
