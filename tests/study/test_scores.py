"""Formulas: against values worked out by hand, plain loops, SciPy's tests, and sureal."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from plans import plan
from scipy import stats

from whet.errors import InputError
from whet.study.design import Rating
from whet.study.statistics import screening
from whet.study.statistics.inference import contrast, holm, mean_interval, within_intervals
from whet.study.statistics.scores import FLOOR, bradley_terry, fit_raters

RNG = np.random.default_rng(7)


def panel(raters: int = 24, items: int = 40, missing: float = 0.0) -> np.ndarray:
    truth = RNG.uniform(1.5, 4.5, items)
    bias = RNG.normal(0, 0.3, (raters, 1))
    noise = RNG.normal(size=(raters, items)) * RNG.uniform(0.5, 1.3, (raters, 1))
    scores = np.clip(np.round(truth + bias + noise), 1, 5)
    scores[RNG.random(scores.shape) < missing] = np.nan
    return scores


def test_mean_interval_is_students() -> None:
    values = np.array([3.0, 4.0, 4.5, 2.0, np.nan, 3.5])
    known = values[~np.isnan(values)]
    low, high = stats.t.interval(0.95, 4, known.mean(), stats.sem(known))
    estimate = mean_interval(values)
    assert estimate.n == 5
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3.4, low, high))


def test_no_mean_goes_without_an_interval() -> None:
    with pytest.raises(InputError, match="at least two participants"):
        mean_interval(np.array([4.0, np.nan]))


def test_bias_removal_leaves_means_and_takes_strictness_out_of_intervals() -> None:
    means = np.array([[1.0, 2.0, 3.0], [2.1, 3.0, 3.9], [3.0, 4.2, 5.0]])
    estimates = within_intervals(means)
    assert [e.value for e in estimates] == pytest.approx(means.mean(axis=0))
    # By hand, column 0: deviations from row means + grand mean, stretched by sqrt(3/2).
    own = means[:, 0] - means.mean(axis=1)
    half = stats.t.ppf(0.975, 2) * own.std(ddof=1) * np.sqrt(3 / 2) / np.sqrt(3)
    assert estimates[0].half_width == pytest.approx(half)
    assert estimates[0].half_width < mean_interval(means[:, 0]).half_width / 4


def test_bias_removed_intervals_cover_within_panel_means() -> None:
    # The truth within a panel: condition means plus this panel's own mean bias.
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        bias = rng.normal(0, 1, (12, 1))
        estimate = within_intervals(np.array([1, 2, 3]) + bias + rng.normal(0, 0.5, (12, 3)))[0]
        hits += estimate.low <= 1 + bias.mean() <= estimate.high
    # The mean over conditions wobbles too, which the interval leaves out: a little above 95%.
    assert 0.93 <= hits / 400 <= 1


def test_contrast_is_the_paired_t_test() -> None:
    a, b = RNG.normal(3, 1, 15), RNG.normal(3.4, 1, 15)
    found = contrast("a", "b", a, b)
    expected = stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_rater_model_stands_where_the_likelihood_is_level() -> None:
    scores = panel(10, 30)
    fit = fit_raters(scores)
    assert fit.inconsistency.min() > FLOOR

    def cost(x: np.ndarray) -> float:
        quality, bias, spread = x[:30], x[30:40], np.exp(x[40:])
        z = (scores - quality - bias[:, None]) / spread[:, None]
        return float(np.sum(z**2 / 2 + np.log(spread)[:, None]))

    found = np.concatenate([fit.quality, fit.bias, np.log(fit.inconsistency)])
    step = 1e-5
    slopes = [
        (cost(found + step * unit) - cost(found - step * unit)) / (2 * step) for unit in np.eye(50)
    ]
    assert np.abs(slopes).max() < 1e-4
    assert fit.bias.mean() == pytest.approx(0, abs=1e-12)


def test_rater_model_forgives_careless_raters() -> None:
    truth = np.linspace(1.5, 4.5, 40)
    scores = np.clip(np.round(truth + RNG.normal(0, 0.6, (24, 40))), 1, 5)
    scores[:8] = RNG.integers(1, 6, (8, 40))
    fit = fit_raters(scores)
    assert fit.inconsistency[:8].min() > fit.inconsistency[8:].max()

    def miss(estimate: np.ndarray) -> float:
        return float(np.std(estimate - truth))

    assert miss(fit.quality) < 0.5 * miss(scores.mean(axis=0))


def test_one_rater_who_fits_exactly_does_not_rule() -> None:
    scores = panel(6, 10)
    scores[0] = 3
    scores[:, :] = np.where(RNG.random(scores.shape) < 0.5, 3, scores)
    fit = fit_raters(scores)
    assert fit.inconsistency.min() >= FLOOR
    assert np.isfinite(fit.quality).all()


def test_rater_model_agrees_with_sureal() -> None:
    models = pytest.importorskip("sureal.subjective_model")
    from sureal.dataset_reader import RawDatasetReader

    for missing in (0.0, 0.3):
        scores = panel(missing=missing)
        videos = [
            {"content_id": 0, "asset_id": j, "os": list(column), "path": str(j)}
            for j, column in enumerate(scores.T)
        ]
        data = SimpleNamespace(
            dataset_name="x",
            ref_videos=[{"content_id": 0, "content_name": "x", "path": "x"}],
            dis_videos=videos,
        )
        name = "MaximumLikelihoodEstimationModelContentObliviousAlternativeProjection"
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = getattr(models, name)(RawDatasetReader(data)).run_modeling()
        ours = fit_raters(scores)
        assert ours.inconsistency.min() > FLOOR
        np.testing.assert_allclose(ours.quality, theirs["quality_scores"], atol=1e-6)
        np.testing.assert_allclose(ours.bias, theirs["observer_bias"], atol=1e-6)
        np.testing.assert_allclose(ours.error, theirs["quality_scores_std"], atol=1e-6)


def test_two_conditions_have_the_log_odds_of_their_wins() -> None:
    choices = [(rater, 0, 1) for rater in range(9)] + [(rater, 1, 0) for rater in range(3)]
    fit = bradley_terry(choices, 2)
    # Half a win each way: log((9 + .5) / (3 + .5)).
    assert fit.strength[0] - fit.strength[1] == pytest.approx(np.log(9.5 / 3.5))


def test_strengths_are_recovered_with_honest_intervals() -> None:
    truth, hits, rng = np.array([-1.0, 0.0, 1.0]), 0, np.random.default_rng(3)
    for _ in range(60):
        taste = rng.normal(0, 0.5, (20, 3))
        choices = []
        for rater in range(20):
            for a, b in [(0, 1), (0, 2), (1, 2)] * 6:
                odds = truth[a] - truth[b] + taste[rater, a] - taste[rater, b]
                first = rng.random() < 1 / (1 + np.exp(-odds))
                choices.append((rater, a, b) if first else (rater, b, a))
        fit = bradley_terry(choices, 3)
        weights = np.array([1, 0, -1])
        half = 2.09 * np.sqrt(weights @ fit.covariance @ weights)
        # Tastes flatten the average choice, so the marginal truth is slightly nearer to 0.
        hits += abs(weights @ fit.strength + 1.89) <= half
    assert hits >= 53


def test_a_condition_that_always_wins_stays_finite() -> None:
    fit = bradley_terry([(r, 0, 1) for r in range(20)] + [(r, 1, 2) for r in range(20)], 3)
    assert np.isfinite(fit.strength).all()
    assert list(np.argsort(fit.strength)) == [2, 1, 0]


def test_bt500_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    scores = np.clip(np.round(rng.uniform(1.5, 4.5, 60) + rng.normal(0, 0.4, (20, 60))), 1, 5)
    scores[3:8] = rng.integers(1, 6, (5, 60))
    scores[8] = np.clip(scores[8] + 2, 1, 5)  # off, but to one side: kept
    above, below = np.zeros(20), np.zeros(20)
    for column in scores.T:
        limit = 2 if 2 <= stats.kurtosis(column, fisher=False) <= 4 else np.sqrt(20)
        limit *= column.std(ddof=1)
        above += column >= column.mean() + limit
        below += column <= column.mean() - limit
    off = above + below
    expected = [
        i for i in range(20) if off[i] / 60 > 0.05 and abs(above[i] - below[i]) / off[i] < 0.3
    ]
    assert expected
    assert set(expected) <= {3, 4, 5, 6, 7}
    assert screening.bt500(scores) == expected


def test_p913_rejects_who_does_not_follow_and_nobody_else() -> None:
    rng = np.random.default_rng(5)
    truth = np.linspace(1.5, 4.5, 6) + rng.normal(0, 0.2, (10, 1))
    scores = np.clip(np.round(truth + rng.normal(0, 0.5, (12, 10, 6))), 1, 5)
    scores[5] = rng.integers(1, 6, (10, 6))
    scores[9] = 3
    scores[2] = 6 - scores[2]
    r1, r2 = screening.correlations(scores)
    flat, mean = scores[0].ravel(), scores.mean(axis=0)
    assert r1[0] == pytest.approx(stats.pearsonr(flat, mean.ravel())[0])
    assert r2[0] == pytest.approx(stats.pearsonr(scores[0].mean(0), mean.mean(0))[0])
    assert sorted(screening.p913(scores)) == [2, 5, 9]


def rating(kind: str, candidate: str, answer: int, versus: str = "", scene: str = "s") -> Rating:
    return Rating(0, 0, kind, scene, candidate, versus, answer)


def test_gold_and_repeats_are_counted_as_stated() -> None:
    study = plan()
    own = [rating("gold", "ruined", a) for a in (1, 2, 3)]
    own += [rating("gold", "sharp", a) for a in (2, 3, 5)]
    assert screening.gold_failures(study, own) == (2, 6)
    pairs = [rating("gold", "ruined", 1, "sharp"), rating("gold", "sharp", 1, "ruined")]
    assert screening.gold_failures(plan("pairs"), pairs) == (1, 2)
    again = [rating("test", "m0", 5), rating("repeat", "m0", 2), rating("repeat", "m1", 1)]
    assert screening.repeat_distance(again) == (3.0, 1)


def test_choosers_at_random_do_not_agree() -> None:
    keys = [(f"s{i}", "a", "b") for i in range(40)]
    choices = {rater: dict.fromkeys(keys, 1) for rater in range(10)}
    choices[4] = {key: i % 2 for i, key in enumerate(keys)}
    assert list(screening.agreement(choices)) == [4]
