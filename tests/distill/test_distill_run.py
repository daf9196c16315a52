"""One run from names and folders: what is refused before any work, and what the summary says."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from commandline import MakePicture, save_gopro, save_photos
from whet.distill.inputs import TrainingInputs
from whet.distill.recipes import RECIPES, Stage
from whet.distill.record import RECORD
from whet.distill.run import RunSummary, run_recipe
from whet.distill.validate import Scores
from whet.errors import InputError, ModelError
from whet.models import TEACHERS, build

TINY = replace(
    RECIPES["quick"],
    losses={"pixel": 1.0},
    mix={"bicubic-x2": 1.0},
    stages=(Stage(0.0, 16, 2),),
    steps=2,
    validate_every=1,
    log_every=1,
)

SCORES = Scores(30.0, 0.9, 28.5, 0.85, {"shake-srgb": 1.75, "object": -0.25})


def summary(**changes: object) -> RunSummary:
    plain = RunSummary(RECIPES["quick"], Path("runs/q"), SCORES, SCORES, True, 90.0, 8.0, 50.0, 4)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def calls() -> Iterator[list[int]]:
    """Batch sizes that a stub teacher was asked to restore; its name is "counting"."""
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, degraded: Tensor) -> Tensor:
            seen.append(len(degraded))
            return degraded

    module = types.ModuleType("counting_teacher")
    module.load_teacher = lambda weights: Counting()  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "counting_teacher", module)
        patch.setitem(TEACHERS, "counting", "counting_teacher")  # type: ignore[arg-type]
        yield seen


def photos(folder: Path, picture: MakePicture) -> Path:
    return save_photos(folder, picture, ["quay", "moor", "barn"], side=40)


def test_a_run_leaves_its_student_and_says_how_it_went(
    tmp_path: Path, picture: MakePicture
) -> None:
    steps: list[int] = []
    result = run_recipe(
        TINY,
        TrainingInputs(photos(tmp_path / "photos", picture), pictures=1),
        tmp_path / "run",
        on_step=lambda progress: steps.append(progress.step),
    )
    assert (tmp_path / "run" / "student.safetensors").is_file()
    assert result.finished
    assert steps == [1, 2]
    assert result.first is not None
    assert result.best is not None
    assert result.fps > 0
    weights = result.model_bytes / 4
    assert weights == sum(p.numel() for p in build("nano").parameters())
    assert json.loads(json.dumps(result.to_json()))["folder"] == str(tmp_path / "run")
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    assert (record["status"], record["step"]) == ("finished", 2)
    assert record["recipe"]["losses"] == {"pixel": 1.0}
    assert record["best"]["psnr_db"] == result.best.psnr_db
    assert str(tmp_path) not in json.dumps(record)


def test_a_run_that_fails_says_so_in_its_record(tmp_path: Path, picture: MakePicture) -> None:
    inputs = TrainingInputs(photos(tmp_path / "photos", picture), pictures=0)
    with pytest.raises(ModelError, match="no longer finite"):
        run_recipe(replace(TINY, losses={"pixel": math.inf}), inputs, tmp_path / "run")
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    assert record["status"] == "failed"
    assert "no longer finite" in record["reason"]


def test_the_teacher_runs_beside_the_student_only_where_a_loss_needs_it(
    tmp_path: Path, picture: MakePicture, calls: list[int]
) -> None:
    inputs = TrainingInputs(photos(tmp_path / "photos", picture), pictures=0)
    recipe = replace(TINY, teacher="counting")
    run_recipe(recipe, inputs, tmp_path / "without")
    assert calls == []
    taught = replace(recipe, losses={"pixel": 1.0, "distillation": 0.2})
    run_recipe(taught, inputs, tmp_path / "with")
    assert calls == [2, 2]


def test_threads_are_those_asked_for(tmp_path: Path, picture: MakePicture) -> None:
    before = torch.get_num_threads()
    try:
        inputs = TrainingInputs(photos(tmp_path / "photos", picture), pictures=0)
        run_recipe(replace(TINY, steps=1), inputs, tmp_path / "run", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_run_that_exists_is_refused_before_pictures_are_read(tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_text('{"file": "checkpoint-00000001.pt", "sha256": ""}')
    with pytest.raises(InputError, match="add --resume, or name another with -o"):
        run_recipe(TINY, TrainingInputs(tmp_path / "absent"), tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is a file; name a folder"):
        run_recipe(TINY, TrainingInputs(tmp_path / "absent"), tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


def test_missing_vgg_weights_are_named_before_the_run(
    tmp_path: Path, picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    recipe = replace(TINY, losses={"pixel": 1.0, "perceptual-sharp": 0.1})
    with pytest.raises(ModelError, match="whet data fetch vgg16"):
        run_recipe(recipe, TrainingInputs(photos(tmp_path / "photos", picture)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_set_leaves_no_run_behind(tmp_path: Path, picture: MakePicture) -> None:
    root = save_gopro(tmp_path / "GoPro_Large", picture, side=16)
    (root / "train" / "GOPR0001" / "blur" / "000001.png").unlink()
    with pytest.raises(InputError, match=r"000001\.png: no picture 000001"):
        run_recipe(TINY, TrainingInputs(pairs=(("gopro", root),)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_summary_shows_degraded_beside_restored_and_the_gain_of_each_kind() -> None:
    lines = str(summary()).splitlines()
    assert lines[0] == (
        "quick: finished after 1.5 min (8.0 images/s); "
        f"weights in {Path('runs/q/student.safetensors')}"
    )
    assert lines[1:] == [
        "  degraded   28.50 dB  SSIM 0.8500",
        "  restored   30.00 dB  SSIM 0.9000",
        "  gain on shake-srgb: +1.75 dB",
        "  gain on object: -0.25 dB",
    ]


def test_only_squeezed_pictures_are_compared_with_the_claims() -> None:
    assert "claimed" not in str(summary())
    text = str(summary(recipe=RECIPES["founding"], fps=12.34, model_bytes=2_237_452))
    assert "on pictures squeezed to 128 px (claimed in brackets):" in text
    assert text.endswith("SSIM 0.9000 (0.9432), 12.3 FPS here (114.2), 2.24 MB (0.7)")


def test_summary_of_a_stopped_run_says_how_to_continue() -> None:
    text = str(summary(finished=False, best=None))
    assert "stopped by its time limit; continue with --resume" in text
    assert "dB" not in text
