"""Who is left out of pair studies: the careless, and nobody because of what they prefer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from plans import plan

from whet.study.design import Rating, session
from whet.study.plan import DEGRADED, RUINED, Plan
from whet.study.statistics import screening
from whet.study.statistics.analysis import analyse
from whet.study.statistics.simulate import Panel, draw_truth, simulate

RATERS, STUDIES = 24, 12
Taste = Callable[[np.random.Generator], float]
"""Draws how likely one person prefers the method to the input."""


def choices(study: Plan, taste: Taste, seed: int, careless: int = 0) -> list[Rating]:
    """Return what attentive people with that taste choose; the first ``careless`` toss coins."""
    rng = np.random.default_rng([seed, 7])
    ratings = []
    for number in range(RATERS):
        prefers = 0.5 if number < careless else taste(rng)
        for t in session(study, number):
            better = t.versus if t.candidate in (DEGRADED, RUINED) else t.candidate
            sure = t.kind == "gold" and number >= careless
            right = sure or rng.random() < (0.5 if t.kind == "gold" else prefers)
            answer = 1 if (t.candidate == better) == right else 2
            ratings.append(
                Rating(number, t.position, t.kind, t.scene, t.candidate, t.versus, answer)
            )
    return ratings


def preferred(study: Plan, ratings: list[Rating], *, screen: bool = True) -> tuple[float, int]:
    """Return how often the method won, and how many were left out."""
    result = analyse(study, ratings, screen=screen)
    (method,) = [p for p in result.preferences if p.condition != DEGRADED]
    return method.wins / method.choices, sum(bool(r.rejected) for r in result.raters)


@pytest.mark.parametrize("preference", [0.55, 0.65, 0.75, 0.85, 0.95])
@pytest.mark.parametrize("scenes", [6, 12, 40])
def test_estimates_of_a_preference_are_unbiased(preference: float, scenes: int) -> None:
    study = plan("pairs", methods=1, scenes=scenes)
    found = [
        preferred(study, choices(study, lambda _: preference, seed)) for seed in range(STUDIES)
    ]
    error = np.sqrt(preference * (1 - preference) / (RATERS * scenes * STUDIES))
    assert np.mean([share for share, _ in found]) == pytest.approx(preference, abs=3 * error)
    assert sum(lost for _, lost in found) <= 0.005 * RATERS * STUDIES


@pytest.mark.parametrize("preference", [0.55, 0.75, 0.95])
def test_people_of_unlike_tastes_are_heard(preference: float) -> None:
    study = plan("pairs", methods=1, scenes=24)

    def taste(rng: np.random.Generator) -> float:
        return float(rng.beta(8 * preference, 8 * (1 - preference)))

    drawn = [choices(study, taste, seed) for seed in range(STUDIES)]
    everybody = np.mean([preferred(study, own, screen=False)[0] for own in drawn])
    assert np.mean([preferred(study, own)[0] for own in drawn]) == pytest.approx(
        everybody, abs=0.015
    )


def test_a_minority_that_knows_what_it_likes_is_not_out_voted() -> None:
    study = plan("pairs", methods=1, scenes=24)

    def taste(rng: np.random.Generator) -> float:
        return 0.95 if rng.random() < 0.75 else 0.05

    ratings = choices(study, taste, 3)
    assert preferred(study, ratings) == preferred(study, ratings, screen=False)


def test_coins_are_left_out_where_people_agree() -> None:
    study = plan("pairs", methods=1, scenes=40)
    left_out = [
        analyse(study, choices(study, lambda _: 0.9, seed, careless=5)).raters
        for seed in range(STUDIES)
    ]
    careless = [bool(r.rejected) for raters in left_out for r in raters[:5]]
    attentive = [bool(r.rejected) for raters in left_out for r in raters[5:]]
    assert np.mean(careless) >= 0.9
    assert np.mean(attentive) <= 0.005


def test_fewer_than_ten_majorities_say_nothing_about_anybody() -> None:
    keys = [(f"s{i}", "a", "b") for i in range(10)]
    people = {rater: dict.fromkeys(keys, 1) for rater in range(12)}
    people[4] = {key: i % 2 for i, key in enumerate(keys)}
    assert list(screening.agreement(people)) == [4]
    assert "with 5 of 10 majorities" in screening.agreement(people)[4]
    fewer = {rater: dict(list(own.items())[:9]) for rater, own in people.items()}
    assert screening.agreement(fewer) == {}


def test_five_right_of_five_are_no_fault() -> None:
    study = plan("pairs", methods=1, scenes=5)
    assert preferred(study, choices(study, lambda _: 1.0, 0)) == (1.0, 0)


def test_who_fails_the_gold_items_is_left_out_whatever_the_rest_says() -> None:
    study = plan("pairs", methods=1, scenes=12)
    ratings = choices(study, lambda _: 0.9, 1)
    swapped = [
        replace(r, answer=3 - r.answer) if r.participant == 3 and r.kind == "gold" else r
        for r in ratings
    ]
    result = analyse(study, swapped)
    assert {r.participant: r.rejected for r in result.raters if r.rejected} == {
        3: "attention: 4 of 4 gold items wrong"
    }


@pytest.mark.parametrize("protocol", ["acr", "pairs"])
def test_who_is_too_fast_to_have_looked_is_left_out(protocol: str) -> None:
    study = plan(protocol, methods=2, scenes=6)
    ratings = simulate(study, draw_truth(study, 0), Panel(8), 0)
    times = {0: (520, 600), 1: (900, 700), 2: (520, 3000), 3: (0, 0)}
    timed = [
        replace(r, elapsed_ms=times.get(r.participant, (2500, 4000))[r.position % 3 == 0])
        for r in ratings
    ]
    tests = sum(r.kind == "test" and r.participant == 0 for r in ratings)
    rejected = {r.participant: r.rejected for r in analyse(study, timed).raters}
    assert rejected[0] == f"haste: {tests} of {tests} answers within 750 ms"
    assert [n for n, why in rejected.items() if why] == [0, 2]
    assert analyse(study, timed, screen=False).kept == 8
