"""How sure a mean is: intervals over scenes, since pictures of one scene are alike.

Eleven scenes of a hundred frames are eleven observations, not eleven hundred. What is drawn
again, or counted as a degree of freedom, is therefore the scene.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError

__all__ = ["FEW_SCENES", "interval", "paired_interval"]

FEW_SCENES = 30
"""Below it the bootstrap draws too few different means, and Student's t is used in its place."""


def interval(
    values: Sequence[float] | NDArray[np.float64],
    scenes: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return an interval of the mean over pictures that counts scenes.

    From :data:`FEW_SCENES` scenes on, the bootstrap over scenes (Davison and Hinkley 1997, section
    3.8) with percentiles expanded for a finite sample (Hesterberg 2015). Below, the mean plus and
    minus Student's t of scenes - 1 degrees of freedom times the linearised standard error of a
    mean of clusters (Cochran 1977, section 9A).

    Args:
        values: one finite score per picture.
        scenes: which scene each belongs to; None takes every picture for a scene.
        level: coverage in (0, 1).
        resamples: how many means the bootstrap draws.
        seed: the same seed and values give the same interval.

    Returns:
        (low, high). (nan, nan) for a single scene, which says nothing about the spread.

    Raises:
        InputError: no values, a value that is not finite, as many scenes as there are not
            values, or a level outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise InputError("an interval needs a list of finite scores; remove identical pictures")
    if not 0 < level < 1:
        raise InputError(f"the level of an interval lies between 0 and 1, not at {level}")
    if scenes is not None and len(scenes) != sample.size:
        raise InputError(f"{sample.size} scores need as many scenes, not {len(scenes)}")
    totals, counts = _by_scene(sample, scenes)
    if totals.size == 1:
        return math.nan, math.nan
    if totals.size < FEW_SCENES:
        return _student(totals, counts, level)
    return _bootstrap(totals, counts, level, resamples, seed)


def paired_interval(
    candidate: Sequence[float],
    reference: Sequence[float],
    scenes: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean of ``candidate - reference``, picture by picture.

    Pairing removes the spread between easy and hard pictures, so that a small
    but steady gain shows. Arguments, result and errors as :func:`interval`;
    InputError also when the lengths differ.
    """
    if len(candidate) != len(reference):
        raise InputError(
            f"paired scores need the same pictures: {len(candidate)} against {len(reference)}"
        )
    return interval(np.subtract(candidate, reference), scenes, level)


def _by_scene(
    sample: NDArray[np.float64], scenes: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of the scores and the number of pictures of each scene."""
    if scenes is None:
        return sample, np.ones_like(sample)
    places = {scene: index for index, scene in enumerate(dict.fromkeys(scenes))}
    index = [places[scene] for scene in scenes]
    totals = np.bincount(index, weights=sample).astype(np.float64)
    return totals, np.bincount(index).astype(np.float64)


def _bootstrap(
    totals: NDArray[np.float64],
    counts: NDArray[np.float64],
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    # Drawing how often each scene occurs, not which, keeps memory at resamples x scenes
    # once and turns the means into two matrix products.
    shares = np.full(totals.size, 1 / totals.size)
    drawn = generator.multinomial(totals.size, shares, size=resamples)
    means = drawn @ totals / (drawn @ counts)
    # Plain percentiles are as narrow as a normal interval with the spread divided by n.
    reach = student_quantile((1 + level) / 2, totals.size - 1)
    tail = (1 + math.erf(-reach * math.sqrt(totals.size / (totals.size - 1) / 2))) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _student(
    totals: NDArray[np.float64], counts: NDArray[np.float64], level: float
) -> tuple[float, float]:
    scenes = totals.size
    mean = float(totals.sum() / counts.sum())
    rest = totals - mean * counts
    error = math.sqrt(scenes / (scenes - 1) * float(rest @ rest)) / float(counts.sum())
    reach = student_quantile((1 + level) / 2, scenes - 1) * error
    return mean - reach, mean + reach


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile, for a probability above one half, of Student's t distribution.

    By bisection of the distribution function, a finite sum for whole degrees of freedom
    (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # of the angle whose tangent is t / sqrt(freedom)
        angle = (low + high) / 2
        low, high = (angle, high) if _student_cdf(angle, freedom) < probability else (low, angle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _student_cdf(angle: float, freedom: int) -> float:
    """Return P(T < sqrt(freedom) tan(angle)) for an angle in [0, pi / 2)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    term, total = (cosine, 0.0) if odd else (1.0, 1.0)
    first = 1 if odd else 2
    for k in range(first, freedom, 2):
        if k == 1:
            total += term
            continue
        term *= cosine**2 * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2
