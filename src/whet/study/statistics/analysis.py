"""From ratings to a result: screening, scores with intervals, comparisons.

Four numbers stand for each condition of a category study, and say different things:

* **MOS**: mean opinion of the participants, each averaged over the scenes first.
  The interval contains how strict people are, and is thus the widest.
* **MOS, bias removed** (ITU-T P.913 12.4): the same mean; the interval compares
  conditions within this panel.
* **DMOS**: per participant and scene, rating minus rating of the hidden reference
  plus the top of the scale (ITU-T P.910, ACR-HR, differential viewer scores).
* **Recovered**: maximum likelihood with bias and inconsistency of each
  participant (:func:`whet.study.statistics.scores.fit_raters`). Its interval adds the
  variance of the bias over N to the model's own, so that it, too, speaks of
  other people.

Scenes are taken as they are: no interval speaks of other scenes. Where
participants rated unequal sets of scenes, the mean of each scene over everybody
is subtracted first and the grand mean added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.study.design import Rating
from whet.study.plan import SHARP, Plan
from whet.study.statistics import screening
from whet.study.statistics.inference import (
    Contrast,
    Estimate,
    contrast,
    holm,
    mean_interval,
    quantile,
    two_sided,
    within_intervals,
)
from whet.study.statistics.result import ItemScore, Preference, Rater, Result, Score
from whet.study.statistics.scores import RaterModel, Strengths, bradley_terry, fit_raters

__all__ = ["analyse", "by_participant", "left_out"]

Floats = NDArray[np.float64]
ByRater = Mapping[int, Sequence[Rating]]


def analyse(
    plan: Plan,
    ratings: Iterable[Rating],
    *,
    screen: bool = True,
    absent: Mapping[int, str] = MappingProxyType({}),
) -> Result:
    """Screen the participants, and score the conditions by those who stay.

    Args:
        plan: the study.
        ratings: all of its answers; training items and checks do not enter the scores.
        screen: whether to leave anybody out but the unfinished.
        absent: who joined and has no answers -> why (see ``Store.absent``).

    Raises:
        InputError: fewer than two participants are left, or a condition has no rating.
    """
    by_rater = by_participant(ratings, absent)
    rejected = left_out(plan, by_rater, screen=screen) | dict(absent)
    panel = _without(by_rater, rejected)
    if len(panel) < 2:
        reasons = "".join(f"; participant {n}: {why}" for n, why in sorted(rejected.items()))
        raise InputError(
            f"{len(panel)} of {len(by_rater)} participants are left after screening, and a "
            f"result needs two; analyse when more have taken part{reasons}"
        )
    raters = tuple(_rater(plan, n, own, rejected) for n, own in sorted(by_rater.items()))
    empty = Result(
        plan.id,
        plan.title,
        plan.protocol,
        plan.asks,
        plan.scale,
        len(plan.scenes),
        screen,
        scores=(),
        items=(),
        preferences=(),
        contrasts=(),
        raters=raters,
    )
    return _paired(plan, panel, empty) if plan.paired else _rated(plan, panel, empty)


def by_participant(
    ratings: Iterable[Rating], absent: Iterable[int] = ()
) -> dict[int, list[Rating]]:
    """Return participant -> their answers, none for the absent."""
    found: dict[int, list[Rating]] = {number: [] for number in absent}
    for rating in ratings:
        found.setdefault(rating.participant, []).append(rating)
    return found


def left_out(plan: Plan, by_rater: ByRater, *, screen: bool = True) -> dict[int, str]:
    """Return who does not count, and by which rule; see :mod:`whet.study.statistics.screening`."""
    rejected = screening.unfinished(plan, by_rater)
    if screen:
        for rule in (screening.hasty, partial(screening.inattentive, plan)):
            rejected |= rule(_without(by_rater, rejected))
        panel = _without(by_rater, rejected)
        rejected |= _disagreeing_choosers(panel) if plan.paired else _outliers(plan, panel)
    return rejected


def _without(by_rater: ByRater, rejected: Mapping[int, str]) -> dict[int, Sequence[Rating]]:
    return {rater: own for rater, own in sorted(by_rater.items()) if rater not in rejected}


def _rater(plan: Plan, number: int, own: Sequence[Rating], rejected: Mapping[int, str]) -> Rater:
    wrong, gold = screening.gold_failures(plan, own)
    distance, repeats = screening.repeat_distance(own)
    count = sum(rating.kind == "test" for rating in own)
    reason = rejected.get(number, "")
    return Rater(number, count, reason, wrong, gold, distance if repeats else None)


# Categories


def _table(plan: Plan, panel: ByRater) -> Floats:
    """Return the ratings as (participants, scenes, conditions), NaN where missing."""
    scenes = {scene: i for i, scene in enumerate(plan.scenes)}
    conditions = {condition: i for i, condition in enumerate(plan.conditions)}
    table = np.full((len(panel), len(scenes), len(conditions)), np.nan)
    for row, own in zip(table, panel.values(), strict=True):
        for rating in own:
            if rating.kind == "test":
                row[scenes[rating.scene], conditions[rating.candidate]] = rating.answer
    return table


def _outliers(plan: Plan, panel: ByRater) -> dict[int, str]:
    """Return whom BT.500 and then P.913 reject."""
    if len(panel) < 2:
        return {}
    table, numbers = _table(plan, panel), list(panel)
    table = table[:, _whole(table)]
    rows = screening.bt500(table.reshape(len(numbers), -1))
    found = {numbers[row]: "ITU-R BT.500: far from the others, to both sides" for row in rows}
    left = [row for row in range(len(numbers)) if row not in rows]
    if len(left) > 1:
        for row in screening.p913(table[left]):
            found[numbers[left[row]]] = "ITU-T P.913: does not follow the panel"
    return found


def _whole(table: Floats) -> NDArray[np.bool_]:
    """Return for each scene whether somebody of the panel rated each of its conditions."""
    rated = (~np.isnan(table)).sum(axis=0)
    return np.asarray(rated.min(axis=1) > 0, dtype=np.bool_)


def _levelled(table: Floats) -> Floats:
    """Return the table without differences between scenes; see the module."""
    scenes = np.nanmean(table, axis=(0, 2), keepdims=True)
    return np.asarray(table - scenes + scenes.mean(), dtype=np.float64)


def _rated(plan: Plan, panel: ByRater, result: Result) -> Result:
    table = _table(plan, panel)
    whole = _whole(table)
    if not whole.any():
        raise InputError("no scene is rated in full yet; analyse when more have taken part")
    table = table[:, whole]
    scenes = [plan.scenes[i] for i in np.flatnonzero(whole)]
    means = np.nanmean(_levelled(table), axis=1)
    model = fit_raters(table.reshape(len(table), -1))
    columns = list(plan.conditions)
    dmos = _differential(plan, table)
    unbiased = within_intervals(means)
    scores = tuple(
        Score(
            condition,
            int((~np.isnan(table[:, :, i])).sum()),
            mean_interval(means[:, i]),
            unbiased[i],
            _recovered(model, i, table.shape),
            dmos.get(condition),
        )
        for i, condition in enumerate(columns)
    )
    contrasts = [
        contrast(columns[i], columns[j], means[:, i], means[:, j])
        for i, j in combinations(range(len(columns)), 2)
    ]
    fitted = dict(zip(panel, zip(model.bias, model.inconsistency, strict=True), strict=True))
    return replace(
        result,
        scores=scores,
        items=tuple(_items(scenes, columns, table, model)),
        contrasts=_corrected(contrasts),
        raters=tuple(_described(rater, fitted.get(rater.participant)) for rater in result.raters),
    )


def _described(rater: Rater, fitted: tuple[float, float] | None) -> Rater:
    if fitted is None:
        return rater
    return replace(rater, bias=float(fitted[0]), inconsistency=float(fitted[1]))


def _differential(plan: Plan, table: Floats) -> dict[str, Estimate]:
    reference = plan.conditions.index(SHARP)
    viewer = table - table[:, :, reference : reference + 1] + len(plan.scale)
    means = np.nanmean(_levelled(viewer), axis=1)
    names = enumerate(plan.conditions)
    return {name: mean_interval(means[:, i]) for i, name in names if i != reference}


def _recovered(model: RaterModel, condition: int, shape: tuple[int, ...]) -> Estimate:
    """Average the recovered qualities of one condition over the scenes."""
    quality = model.quality.reshape(shape[1:])[:, condition]
    errors = model.error.reshape(shape[1:])[:, condition]
    return _widened(model, float(quality.mean()), float(np.mean(errors**2)) / len(errors), shape[0])


def _widened(model: RaterModel, value: float, variance: float, raters: int) -> Estimate:
    """Return an interval for other panels: the variance of the mean bias is added."""
    panel = float(model.bias.var(ddof=1)) / raters
    half = quantile(raters - 1) * float(np.sqrt(variance + panel))
    return Estimate(value, value - half, value + half, raters)


def _items(
    scenes: Sequence[str], conditions: Sequence[str], table: Floats, model: RaterModel
) -> Iterable[ItemScore]:
    quality, error = (v.reshape(table.shape[1:]) for v in (model.quality, model.error))
    for s, scene in enumerate(scenes):
        for c, condition in enumerate(conditions):
            raters = int((~np.isnan(table[:, s, c])).sum())
            if raters >= 2:
                recovered = _widened(model, float(quality[s, c]), float(error[s, c]) ** 2, raters)
                yield ItemScore(scene, condition, mean_interval(table[:, s, c]), recovered)


def _corrected(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    corrected = holm([c.p for c in contrasts])
    return tuple(replace(c, p_holm=p) for c, p in zip(contrasts, corrected, strict=True))


# Pairs


def _disagreeing_choosers(panel: ByRater) -> dict[int, str]:
    choices: dict[int, dict[tuple[str, str, str], int]] = {rater: {} for rater in panel}
    for rater, own in panel.items():
        for rating in own:
            if rating.kind == "test":
                first, second = sorted((rating.candidate, rating.versus))
                winner = (rating.candidate, rating.versus)[rating.answer - 1]
                choices[rater][rating.scene, first, second] = int(winner == first)
    return screening.agreement(choices)


def _paired(plan: Plan, panel: ByRater, result: Result) -> Result:
    places = {condition: i for i, condition in enumerate(plan.conditions)}
    choices = []
    for rater, own in panel.items():
        for rating in own:
            if rating.kind == "test":
                sides = places[rating.candidate], places[rating.versus]
                winner, loser = sides if rating.answer == 1 else sides[::-1]
                choices.append((rater, winner, loser))
    fit = bradley_terry(choices, len(places))
    table = np.asarray(choices)
    preferences = tuple(
        Preference(
            condition,
            _linear(fit, np.eye(len(places))[i]),
            int((table[:, 1] == i).sum()),
            int((table[:, 1:] == i).sum()),
        )
        for condition, i in places.items()
    )
    contrasts = [_strength_contrast(fit, a, b, places) for a, b in combinations(places, 2)]
    return replace(result, preferences=preferences, contrasts=_corrected(contrasts))


def _linear(fit: Strengths, weights: Floats) -> Estimate:
    """Return a weighted sum of strengths with its interval, Student's t of raters - 1."""
    value = float(weights @ fit.strength)
    error = max(0.0, float(weights @ fit.covariance @ weights)) ** 0.5
    half = quantile(fit.raters - 1) * error
    return Estimate(value, value - half, value + half, fit.raters)


def _strength_contrast(
    fit: Strengths, first: str, second: str, places: Mapping[str, int]
) -> Contrast:
    identity = np.eye(len(places))
    difference = _linear(fit, identity[places[first]] - identity[places[second]])
    error = difference.half_width / quantile(fit.raters - 1)
    t = difference.value / error if error else float(np.inf)
    p = two_sided(t, fit.raters - 1)
    return Contrast(first, second, difference, p, p)
