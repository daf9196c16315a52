"""Scores, gains and what is kept for the eye, against values computed apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from whet.errors import InputError
from whet.evaluate.results import (
    PSNR_CEILING_DB,
    Evaluation,
    PictureInfo,
    SuiteResult,
    summarise,
)
from whet.evaluate.score import evaluate, score
from whet.evaluate.suites.opening import Item, Suite
from whet.evaluate.triplets import most_degraded

Pixels = NDArray[np.uint8]


def photograph(seed: int, height: int = 40, width: int = 50) -> Pixels:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)


def noisy(seed: int, amplitude: int) -> Item:
    sharp = photograph(seed)
    noise = np.random.default_rng(seed + 1000).integers(-amplitude, amplitude + 1, sharp.shape)
    group = "even" if seed % 2 == 0 else "odd"
    return Item(f"p{seed}", (sharp + noise).astype(np.uint8), sharp, f"s{seed // 2}", group)


def suite_of(items: list[Item], name: str = "noise") -> Suite:
    def load() -> Iterator[Item]:
        yield from items

    return Suite(name, "noise on noise", len(items), load)


ITEMS = [noisy(seed, 4 + 3 * seed) for seed in range(7)]
SHARP = {item.degraded.tobytes(): item.sharp for item in ITEMS}


def halfway(degraded: Pixels) -> Pixels:
    """Return the mean of input and truth: a restorer that removes half the error."""
    sharp = SHARP[degraded.tobytes()]
    return np.rint((degraded.astype(float) + sharp) / 2).astype(np.uint8)


def darker(degraded: Pixels) -> Pixels:
    return np.maximum(degraded, 20) - 20


@pytest.fixture(scope="module")
def result() -> SuiteResult:
    return score(suite_of(ITEMS), {"halfway": halfway, "darker": darker})


def test_identity_is_always_scored_first(result: SuiteResult) -> None:
    assert [row.restorer for row in result.rows] == ["identity", "halfway", "darker"]
    expected = [
        peak_signal_noise_ratio(item.sharp, item.degraded, data_range=255) for item in ITEMS
    ]
    assert result.rows[0].values["psnr"] == pytest.approx(expected, abs=1e-9)
    assert result.rows[0].gains["psnr"].mean == 0


def test_gains_are_paired_with_the_input(result: SuiteResult) -> None:
    identity, better, worse = result.rows
    difference = np.subtract(better.values["psnr"], identity.values["psnr"])
    assert better.gains["psnr"].mean == pytest.approx(difference.mean())
    # Halving an error is 6 dB, less what rounding adds.
    assert 4 < better.gains["psnr"].mean < 20 * math.log10(2) + 0.01
    assert 0 < better.gains["psnr"].low < better.gains["psnr"].mean < better.gains["psnr"].high
    assert worse.gains["psnr"].high < 0
    assert (better.made_worse, worse.made_worse) == (0.0, 1.0)


def test_made_worse_counts_pictures_and_the_worst_case_is_one_of_them() -> None:
    def sometimes(degraded: Pixels) -> Pixels:
        return halfway(degraded) if degraded[0, 0, 0] % 2 else darker(degraded)

    chosen = [item.degraded[0, 0, 0] % 2 == 1 for item in ITEMS]
    assert 0 < sum(chosen) < len(chosen)
    row = score(suite_of(ITEMS), {"sometimes": sometimes}).rows[1]
    assert row.made_worse == pytest.approx(1 - np.mean(chosen))
    identity = score(suite_of(ITEMS), {}).rows[0].values["psnr"]
    assert row.worst_db == pytest.approx(min(np.subtract(row.values["psnr"], identity)))


def test_a_sharp_input_has_no_gain_and_counts_as_the_ceiling() -> None:
    items = [Item(f"p{i}", photograph(i), photograph(i), f"s{i}") for i in range(3)]
    result = score(suite_of(items), {"darker": darker})
    identity, row = result.rows
    assert list(identity.values["psnr"]) == [PSNR_CEILING_DB] * 3
    assert row.gains == {}
    assert row.made_worse is row.worst_db is None
    assert row.scores["psnr"].mean == pytest.approx(20 * math.log10(255 / 20), abs=1e-9)


def test_one_sharp_input_among_many_is_left_out_of_the_gain_only() -> None:
    sharp_one = Item("sharp", photograph(99), photograph(99), "x")
    SHARP[sharp_one.degraded.tobytes()] = sharp_one.sharp
    alone = score(suite_of(ITEMS), {"halfway": halfway}).rows[1]
    mixed = score(suite_of([*ITEMS, sharp_one]), {"halfway": halfway}).rows[1]
    assert mixed.gains["psnr"] == alone.gains["psnr"]
    assert mixed.made_worse == alone.made_worse
    assert mixed.scores["psnr"].mean > alone.scores["psnr"].mean


def test_intervals_count_scenes_and_one_scene_has_none() -> None:
    by_scene = score(suite_of(ITEMS[:6]), {"halfway": halfway}).rows[1].gains["psnr"]
    apart = [Item(i.name, i.degraded, i.sharp, i.name) for i in ITEMS[:6]]
    by_picture = score(suite_of(apart), {"halfway": halfway}).rows[1].gains["psnr"]
    assert by_scene.mean == by_picture.mean
    assert by_scene.low < by_picture.low < by_picture.high < by_scene.high
    alike = [Item(i.name, i.degraded, i.sharp, "one") for i in ITEMS]
    assert math.isnan(score(suite_of(alike), {}).rows[0].scores["psnr"].low)


def test_a_single_picture_has_a_mean_but_no_interval() -> None:
    estimate = score(suite_of(ITEMS[:1]), {}).rows[0].scores["psnr"]
    assert math.isfinite(estimate.mean)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_groups_score_their_own_pictures(result: SuiteResult) -> None:
    groups = result.groups()
    assert list(groups) == ["even", "odd"]
    even = score(suite_of(ITEMS[::2]), {"halfway": halfway, "darker": darker})
    assert groups["even"].rows == even.rows
    assert [picture.name for picture in groups["odd"].pictures] == ["p1", "p3", "p5"]


def test_groups_of_single_pictures_are_no_breakdown() -> None:
    assert score(suite_of(ITEMS[:2]), {}).groups() == {}


def test_suites_together_pair_every_picture_with_its_own_input() -> None:
    sharp = [Item(i.name, i.sharp, i.sharp, i.scene, i.group) for i in ITEMS[:2]]
    suites = [suite_of(ITEMS[:4], "quiet"), suite_of(ITEMS[4:], "loud"), suite_of(sharp, "sharp")]
    evaluation = evaluate(suites, {"darker": darker})
    whole = evaluation.together()
    assert whole is not None
    assert whole.description == "quiet, loud"
    by_hand = [
        peak_signal_noise_ratio(i.sharp, darker(i.degraded), data_range=255)
        - peak_signal_noise_ratio(i.sharp, i.degraded, data_range=255)
        for i in ITEMS
    ]
    gain = whole.rows[1].gains["psnr"]
    assert gain.mean == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert gain.low < gain.mean < gain.high
    assert Evaluation(evaluation.suites[1:]).together() is None


def test_restorers_that_change_the_shape_or_type_are_refused() -> None:
    with pytest.raises(InputError, match=r"half returned uint8 \(20, 50, 3\) for p0"):
        score(suite_of(ITEMS), {"half": lambda degraded: degraded[::2]})
    with pytest.raises(InputError, match="float64"):
        score(suite_of(ITEMS), {"float": lambda degraded: degraded / 255})


def test_empty_suites_and_unknown_leads_are_refused() -> None:
    with pytest.raises(InputError, match="has no pictures"):
        score(suite_of([]), {})
    with pytest.raises(InputError, match="no restorer is called 'x'"):
        score(suite_of(ITEMS), {}, lead="x")


def test_progress_is_told_picture_by_picture() -> None:
    seen: list[tuple[str, int, int]] = []
    score(suite_of(ITEMS), {}, progress=lambda *args: seen.append(args))
    assert seen == [("noise", done, 7) for done in range(1, 8)]


def test_triplets_show_the_smallest_and_the_largest_gain(result: SuiteResult) -> None:
    identity, better, _ = result.rows
    gains = np.subtract(better.values["psnr"], identity.values["psnr"])
    shown = {triplet.why: triplet for triplet in result.triplets}
    assert shown["smallest gain"].picture == f"p{gains.argmin()}"
    assert shown["largest gain"].picture == f"p{gains.argmax()}"
    assert shown["smallest gain"].gain_db == pytest.approx(gains.min())
    assert len({triplet.picture for triplet in result.triplets}) == 3
    for triplet in result.triplets:
        item = next(item for item in ITEMS if item.name == triplet.picture)
        assert (triplet.degraded == item.degraded).all()
        assert (triplet.restored["halfway"] == halfway(item.degraded)).all()
        assert list(triplet.restored) == ["halfway", "darker"]


def test_no_triplets_are_kept_when_none_are_wanted() -> None:
    assert score(suite_of(ITEMS), {}, triplets=0).triplets == ()


@pytest.mark.parametrize("count", [1, 2, 4, 7, 20])
def test_as_many_pictures_are_shown_as_wanted_each_once(count: int) -> None:
    shown = [t.picture for t in score(suite_of(ITEMS), {}, triplets=count).triplets]
    assert len(shown) == len(set(shown)) == min(count, 7)


def test_the_crop_lies_where_the_damage_is() -> None:
    sharp = photograph(3, 200, 300)
    degraded = sharp.copy()
    degraded[120:150, 200:240] = 0
    left, top = most_degraded(degraded, sharp, width=80, height=60)
    assert left <= 200
    assert left + 80 >= 240
    assert top <= 120
    assert top + 60 >= 150


def test_the_crop_of_a_sharp_picture_lies_where_the_detail_is() -> None:
    sharp = np.full((200, 300, 3), 90, np.uint8)
    sharp[20:60, 230:280] = photograph(1, 40, 50)
    left, top = most_degraded(sharp, sharp, width=80, height=60)
    assert left <= 230 <= 280 <= left + 80
    assert top <= 20 <= 60 <= top + 60


def test_small_pictures_are_shown_whole() -> None:
    assert most_degraded(photograph(1, 9, 5), photograph(2, 9, 5)) == (0, 0)


def test_json_keeps_every_number(result: SuiteResult, tmp_path: Path) -> None:
    evaluation = Evaluation((result,))
    evaluation.write(tmp_path / "scores.json")
    again = Evaluation.from_json(json.loads((tmp_path / "scores.json").read_text()))
    assert again.suites[0].rows == result.rows
    assert again.suites[0].pictures == result.pictures
    assert again.to_json() == evaluation.to_json()


def test_json_is_strict_even_without_intervals(tmp_path: Path) -> None:
    evaluate([suite_of(ITEMS[:1])], {}).write(tmp_path / "one.json")

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    data = json.loads((tmp_path / "one.json").read_text(), parse_constant=refuse)
    assert data["suites"][0]["rows"][0]["scores"]["psnr"]["low"] is None


def test_json_is_not_overwritten_by_accident(result: SuiteResult, tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    target.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        Evaluation((result,)).write(target)
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.update(schema="other/9"),
        lambda data: data.pop("suites"),
        lambda data: data["suites"][0]["pictures"].pop(),
        lambda data: data["suites"][0]["rows"].pop(0),
    ],
)
def test_foreign_and_incomplete_json_is_refused(result: SuiteResult, damage: object) -> None:
    assert callable(damage)
    data = json.loads(json.dumps(Evaluation((result,)).to_json()))
    damage(data)
    with pytest.raises(InputError, match="score again"):
        Evaluation.from_json(data)


def test_beyond_is_the_paired_difference_to_the_best_baseline() -> None:
    pictures = [PictureInfo(f"{i}", f"{i}", "", "", 8, 8) for i in range(3)]
    psnr_db = {
        "identity": [30.0, 20.0, 25.0],
        "cas": [29.0, 20.0, 25.0],
        "unsharp": [30.5, 20.5, 25.0],
        "mine": [31.5, 21.0, 26.0],
    }
    rows = summarise({name: {"psnr": v, "ssim": v} for name, v in psnr_db.items()})
    suite = SuiteResult("s", "", None, pictures, rows)
    found = suite.beyond("mine")
    assert found is not None
    assert found[0] == "unsharp"
    assert found[1].mean == pytest.approx((1.0 + 0.5 + 1.0) / 3)
    # Student: 4.303 standard errors of 1, .5, 1.
    assert found[1].low == pytest.approx(2.5 / 3 - 4.3027 / 6, abs=1e-3)
    assert found[1].high == pytest.approx(2.5 / 3 + 4.3027 / 6, abs=1e-3)
    assert suite.beyond("unsharp") is None
    alone = summarise({"identity": rows[0].values, "mine": rows[3].values})
    assert SuiteResult("s", "", None, pictures, alone).beyond("mine") is None


def test_an_oracle_chooses_by_the_pictures_that_are_scored() -> None:
    seen: list[str] = []

    def oracle(pairs: object) -> object:
        seen.extend("pair" for _ in pairs)  # type: ignore[attr-defined]
        return halfway

    result = score(suite_of(ITEMS), {"darker": darker}, oracles={"oracle": oracle})  # type: ignore[dict-item]
    assert len(seen) == len(ITEMS)
    assert [row.restorer for row in result.rows] == ["identity", "darker", "oracle"]
    assert result.rows[2].values == score(suite_of(ITEMS), {"halfway": halfway}).rows[1].values
    assert set(result.settings) == {"oracle"}
    assert {triplet.lead for triplet in result.triplets} == {"darker"}
    again = Evaluation.from_json(Evaluation((result,)).to_json())
    assert again.suites[0].settings == result.settings
