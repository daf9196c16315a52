"""Known truth comes back: simulated panels through real sessions, screening and analysis."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from plans import plan
from scipy.stats import kendalltau

from whet.errors import InputError
from whet.study.plan import SHARP, Plan
from whet.study.report import FILES, to_markdown, write_result
from whet.study.statistics.analysis import analyse
from whet.study.statistics.rehearsal import rehearse
from whet.study.statistics.result import Result
from whet.study.statistics.simulate import Panel, Truth, draw_truth, simulate

STUDIES = 10


def truths(study: Plan, truth: Truth) -> list[float]:
    return [float(np.mean([truth(s, c) for s in study.scenes])) for c in study.conditions]


def studies(panel: Panel, protocol: str = "acr", **shape: int) -> list[tuple[list[float], Result]]:
    study = plan(protocol, **shape)
    drawn = [draw_truth(study, seed) for seed in range(STUDIES)]
    return [
        (truths(study, truth), analyse(study, simulate(study, truth, panel, seed)))
        for seed, truth in enumerate(drawn)
    ]


@pytest.fixture(scope="module")
def careless() -> list[tuple[list[float], Result]]:
    """Studies of 24 raters, 20% of whom do not look."""
    return studies(Panel(24, careless=0.2))


def test_true_order_of_methods_is_recovered_with_a_fifth_careless(
    careless: list[tuple[list[float], Result]],
) -> None:
    for truth, result in careless:
        assert kendalltau(truth, [s.mos.value for s in result.scores])[0] >= 0.95
        assert kendalltau(truth, [s.recovered.value for s in result.scores])[0] >= 0.95


def test_intervals_within_a_panel_are_narrow_at_24_raters(
    careless: list[tuple[list[float], Result]],
) -> None:
    # Means over the conditions of a study; the widest single one comes to 0.153.
    widths = [np.mean([s.unbiased.half_width for s in r.scores]) for _, r in careless]
    assert max(widths) <= 0.15
    dmos = [s.dmos.half_width for _, r in careless for s in r.scores if s.dmos]
    assert np.mean(dmos) <= 0.15
    # The plain MOS contains how strict people are (0.3 here): 2.07 * 0.3 / sqrt(24) = 0.13
    # before any noise. It reaches 0.15 with 24 raters left, not with the 19 who look.
    assert np.mean([s.mos.half_width for _, r in careless for s in r.scores]) <= 0.2


def test_screening_finds_the_careless_and_leaves_the_attentive(
    careless: list[tuple[list[float], Result]],
) -> None:
    right = wrong = 0
    for seed, (_, result) in enumerate(careless):
        bad = np.random.default_rng([seed, 1]).permutation(24)[:5]
        rejected = {rater.participant for rater in result.raters if rater.rejected}
        right += len(rejected & set(bad.tolist()))
        wrong += len(rejected - set(bad.tolist()))
    assert right >= 0.9 * 5 * STUDIES
    assert wrong <= 0.1 * 19 * STUDIES


def test_intervals_cover_what_everybody_thinks() -> None:
    # Ratings are rounded and end at 1 and 5, so the truth is what a huge panel would say.
    study = plan(scenes=6, methods=2)
    truth = draw_truth(study, 0)
    everybody = analyse(study, simulate(study, truth, Panel(300), 99), screen=False)
    hits = {"mos": 0, "recovered": 0, "dmos": 0}
    for seed in range(30):
        ratings = simulate(study, truth, Panel(24), seed)
        for score, known in zip(
            analyse(study, ratings, screen=False).scores, everybody.scores, strict=True
        ):
            hits["mos"] += score.mos.low <= known.mos.value <= score.mos.high
            hits["recovered"] += score.recovered.low <= known.mos.value <= score.recovered.high
            if score.dmos and known.dmos:
                hits["dmos"] += score.dmos.low <= known.dmos.value <= score.dmos.high
    assert hits["mos"] / 120 >= 0.9
    assert hits["dmos"] / 90 >= 0.9
    # The model knows no ends of the scale, where answers pile up: a little less.
    assert hits["recovered"] / 120 >= 0.85


def test_pairs_recover_the_true_order_with_a_fifth_careless() -> None:
    for truth, result in studies(Panel(24, careless=0.2), "pairs", methods=3, scenes=8):
        assert kendalltau(truth, [p.strength.value for p in result.preferences])[0] >= 0.95
        assert sum(p.wins for p in result.preferences) * 2 == sum(
            p.choices for p in result.preferences
        )


def test_incomplete_designs_recover_the_true_order_too() -> None:
    for truth, result in studies(Panel(24), scenes=12, each=5):
        assert kendalltau(truth, [s.mos.value for s in result.scores])[0] >= 0.95
        assert all(s.ratings <= 24 * 5 for s in result.scores)


def test_equal_methods_are_rarely_told_apart() -> None:
    study = plan(methods=2, scenes=6)

    def equal(scene: str, condition: str) -> float:
        return {"ruined": 1.0, "sharp": 4.8}.get(condition, 3.0)

    found = 0
    for seed in range(30):
        result = analyse(study, simulate(study, equal, Panel(16), seed))
        among = [c for c in result.contrasts if SHARP not in (c.first, c.second)]
        found += any(c.significant for c in among)
        assert all(c.significant for c in result.contrasts if c not in among)
    assert found <= 5


def test_training_and_checks_do_not_enter_the_scores() -> None:
    study = plan(methods=2, scenes=6)
    ratings = simulate(study, draw_truth(study, 0), Panel(8), 0)
    counted = analyse(study, ratings, screen=False)
    bare = analyse(study, [r for r in ratings if r.kind == "test"], screen=False)
    assert counted.scores == bare.scores


def test_dmos_is_the_difference_to_the_reference_per_participant() -> None:
    study = plan(methods=1, scenes=2)
    ratings = simulate(study, draw_truth(study, 0), Panel(4), 0)
    result = analyse(study, ratings, screen=False)
    by = {(r.participant, r.scene, r.candidate): r.answer for r in ratings if r.kind == "test"}
    values = [
        np.mean([by[n, s, "m0"] - by[n, s, SHARP] + 5 for s in study.scenes]) for n in range(4)
    ]
    (score,) = [s for s in result.scores if s.condition == "m0"]
    assert score.dmos is not None
    assert score.dmos.value == pytest.approx(np.mean(values))
    assert result.scores[-1].dmos is None


def test_unfinished_sessions_are_left_out_and_too_few_are_refused() -> None:
    study = plan(methods=1, scenes=4)
    ratings = simulate(study, draw_truth(study, 0), Panel(3), 0)
    short = [r for r in ratings if r.participant != 1 or r.position < 6]
    result = analyse(study, short, screen=False)
    assert [r.rejected for r in result.raters] == ["", "unfinished: 2 of 12 trials", ""]
    assert {s.mos.n for s in result.scores} == {2}
    with pytest.raises(InputError, match="analyse when more have taken part"):
        analyse(study, [r for r in ratings if r.participant == 0])
    with pytest.raises(InputError, match="0 of 0 participants"):
        analyse(study, [])


@pytest.mark.parametrize("protocol", ["acr", "dcr", "pairs"])
def test_reports_name_n_and_interval_of_every_value(protocol: str, tmp_path: Path) -> None:
    study = plan(protocol, methods=2, scenes=5)
    ratings = simulate(study, draw_truth(study, 0), Panel(8), 0)
    result = analyse(study, ratings)
    written = write_result(result, ratings, tmp_path / "out")
    assert {path.name for path in written} >= set(FILES)
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["condition"] for row in rows] == list(study.conditions)
    value = "strength" if protocol == "pairs" else "mos"
    for row in rows:
        low, middle, high = (float(row[f"{value}{end}"]) for end in ("_low", "", "_high"))
        assert low < middle < high
        assert int(row[f"{value}_n"]) == result.kept
    with (tmp_path / "out" / "ratings.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(ratings)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["study"] == "study"
    table = next(t for t in to_markdown(result).splitlines() if t.startswith("| m0 |"))
    assert f"| {result.kept} |" in table
    assert " to " in table
    with pytest.raises(InputError, match="exists already"):
        write_result(result, ratings, tmp_path / "out")
    first = (tmp_path / "out" / "results.md").read_bytes()
    write_result(result, ratings, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "results.md").read_bytes() == first


def test_a_rehearsal_says_what_single_studies_say() -> None:
    study, panel = plan(scenes=4), Panel(12, careless=0.25)
    rehearsal = rehearse(study, panel, 2, seed=5)
    results = [analyse(study, simulate(study, draw_truth(study, s), panel, s)) for s in (5, 6)]
    assert rehearsal.kept == [result.kept for result in results]
    widths = [np.mean([s.mos.half_width for s in result.scores]) for result in results]
    np.testing.assert_allclose(rehearsal.half_widths["MOS"], widths)
    assert (rehearsal.careless, rehearsal.attentive) == (6, 18)
    assert rehearsal.found + rehearsal.lost == 24 - sum(rehearsal.kept)
    table = rehearsal.to_markdown()
    assert "| half-width, bias removed |" in table
    assert f"{np.mean(widths):.3f} | {max(widths):.3f}" in table


def test_more_scenes_narrow_what_is_freed_of_bias_more_than_the_plain_mos() -> None:
    few, many = (rehearse(plan(scenes=n), Panel(16), 2).half_widths for n in (4, 24))
    narrowed = {name: np.mean(many[name]) / np.mean(few[name]) for name in few}
    assert narrowed["bias removed"] < 0.75
    assert narrowed["bias removed"] < narrowed["MOS"]


def test_pairs_cannot_be_rehearsed() -> None:
    with pytest.raises(InputError, match="acr or dcr"):
        rehearse(plan("pairs"), Panel(12), 1)
