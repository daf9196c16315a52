"""Intervals count scenes, and cover the truth as often as they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from whet.errors import InputError
from whet.intervals import FEW_SCENES, interval, paired_interval, student_quantile

Drawn = tuple[NDArray[np.float64], list[int] | None]


def normal(count: int) -> Callable[[Generator], Drawn]:
    return lambda rng: (rng.normal(1, 0.5, count), None)


def skewed(count: int) -> Callable[[Generator], Drawn]:
    return lambda rng: (rng.gamma(4, 0.25, count), None)


def frames(scenes: int, least: int, most: int) -> Callable[[Generator], Drawn]:
    """Draw scores of which those of one scene are alike."""

    def draw(rng: Generator) -> Drawn:
        counts = rng.integers(least, most + 1, scenes)
        means = rng.normal(1, 0.5, scenes)
        values = [mean + rng.normal(0, 0.2, n) for mean, n in zip(means, counts, strict=True)]
        return np.concatenate(values), np.repeat(np.arange(scenes), counts).tolist()

    return draw


@pytest.mark.parametrize(
    "draw",
    [
        normal(8),
        skewed(8),
        normal(30),
        skewed(40),
        frames(11, 100, 100),
        frames(11, 20, 150),
        frames(40, 10, 10),
    ],
    ids=["8", "8 skewed", "30", "40 skewed", "11 x 100", "11 uneven", "40 x 10"],
)
def test_95_percent_intervals_cover_the_truth_93_to_97_times_of_100(
    draw: Callable[[Generator], Drawn],
) -> None:
    hits, runs = 0, 600
    for seed in range(runs):
        low, high = interval(*draw(np.random.default_rng(seed)), resamples=400)
        hits += low <= 1 <= high
    assert 0.93 <= hits / runs <= 0.97


def test_frames_taken_for_scenes_would_cover_far_too_seldom() -> None:
    draw, hits = frames(11, 100, 100), 0
    for seed in range(30):
        values, _ = draw(np.random.default_rng(seed))
        low, high = interval(values, resamples=100)
        hits += low <= 1 <= high
    assert hits < 12


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 28, 29, 99])
def test_students_quantiles_are_scipys(freedom: int) -> None:
    for probability in (0.6, 0.9, 0.975, 0.995):
        expected = stats.t.ppf(probability, freedom)
        assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9)


def test_few_pictures_have_students_interval() -> None:
    values = np.random.default_rng(5).normal(30, 2, 9)
    expected = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert interval(values) == pytest.approx(expected, rel=1e-9)


def test_equal_scenes_count_once_each() -> None:
    means = np.random.default_rng(6).normal(1, 0.5, 6)
    scenes = [scene for scene in "abcdef" for _ in range(20)]
    assert interval(np.repeat(means, 20), scenes) == pytest.approx(interval(means))
    assert interval(np.repeat(means, 20))[1] < interval(means)[1]


def test_the_bootstrap_is_seeded() -> None:
    values = np.random.default_rng(1).normal(30, 2, FEW_SCENES)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)
    assert interval(values[:-1], seed=1) == interval(values[:-1])


def test_many_normal_scores_have_the_normal_interval() -> None:
    values = np.random.default_rng(2).normal(30, 2, 400)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


@pytest.mark.parametrize(("values", "scenes"), [([27.5], None), ([27.5, 28, 30], ["a"] * 3)])
def test_one_scene_says_nothing(values: list[float], scenes: list[str] | None) -> None:
    assert all(math.isnan(bound) for bound in interval(values, scenes))


@pytest.mark.parametrize("values", [[], [math.inf, 30.0], [math.nan]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="finite scores"):
        interval(values)


def test_a_level_of_one_and_missing_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        interval([1.0, 2.0], level=1.0)
    with pytest.raises(InputError, match="2 scores need as many scenes, not 1"):
        interval([1.0, 2.0], ["a"])


def test_pairing_sees_a_small_gain_that_unpaired_intervals_hide() -> None:
    generator = np.random.default_rng(4)
    before = generator.normal(28, 4, 30)
    after = before + generator.normal(0.3, 0.1, 30)
    low, high = paired_interval(after.tolist(), before.tolist())
    assert 0.2 < low < 0.3 < high < 0.4
    assert interval(after)[0] < interval(before)[1]


def test_pairs_of_different_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="2 against 1"):
        paired_interval([1.0, 2.0], [1.0])
