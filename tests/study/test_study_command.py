"""Building a study from pictures, and ``whet study new`` and ``whet study analyse``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plans import stimuli

from commandline import save, succeed, whet
from whet.errors import DataError
from whet.study.build import Settings, build, ruin
from whet.study.design import picture_name, picture_path, session
from whet.study.plan import DEGRADED, PICTURES, RUINED, SHARP, read_plan
from whet.study.simulate import Panel, draw_truth, simulate
from whet.study.store import Store


def save_triplets(root: Path, count: int = 4) -> Path:
    for s in stimuli(count):
        save(s.degraded, root / "degraded" / f"{s.scene}.png")
        save(s.sharp, root / "sharp" / f"{s.scene}.png")
        for method, pixels in s.restored.items():
            save(pixels, root / "restored" / method / f"{s.scene}.png")
    return root


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_a_study_holds_every_picture_losslessly_under_a_name_that_tells_nothing(
    tmp_path: Path,
) -> None:
    plan = build(stimuli(3), tmp_path / "study", Settings())
    assert read_plan(tmp_path / "study") == plan
    names = {path.name for path in (tmp_path / "study" / PICTURES).iterdir()}
    assert len(names) == 3 * 5
    for s in stimuli(3):
        versions = {DEGRADED: s.degraded, SHARP: s.sharp, RUINED: ruin(s.sharp), **s.restored}
        for condition, expected in versions.items():
            name = picture_name(plan.secret, s.scene, condition)
            assert np.array_equal(pixels(tmp_path / "study" / PICTURES / name), expected)
    for trial in session(plan, 0):
        for slot in trial.pictures:
            assert picture_path(tmp_path / "study", trial, slot).is_file()


def test_display_fits_all_slots_side_by_side(tmp_path: Path) -> None:
    widths = {
        protocol: build(stimuli(2), tmp_path / protocol, Settings(protocol=protocol)).display
        for protocol in ("acr", "dcr", "pairs")
    }
    assert widths["dcr"].width_px - widths["acr"].width_px == 2 * 32
    assert widths["pairs"].width_px - widths["acr"].width_px == 32
    assert {display.zoom_percent for display in widths.values()} == {100}


def test_a_study_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    first, second = stimuli(2)
    for odd in (
        replace(second, scene=first.scene),
        replace(second, restored={}),
        replace(second, degraded=second.degraded[1:]),
    ):
        with pytest.raises(DataError):
            build([first, odd], tmp_path / "study", Settings())
        assert list(tmp_path.iterdir()) == []


def test_from_triplets_to_results(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    words = ["study", "new", "-o", folder, "--triplets", save_triplets(tmp_path / "in"), "--json"]
    facts = json.loads(succeed(*words, "--crop", "20x16", "--title", "Which?"))
    plan = read_plan(folder)
    assert facts["conditions"] == ["degraded", "alpha", "beta", "sharp"]
    assert (facts["study"], facts["trials"]) == (plan.id, len(session(plan, 0)))
    assert (plan.title, len(plan.scenes), len(plan.practice_scenes)) == ("Which?", 3, 1)
    assert {pixels(path).shape for path in (folder / PICTURES).iterdir()} == {(16, 20, 3)}
    none_yet = whet("study", "analyse", folder)
    assert none_yet.code == 2
    assert "nobody has taken part yet" in none_yet.err

    store = Store.open(folder)
    store.register(plan)
    tokens = [store.join(plan.id) for _ in range(4)]
    for rating in simulate(plan, draw_truth(plan, 0), Panel(4), 0):
        token = tokens[rating.participant]
        store.begin(token, consented=True, display_ok=True)
        trial = store.next_trial(token)
        assert trial is not None
        store.rate(token, trial.id, rating.answer)
    store.close()
    result = json.loads(succeed("study", "analyse", folder, "--keep-all", "--json"))
    assert [s["mos"]["n"] for s in result["scores"]] == [4] * 4
    assert (folder / "results" / "scores.csv").is_file()
    again = whet("study", "analyse", folder)
    assert (again.code, again.out) == (2, "")
    text = succeed("study", "analyse", folder, "--keep-all", "--overwrite")
    assert "| condition | N | ratings | bias removed |" in text


def test_from_a_model_and_a_suite(tmp_path: Path, tiny_artifact: Path, picture) -> None:
    for seed in range(3):
        save(picture(48, 64, seed), tmp_path / "photos" / f"{'abc'[seed]}.png")
    words = ["study", "new", "-o", tmp_path / "study", "--photos", tmp_path / "photos"]
    words += ["--model", tiny_artifact, "--baseline", "unsharp", "--suite", "sharp"]
    succeed(*words, "--protocol", "pairs", "--crop", "none")
    plan = read_plan(tmp_path / "study")
    assert plan.methods == ("tiny", "unsharp")
    assert plan.conditions == ("degraded", "tiny", "unsharp")
    name = picture_name(plan.secret, plan.scenes[0], "unsharp")
    assert pixels(tmp_path / "study" / PICTURES / name).shape == (48, 64, 3)


WRONG = {
    "new -o out": "either --triplets DIR, or --model",
    "new -o out --triplets in --model small": "either --triplets DIR, or --model",
    "new -o out --triplets absent": "no folder degraded",
    "new -o in --triplets in": "name a folder that does not exist yet",
    "new -o out --triplets in --protocol vote": "choose one of: acr, dcr, pairs",
    "new -o out --triplets in --scale stars": "choose one of: founding, quality, impairment",
    "new -o out --triplets in --crop big": "such as 480x360",
    "new -o out --triplets in --crop ²x3": "such as 480x360",
    "new -o out --triplets in --scenes-each 9": "change --scenes-each",
    "new -o out --triplets in --consent absent.txt": "give a file in UTF-8",
    "new -o out --triplets lame": "scene-0 is in degraded or in beta, not in both",
    "new -o out --baseline magic": "choose from: identity, unsharp",
    "new -o out --baseline cas --suite nope": "choose one of: shake-srgb",
    "analyse absent": "name a folder that `whet study new` wrote",
    "analyse damaged": "build it anew",
}


@pytest.mark.parametrize("words", WRONG)
def test_errors_are_one_line_that_names_the_remedy(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_triplets(Path("in"), 2)
    (save_triplets(Path("lame"), 2) / "restored" / "beta" / "scene-0.png").unlink()
    save(np.zeros((4, 4, 3), np.uint8), Path("damaged/x.png"))
    Path("damaged/study.json").write_text('{"version": 1}')
    before = sorted(tmp_path.rglob("*"))
    outcome = whet("study", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert WRONG[words] in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_design_is_rehearsed_made_up_or_from_a_folder(tmp_path: Path) -> None:
    few = ("--raters", 8, "--studies", 1)
    made_up = succeed("study", "rehearse", "--scenes", 3, "--methods", 1, *few)
    assert "1 studies, 8 raters (20% careless), 9 trials each" in made_up
    build(stimuli(3), tmp_path / "study", Settings())
    assert "8 trials each" in succeed("study", "rehearse", tmp_path / "study", *few)
