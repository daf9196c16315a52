"""Orders: balanced over participants, the same on every machine, and blind."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import pytest
from plans import plan

from whet.errors import InputError
from whet.study.design import Trial, session, williams
from whet.study.plan import DEGRADED, PROTOCOLS, RUINED, SHARP, Plan


def counting(study: Plan, number: int) -> list[Trial]:
    return [trial for trial in session(study, number) if trial.kind == "test"]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 10])
def test_williams_squares_balance_places_and_predecessors(size: int) -> None:
    rows = williams(size)
    places = Counter((i, c) for row in rows for i, c in enumerate(row))
    followers = Counter(pair for row in rows for pair in pairwise(row))
    assert set(places.values()) == {len(rows) // size}
    assert len(followers) == size * (size - 1)
    assert len(set(followers.values())) == 1


@pytest.mark.parametrize(("methods", "rows"), [(4, 6), (3, 10)])
def test_every_condition_stands_at_every_place_of_a_session_equally_often(
    methods: int, rows: int
) -> None:
    study = plan(methods=methods)
    size = methods + 2
    places = Counter(
        (i, t.candidate) for n in range(rows) for i, t in enumerate(counting(study, n))
    )
    assert len(places) == size * size * len(study.scenes)
    assert set(places.values()) == {rows // size}
    rounds = [counting(study, n)[i : i + size] for n in range(rows) for i in range(0, 60, size)]
    followers = Counter((a.candidate, b.candidate) for r in rounds for a, b in pairwise(r))
    assert len(followers) == size * (size - 1)
    assert len(set(followers.values())) == 1


def test_everybody_rates_every_condition_of_a_scene_once() -> None:
    study = plan()
    for number in range(5):
        seen = Counter((t.scene, t.candidate) for t in counting(study, number))
        assert seen == Counter((s, c) for s in study.scenes for c in study.conditions)


def test_incomplete_designs_show_every_picture_equally_often() -> None:
    study = plan(scenes=11, each=4)
    seen = Counter((t.scene, t.candidate) for n in range(11) for t in counting(study, n))
    assert len(seen) == 11 * len(study.conditions)
    assert set(seen.values()) == {4}
    for number in range(11):
        own = Counter(t.scene for t in counting(study, number))
        assert set(own.values()) == {len(study.conditions)}


def test_pairs_stand_both_ways_round_equally_often() -> None:
    study = plan("pairs", methods=3, scenes=5)
    shown = Counter((t.scene, t.candidate, t.versus) for n in range(10) for t in counting(study, n))
    expected = [
        (s, *sides)
        for s in study.scenes
        for pair in combinations(study.conditions, 2)
        for sides in (pair, pair[::-1])
    ]
    assert shown == Counter(dict.fromkeys(expected, 5))
    left = Counter(t.candidate < t.versus for t in counting(study, 3))
    assert abs(left[True] - left[False]) <= len(study.conditions)


def test_no_scene_follows_itself_where_there_are_many() -> None:
    study = plan(methods=4, scenes=13)
    for number in range(13):
        assert all(a.scene != b.scene for a, b in pairwise(counting(study, number)))


def test_orders_differ_between_participants_and_seeds() -> None:
    def order(study: Plan, number: int) -> list[tuple[str, str]]:
        return [(t.scene, t.candidate) for t in counting(study, number)]

    orders = {tuple(order(plan(), number)) for number in range(24)}
    assert len(orders) == 24
    assert order(plan(seed=1), 0) != order(plan(), 0)


def test_the_order_is_what_it_was() -> None:
    # Changing it would show participants who resume a study other trials.
    trials = session(plan(methods=1, scenes=3, practice=1, repeats=1, gold=1), 1)
    assert [(t.kind, t.scene, t.candidate) for t in trials] == EXPECTED


EXPECTED = [
    ("practice", "practice", "degraded"),
    ("test", "s2", "m0"),
    ("test", "s1", "sharp"),
    ("test", "s0", "degraded"),
    ("test", "s0", "sharp"),
    ("repeat", "s2", "m0"),
    ("test", "s2", "degraded"),
    ("test", "s1", "m0"),
    ("test", "s2", "sharp"),
    ("gold", "practice", "sharp"),
    ("test", "s0", "m0"),
    ("test", "s1", "degraded"),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_browser_sees_names_nothing(protocol: str) -> None:
    study = plan(protocol)
    hidden = {*study.scenes, *study.methods, DEGRADED, SHARP, RUINED, "practice-", "gold"}
    for number in range(3):
        for trial in session(study, number):
            view = trial.view(study)
            words = " ".join([view.id, *trial.pictures.values()])
            assert not any(name in words for name in hidden)
            assert set(view.slots) == set(trial.pictures)
            assert [number for number, _ in view.answers] == list(study.answers)


def test_ids_of_trials_are_unlike_for_all_and_need_the_secret() -> None:
    ids = [trial.id for number in range(5) for trial in session(plan(), number)]
    assert len(set(ids)) == len(ids)
    other = {t.id for t in session(plan(seed=1), 0)}
    assert other == set(ids[: len(other)])  # the seed is no secret, and no part of an id


def test_repeats_are_tests_seen_before_and_not_just_now() -> None:
    study = plan()
    for number in range(12):
        trials = session(study, number)
        repeats = [t for t in trials if t.kind == "repeat"]
        assert len(repeats) == study.repeats
        for repeat in repeats:
            (first,) = [
                t.position for t in trials if t.kind == "test" and t.pictures == repeat.pictures
            ]
            assert repeat.position - first > 20


def test_gold_shows_the_ruined_and_the_sharp_and_is_spread() -> None:
    study = plan()
    for number in range(4):
        gold = [t for t in session(study, number) if t.kind == "gold"]
        assert Counter(t.candidate for t in gold) == {RUINED: 2, SHARP: 2}
        assert {t.scene for t in gold} == set(study.practice_scenes)
        quarters = [t.position * 4 // len(session(study, number)) for t in gold]
        assert max(Counter(quarters).values()) <= 2


def test_practice_comes_first_and_breaks_come_regularly() -> None:
    study = plan(break_every=20)
    trials = session(study, 0)
    assert [t.position for t in trials if t.kind == "practice"] == [0, 1, 2]
    assert [t.position - 3 for t in trials if t.break_before] == [20, 40, 60]
    assert not any(t.break_before for t in session(plan(break_every=0), 0))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"each": 13}, "can rate 1 to 12 scenes, not 13"),
        ({"gold": -1}, "from 0 up"),
        ({"protocol": "vote"}, "choose one of: acr, dcr, pairs"),
        ({"methods": 0}, "add restored pictures"),
    ],
)
def test_plans_that_cannot_work_are_refused(wrong: dict[str, Any], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        plan(**wrong)
