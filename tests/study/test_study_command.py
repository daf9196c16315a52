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
from whet.study.design import Rating, completion, picture_name, picture_path, session
from whet.study.plan import DEGRADED, PICTURES, RUINED, SHARP, Plan, read_plan
from whet.study.statistics.simulate import Panel, draw_truth, simulate
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
    "new -o out --triplets in --scale founding": "or take the protocol dcr",
    "new -o out --triplets in --protocol pairs --scale quality": "the answer is left or right",
    "new -o out --triplets in --external a&b": "use letters, digits and _",
    "new -o out --triplets in --crop big": "such as 480x360",
    "new -o out --triplets in --crop ²x3": "such as 480x360",
    "new -o out --triplets in --scenes-each 9": "can rate 1 to 1 scenes, not 9",
    "new -o out --triplets in --instructions absent.txt": "give a file in UTF-8",
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


@pytest.mark.parametrize(
    ("protocol", "worst", "best", "title"),
    [
        ("acr", "bad", "excellent", "How good are these pictures?"),
        ("dcr", "barely improved", "very close to the sharp image", "Before, after"),
        ("pairs", None, None, "Which pictures look better?"),
    ],
)
def test_what_is_asked_can_be_answered_by_what_is_shown(
    protocol: str, worst: str | None, best: str | None, title: str, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    succeed("study", "new", "-o", folder, "--triplets", save_triplets(tmp_path / "in"),
            "--crop", "none", "--protocol", protocol)  # fmt: skip
    plan = read_plan(folder)
    assert (plan.scale[:1], plan.scale[-1:]) == (((worst,), (best,)) if worst else ((), ()))
    assert plan.title.startswith(title)
    view = session(plan, 0)[0].view(plan)
    # Only who sees the picture before can say how much better it became.
    improving = ("improve", "restored", "before", "original")
    words = " ".join([view.question, plan.title, *(label for _, label in view.answers)]).lower()
    if "degraded" not in view.slots:
        assert not [word for word in improving if word in words]


def test_a_study_asks_and_tells_in_its_own_words(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (tmp_path / "how.txt").write_text("Sit an arm's length away.\n")
    words = ["study", "new", "-o", folder, "--triplets", save_triplets(tmp_path / "in"), "--crop"]
    words += ["none", "--question", "How sharp is it?", "--instructions", tmp_path / "how.txt"]
    succeed(*words, "--external", "PID", "--completion", "C0DE")
    plan = read_plan(folder)
    assert session(plan, 0)[0].view(plan).question == "How sharp is it?"
    assert plan.instructions == "Sit an arm's length away."
    assert (plan.external, completion(plan, 3)) == ("PID", "C0DE")
    assert "the number under which your panel sent you" in plan.consent


def take_part(store: Store, plan: Plan, ratings: list[Rating], answers: dict[int, int]) -> None:
    """Let each participant give as many of their ratings as ``answers`` says."""
    tokens = {number: store.join(plan.id, f"panel-{number}") for number in answers}
    for number, token in tokens.items():
        store.begin(token, consented=True, display_ok=True)
        own = [rating for rating in ratings if rating.participant == number]
        for rating in own[: answers[number]]:
            trial = store.next_trial(token)
            assert trial is not None
            store.rate(token, trial.id, rating.answer, 500 if number == 2 else 2500)
    store.withdraw(tokens[4])


def test_status_and_results_give_everybodys_place_and_every_reason(tmp_path: Path) -> None:
    plan = build(stimuli(4), tmp_path / "study", Settings(external="PID"))
    store = Store.open(tmp_path / "study")
    store.register(plan)
    total = len(session(plan, 0))
    ratings = simulate(plan, draw_truth(plan, 0), Panel(6), 0)
    take_part(store, plan, ratings, {0: total, 1: total, 2: total, 3: 5, 4: 3, 5: 0})
    store.close()
    people = json.loads(succeed("study", "status", tmp_path / "study", "--json"))
    states = ["finished"] * 3 + ["under way", "withdrawn", "under way"]
    assert [one["state"] for one in people] == states
    assert [one["external"] for one in people[:4]] == [f"panel-{n}" for n in range(4)]
    assert [one["completion"] for one in people] == [completion(plan, n) for n in range(3)] + [
        ""
    ] * 3
    assert len({one["completion"] for one in people[:3]}) == 3
    assert people[2]["left_out"].startswith("haste: ")
    assert [one["left_out"] for one in (people[0], people[3], people[4])] == ["", "", "withdrawn"]
    text = succeed("study", "status", tmp_path / "study")
    assert "6 joined: 3 finished, 2 under way, 1 withdrawn; 2 count so far" in text
    result = json.loads(succeed("study", "analyse", tmp_path / "study", "--json"))
    reasons = [rater["rejected"].partition(":")[0] for rater in result["raters"]]
    assert reasons == ["", "", "haste", "unfinished", "withdrawn", "unfinished"]
    document = (tmp_path / "study" / "results" / "results.md").read_text()
    assert "2 of 6 participants" in document
    assert "- participant 5: unfinished: no answer" in document


def test_too_few_participants_are_named_with_their_reasons(tmp_path: Path) -> None:
    plan = build(stimuli(4), tmp_path / "study", Settings(external="PID"))
    store = Store.open(tmp_path / "study")
    store.register(plan)
    ratings = simulate(plan, draw_truth(plan, 0), Panel(6), 0)
    take_part(store, plan, ratings, {0: 5, 2: len(session(plan, 0)), 4: 1})
    store.close()
    outcome = whet("study", "analyse", tmp_path / "study")
    assert outcome.code == 2
    for reason in ("participant 0: unfinished", "participant 1: haste", "participant 2: withdrawn"):
        assert reason in outcome.err


def test_a_design_is_rehearsed_made_up_or_from_a_folder(tmp_path: Path) -> None:
    few = ("--raters", 8, "--studies", 1)
    made_up = succeed("study", "rehearse", "--scenes", 3, "--methods", 1, *few)
    assert "1 studies, 8 raters (20% careless), 9 trials each" in made_up
    build(stimuli(3), tmp_path / "study", Settings())
    assert "8 trials each" in succeed("study", "rehearse", tmp_path / "study", *few)
