"""Scores by maximum likelihood: a rater model for categories, Bradley-Terry for pairs.

Why not Netflix's ``sureal``, which holds the same rater model? It installs, but it
brings pandas and a packaging tool (``setupmeta``) into every user's environment,
reads its input from Python files, and prints while it works, for an iteration of
ten lines. A test compares both where sureal is installed: they agree to 1e-6
unless somebody's inconsistency falls below :data:`FLOOR`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError

__all__ = ["FLOOR", "RaterModel", "Strengths", "bradley_terry", "fit_raters"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FLOOR = 1 / np.sqrt(12)
"""Least inconsistency. Rounding to whole points alone leaves this standard deviation;
without a floor one rater who happens to fit the model exactly gets all the weight."""
_CHANGE = 1e-9
_ITERATIONS = 1000
_PRIOR_WINS = 0.5
"""Wins added to each side of every pair of conditions, so that one that always wins keeps a
finite strength; half a choice, as in Haldane's correction of odds (1956)."""


@dataclass(frozen=True)
class RaterModel:
    """A fit of ``rating = quality[item] + bias[rater] + N(0, inconsistency[rater]^2)``.

    Attributes:
        quality: (items,).
        error: (items,), standard error of the quality given this panel.
        bias: (raters,), mean 0.
        inconsistency: (raters,), standard deviations, at least :data:`FLOOR`.
        iterations: how many it took.
    """

    quality: Floats
    error: Floats
    bias: Floats
    inconsistency: Floats
    iterations: int


def fit_raters(scores: Floats) -> RaterModel:
    """Fit subject bias and inconsistency by alternating projection.

    The model of Li and Bampis 2017 ("Recover subjective quality scores from noisy
    measurements") without its content term, as Li et al. 2020 ("A simple model for
    subject behavior in subjective experiments") simplified it and ITU-T P.910
    Annex E and P.913 (06/2021) 12.6 adopted it. Careless raters get large
    inconsistencies and thus little weight, without a threshold.

    ``error`` is the square root of the inverse Fisher information,
    ``1 / sqrt(sum over raters of 1 / inconsistency^2)``. It does not contain how
    strict another panel would be.

    Args:
        scores: (raters, items), NaN where a rater did not see an item. Every rater
            and every item needs at least one rating.
    """
    seen = ~np.isnan(scores)
    if not (seen.any(axis=0).all() and seen.any(axis=1).all()):
        raise InputError("every item and every rater needs a rating; leave out those without")
    quality = np.nanmean(scores, axis=0)
    bias = np.nanmean(scores - quality, axis=1)
    for iteration in range(1, _ITERATIONS + 1):  # noqa: B007
        residual = scores - quality - bias[:, None]
        inconsistency = np.maximum(np.nanstd(residual, axis=1), FLOOR)
        weight = seen / inconsistency[:, None] ** 2
        before = quality
        centred = np.where(seen, scores - bias[:, None], 0)
        quality = (weight * centred).sum(axis=0) / weight.sum(axis=0)
        bias = np.nanmean(scores - quality, axis=1)
        if np.linalg.norm(quality - before) < _CHANGE:
            break
    shift = bias.mean()
    error = 1 / np.sqrt(weight.sum(axis=0))
    return RaterModel(quality + shift, error, bias - shift, inconsistency, iteration)


@dataclass(frozen=True)
class Strengths:
    """A Bradley-Terry fit.

    Attributes:
        strength: (conditions,) log-odds, mean 0: the first is preferred over the
            second with probability ``1 / (1 + exp(-(strength[0] - strength[1])))``.
        covariance: (conditions, conditions), robust against the choices of one rater
            being alike.
        raters: how many took part.
    """

    strength: Floats
    covariance: Floats
    raters: int


def bradley_terry(choices: Sequence[tuple[int, int, int]], conditions: int) -> Strengths:
    """Fit Bradley and Terry 1952 by Newton's method, with half a win as prior.

    The covariance is the sandwich ``H^-1 (sum over raters of g g') H^-1 G/(G-1)`` (Liang
    and Zeger 1986), where g is the score of one of G raters: people differ in taste, and
    the textbook's H^-1 would take each of their choices for a new person's.

    Args:
        choices: (rater, winner, loser), raters being any integers.
        conditions: how many conditions there are; all must be compared.

    Raises:
        InputError: fewer than two raters, or a condition was never compared.
    """
    table = np.asarray(choices, dtype=np.int64).reshape(-1, 3)
    raters = np.unique(table[:, 0])
    if len(raters) < 2 or len(np.unique(table[:, 1:])) < conditions:
        raise InputError(
            "strengths need choices of at least two participants about every condition; "
            "analyse when more have taken part"
        )
    wins = np.zeros((conditions, conditions))
    np.add.at(wins, (table[:, 1], table[:, 2]), 1)
    met = (wins + wins.T) > 0
    wins = wins + _PRIOR_WINS * met
    strength = np.zeros(conditions)
    for _ in range(_ITERATIONS):
        share = _logistic(strength[:, None] - strength)
        gradient = (wins - (wins + wins.T) * share).sum(axis=1)
        step = np.linalg.pinv(_information(wins, share), hermitian=True) @ gradient
        # Steps beyond 2 log-odds overshoot where one side has almost all wins.
        strength = strength + step * min(1, 2 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < _CHANGE:
            break
    share = _logistic(strength[:, None] - strength)
    bread = np.linalg.pinv(_information(wins, share), hermitian=True)
    meat = _meat(table, raters, share)
    return Strengths(strength - strength.mean(), bread @ meat @ bread, len(raters))


def _logistic(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)


def _information(wins: Floats, share: Floats) -> Floats:
    """Return minus the Hessian of the log-likelihood, (conditions, conditions)."""
    weight = (wins + wins.T) * share * (1 - share)
    np.fill_diagonal(weight, 0)
    return np.asarray(np.diag(weight.sum(axis=1)) - weight, dtype=np.float64)


def _meat(table: Integers, raters: Integers, share: Floats) -> Floats:
    scores = np.zeros((len(raters), len(share)))
    who = np.searchsorted(raters, table[:, 0])
    surprise = 1 - share[table[:, 1], table[:, 2]]
    np.add.at(scores, (who, table[:, 1]), surprise)
    np.add.at(scores, (who, table[:, 2]), -surprise)
    count = len(raters)
    return np.asarray(scores.T @ scores * count / (count - 1), dtype=np.float64)
