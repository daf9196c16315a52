"""Raters whose truth is known, to find out whether design and analysis recover it.

An attentive rater answers ``round(truth + bias + noise)``, kept on the scale; bias
and size of the noise are their own. A careless one presses a random button, or
always the same. Raters sit through the real sessions, training, repeats and gold
included, and the analysis is not told who is careless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from whet.study.design import Rating, Trial, session
from whet.study.plan import DEGRADED, RUINED, SHARP, Plan

__all__ = ["Panel", "Truth", "draw_truth", "simulate"]

Truth = Callable[[str, str], float]
"""``(scene, condition) -> quality`` in points of the scale."""


@dataclass(frozen=True)
class Panel:
    """Who takes part. The defaults are assumptions, in points of a scale of 5.

    Attributes:
        raters: how many.
        careless: share of them who do not look; rounded to whole people.
        stubborn: share of the careless who always press one button; the others press
            at random.
        bias_sd: spread of how strict people are.
        inconsistency: least and largest standard deviation of a rater's own noise.
        taste_sd: spread of how much a rater likes one condition more than others do.
    """

    raters: int
    careless: float = 0.0
    stubborn: float = 0.25
    bias_sd: float = 0.3
    inconsistency: tuple[float, float] = (0.4, 0.9)
    taste_sd: float = 0.1

    def who_is_careless(self, seed: int) -> set[int]:
        """Return the numbers of those who do not look, in the study of that seed."""
        order = np.random.default_rng([seed, 1]).permutation(self.raters)
        return set(order[: round(self.careless * self.raters)].tolist())


def draw_truth(plan: Plan, seed: int, scene_sd: float = 0.25) -> Truth:
    """Return qualities that lie 1.6 to 4.8 apart evenly, plus a difference per picture.

    The input is worst and the reference best; which method is how good is drawn by
    seed. Each picture differs from its condition by N(0, ``scene_sd``).
    """
    rng = np.random.default_rng([seed, 0])
    middle = [str(name) for name in rng.permutation(list(plan.methods))]
    levels = np.linspace(1.6, 4.8, len(middle) + 2)
    base = dict(zip([DEGRADED, *middle, SHARP], levels, strict=True)) | {RUINED: 1.0}
    scenes = [*plan.scenes, *plan.practice_scenes]
    offset = {(s, c): rng.normal(0, scene_sd) for s in scenes for c in plan.conditions}

    def truth(scene: str, condition: str) -> float:
        return float(base[condition] + offset.get((scene, condition), 0.0))

    return truth


def simulate(plan: Plan, truth: Truth, panel: Panel, seed: int) -> list[Rating]:
    """Return the ratings of all trials by a simulated panel; the same seed, the same ratings."""
    rng = np.random.default_rng([seed, 1])
    careless = panel.who_is_careless(seed)
    rng.permutation(panel.raters)  # drawn there
    ratings: list[Rating] = []
    for number in range(panel.raters):
        trials = session(plan, number)
        if number in careless:
            answers = _careless(plan, trials, panel, rng)
        else:
            answers = _attentive(plan, trials, truth, panel, rng)
        ratings += [
            Rating(number, t.position, t.kind, t.scene, t.candidate, t.versus, answer)
            for t, answer in zip(trials, answers, strict=True)
        ]
    return ratings


def _careless(
    plan: Plan, trials: tuple[Trial, ...], panel: Panel, rng: np.random.Generator
) -> Iterator[int]:
    stubborn = rng.random() < panel.stubborn
    button = int(rng.choice(plan.answers))
    for _ in trials:
        yield button if stubborn else int(rng.choice(plan.answers))


def _attentive(
    plan: Plan, trials: tuple[Trial, ...], truth: Truth, panel: Panel, rng: np.random.Generator
) -> Iterator[int]:
    bias = rng.normal(0, panel.bias_sd)
    noise = rng.uniform(*panel.inconsistency)
    taste = {name: rng.normal(0, panel.taste_sd) for name in (*plan.conditions, SHARP, RUINED)}

    def impression(scene: str, condition: str) -> float:
        return truth(scene, condition) + taste[condition] + rng.normal(0, noise)

    for trial in trials:
        candidate = impression(trial.scene, trial.candidate)
        if plan.paired:
            yield 1 if candidate >= impression(trial.scene, trial.versus) else 2
        else:
            yield min(max(round(candidate + bias), 1), len(plan.scale))
