"""The demo: from what comes with whet to a student, a report and sharpened pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import Outcome, load, whet
from whet.artifact import read_card
from whet.cli import demo
from whet.data.demo import CROPS, held_out_photos
from whet.image import read

STEPS = 12


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The folder that a very short demo fills, and what it prints."""
    folder = tmp_path_factory.mktemp("demo") / "results"
    # The middle of every photograph: scoring 0.9 megapixels takes longer than a few steps.
    middles = tmp_path_factory.mktemp("middles")
    for path in held_out_photos():
        pixels = read(path).pixels
        top, left = (side // 2 - 128 for side in pixels.shape[:2])
        middle = Image.fromarray(pixels[top : top + 256, left : left + 256])
        middle.save(middles / path.name, lossless=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whet.data.demo.HELD_OUT", middles)
        patch.setattr("whet.evaluate.suites.opening.HELD_OUT", middles)
        patch.setattr(demo, "_PICTURES", 2)
        outcome = whet("demo", "-o", folder, "--steps", STEPS, "--no-open")
    assert outcome.code == 0, outcome.err
    return folder, outcome


def test_demo_prints_where_the_report_is(results: tuple[Path, Outcome]) -> None:
    folder, outcome = results
    assert outcome.out == f"report: {folder / 'report.html'}\n"


def test_report_holds_table_pictures_and_curve(results: tuple[Path, Outcome]) -> None:
    page = (results[0] / "report.html").read_text(encoding="utf-8")
    for name in ("identity", "distilled now", "untrained", "unsharp"):
        assert name in page
    for suite in demo._SUITES:
        assert suite in page
    assert 'src="data:image/' in page
    assert "Training" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_demo_says_what_was_gained_on_every_suite(results: tuple[Path, Outcome]) -> None:
    lines = results[1].err.splitlines()
    for suite in demo._SUITES:
        (line,) = [line for line in lines if line.startswith(f"{suite}:")]
        before, now, gain = map(float, re.findall(r"([+-]?\d+\.\d\d) dB", line)[:3])
        assert now - before == pytest.approx(gain, abs=0.011)


def test_demo_exports_the_student_it_trained(results: tuple[Path, Outcome]) -> None:
    folder, _ = results
    log = (folder / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log if "total" in line] == [STEPS]
    trained, untrained = (read_card(folder / f"{n}.onnx") for n in ("student", "untrained"))
    assert trained.architecture == untrained.architecture == "nano"
    assert trained.weights_sha256 != untrained.weights_sha256


def test_demo_sharpens_pictures_and_shows_them_side_by_side(results: tuple[Path, Outcome]) -> None:
    folder, _ = results
    degraded = sorted(path.name for path in (folder / "pictures").iterdir())
    assert len(degraded) == 3
    for name in degraded:
        before = load(folder / "pictures" / name)
        after = load(folder / "sharpened" / name)
        assert after.shape == before.shape
        assert not np.array_equal(after, before)
        compared = folder / "sharpened" / f"{Path(name).stem}-compare.png"
        assert load(compared).shape[1] > 1.9 * before.shape[1]


def test_demo_degrades_photographs_of_scenes_it_does_not_train_on(
    results: tuple[Path, Outcome],
) -> None:
    trained_on = {re.sub(r"-\d+$", "", path.stem) for path in CROPS.glob("*.webp")}
    held_out = {path.stem for path in held_out_photos()}
    for path in (results[0] / "pictures").iterdir():
        assert any(path.stem.startswith(scene) for scene in held_out)
        assert not any(path.stem.startswith(scene) for scene in trained_on)


def test_demo_refuses_a_folder_that_is_in_use(results: tuple[Path, Outcome]) -> None:
    outcome = whet("demo", "-o", results[0], "--no-open")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "is not an empty folder; name another one with -o" in line
