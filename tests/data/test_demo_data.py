"""The photographs that come with whet: what they must be for the demo to be honest."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from whet.data import demo
from whet.data.demo import CROPS, HELD_OUT, demo_bank, held_out_photos
from whet.errors import DataError
from whet.image import read
from whet.metrics import psnr

FOLDER = CROPS.parent
STRIPS = sorted(CROPS.glob("*.webp"))


def squares(path: Path) -> list[NDArray[np.uint8]]:
    """Return sharp, degraded and teacher's output of a strip."""
    pixels = read(path).pixels
    side = pixels.shape[1]
    return [pixels[i * side : (i + 1) * side] for i in range(3)]


def test_every_strip_is_three_equal_squares() -> None:
    assert len(STRIPS) >= 24
    for path in STRIPS:
        height, width, channels = read(path).pixels.shape
        assert (height, channels) == (3 * width, 3), path.name


def test_degraded_and_sharp_differ_and_show_the_same_thing() -> None:
    for path in STRIPS:
        sharp, degraded, _ = squares(path)
        assert 12 < psnr(degraded, sharp) < 55, path.name


def test_teacher_comes_closer_to_the_sharp_crop_than_the_degraded_one_is() -> None:
    gains_db, errors = [], []
    for path in STRIPS:
        sharp, degraded, teacher = (part.astype(np.float64) for part in squares(path))
        gains_db.append(psnr(teacher, sharp) - psnr(degraded, sharp))
        errors.append([np.mean((part - sharp) ** 2) for part in (degraded, teacher)])
    assert np.mean(gains_db) > 0
    before, after = np.mean(errors, axis=0)
    assert after < 0.95 * before


def test_bank_holds_every_strip_in_its_role() -> None:
    bank = demo_bank()
    assert len(bank) == bank.taught_count == len(STRIPS)
    sharp, degraded, teacher = squares(STRIPS[0])
    side = sharp.shape[0]
    seen = set()
    for step in range(len(STRIPS)):
        batch = bank.batch(0, step, 1, side)
        assert batch.teacher is not None
        # Crops are flipped and turned: histograms are not.
        triple = [
            np.bincount((image * 255).round().byte().numpy().ravel(), minlength=256).tobytes()
            for image in (batch.sharp, batch.degraded, batch.teacher)
        ]
        seen.add(tuple(triple))
    expected = [np.bincount(s.ravel(), minlength=256).tobytes() for s in (sharp, degraded, teacher)]
    assert tuple(expected) in seen
    assert len(seen) == len(STRIPS)


def test_held_out_photographs_are_whole_and_of_other_scenes() -> None:
    photos = held_out_photos()
    assert len(photos) >= 6
    scenes = {re.sub(r"-\d+$", "", path.stem) for path in STRIPS}
    assert not scenes & {path.stem for path in photos}
    for path in photos:
        height, width = read(path).pixels.shape[:2]
        assert height * width > 500_000, path.name


def test_held_out_photographs_are_what_suites_score() -> None:
    from whet.evaluate.suites import opening

    assert opening.HELD_OUT == HELD_OUT


def test_every_file_is_listed_with_its_licence() -> None:
    text = (FOLDER / "LICENSES.md").read_text(encoding="utf-8")
    assert "CC0-1.0" in text
    patterns = re.findall(r"^\| ([\w*./-]+) \| \S", text, re.MULTILINE)
    files = [p for p in FOLDER.rglob("*") if p.is_file() and p.name != "LICENSES.md"]
    unlisted = [p for p in files if not any(p.match(pattern) for pattern in patterns)]
    assert unlisted == []
    assert [row for row in patterns if "." in row and not list(FOLDER.glob(row))] == []


def test_it_all_stays_below_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 6_000_000


def test_a_copy_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CROPS", tmp_path)
    monkeypatch.setattr(demo, "HELD_OUT", tmp_path)
    with pytest.raises(DataError, match="install it again"):
        demo_bank()
    with pytest.raises(DataError, match="install it again"):
        held_out_photos()
