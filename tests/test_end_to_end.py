"""The whole path, twice, as a user types it: everyday students, and the founding run.

The first story ends on a machine without PyTorch, which a fresh interpreter that
cannot import it stands for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from commandline import (
    MakePicture,
    Outcome,
    load,
    save,
    save_gopro,
    save_photos,
    soften,
    whet,
)
from whet.artifact import read_card
from whet.distill.run import FOUNDING_CLAIMS
from whet.models import TEACHERS
from whet.models.checkpoints import load_state


class Sharpener(nn.Module):
    """Stands for a large teacher: it adds what a small blur takes away."""

    def forward(self, degraded: Tensor) -> Tensor:
        soft = F.avg_pool2d(degraded, 3, 1, 1, count_include_pad=False)
        return 2 * degraded - soft


@pytest.fixture(scope="module")
def stub_teacher() -> Iterator[str]:
    """The name of a teacher that needs no weights."""
    module = types.ModuleType("stub_teacher")
    module.load_teacher = lambda weights: Sharpener()  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "stub_teacher", module)
        patch.setitem(TEACHERS, "stub", "stub_teacher")  # type: ignore[arg-type]
        yield "stub"


# From photographs to a machine without PyTorch


@dataclass(frozen=True)
class Story:
    """What the commands of one story left: folders, and what each said."""

    folder: Path
    said: dict[str, Outcome]


@pytest.fixture(scope="module")
def everyday(
    tmp_path_factory: pytest.TempPathFactory, picture: MakePicture, stub_teacher: str
) -> Story:
    """Photographs -> bank -> student, stopped once and resumed -> model file."""
    folder = tmp_path_factory.mktemp("everyday")
    photos = save_photos(folder / "photos", picture, ["quay", "moor", "barn", "gorge"])
    said = {}
    said["make"] = whet(
        *("data", "make", "-o", folder / "bank", "--photos", photos, "--crops", 8),
        *("--crop", 48, "--teacher", stub_teacher, "--mix", "bicubic-x2=1"),
    )
    tiny = ("student=nano", "steps=12", "batch=2", "crop=32", "learning_rate=5e-3", "ema=0")
    tiny += ("warmup_steps=0", "validate_every=6", "log_every=1", "compile=false")
    words = ["distill", "nano", "--bank", folder / "bank", "--photos", photos, "--pictures", 2]
    words += ["-o", folder / "run", *(w for setting in tiny for w in ("--set", setting))]
    said["stopped"] = whet(*words, "--max-minutes", 0)
    said["again"] = whet(*words)
    said["resumed"] = whet(*words, "--resume", "--json")
    said["export"] = whet(
        "export", folder / "run" / "student.safetensors", "-o", folder / "mine.onnx"
    )
    return Story(folder, said)


def test_bank_holds_what_the_teacher_made(everyday: Story) -> None:
    assert everyday.said["make"].code == 0, everyday.said["make"].err
    settings = json.loads((everyday.folder / "bank" / "bank.json").read_text())
    assert settings["teacher"] == "stub"
    shard = load_state(everyday.folder / "bank" / "shard-00000.safetensors")
    degraded = shard["degraded"].float() / 255
    expected = (Sharpener()(degraded).clamp(0, 1) * 255).round()
    assert torch.equal(shard["teacher"].float(), expected)
    assert not torch.equal(shard["teacher"], shard["degraded"])


def test_a_stopped_run_is_not_begun_anew_but_resumed(everyday: Story) -> None:
    stopped, again, resumed = (everyday.said[k] for k in ("stopped", "again", "resumed"))
    assert stopped.code == 0, stopped.err
    assert "stopped by its time limit; continue with --resume" in stopped.out
    assert again.code == 2
    assert "add --resume, or name another with -o" in again.err
    assert resumed.code == 0, resumed.err
    summary = json.loads(resumed.out)
    assert summary["finished"]
    log = (everyday.folder / "run" / "history.jsonl").read_text().splitlines()
    steps = [entry["step"] for entry in map(json.loads, log) if "total" in entry]
    assert steps == list(range(1, 13))


def test_the_student_is_scored_on_photographs_it_was_not_trained_on(everyday: Story) -> None:
    summary = json.loads(everyday.said["resumed"].out)
    # Four scenes: one is held out.
    assert len(summary["best"]["gain_db"]) == 1
    # A fresh student of the real-time family returns its input.
    assert summary["first"]["psnr_db"] == summary["first"]["identity_psnr_db"]
    assert summary["best"]["psnr_db"] != summary["first"]["psnr_db"]


def test_the_model_file_knows_what_it_is(everyday: Story) -> None:
    assert everyday.said["export"].code == 0, everyday.said["export"].err
    assert everyday.said["export"].out == f"{everyday.folder / 'mine.onnx'}\n"
    card = read_card(everyday.folder / "mine.onnx")
    assert (card.name, card.architecture, card.precision) == ("mine", "nano", "float32")
    assert card.parity is not None
    assert card.parity <= 1 / 255


WITHOUT_TORCH = """
import json, sys
for module in ("torch", "torchvision", "accelerate", "safetensors", "onnxscript"):
    sys.modules[module] = None  # importing it raises ImportError
from whet.cli.main import main
for words in json.load(sys.stdin):
    sys.argv = ["whet", *words]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    print("code", code, flush=True)
"""


@pytest.fixture(scope="module")
def counter(everyday: Story, picture: MakePicture) -> tuple[Path, Outcome]:
    """A folder, and what commands print there in an interpreter without PyTorch."""
    folder = everyday.folder / "counter"
    sharp = picture(70, 90, 7)
    save(sharp, folder / "pairs" / "sharp" / "kite.png")
    save(soften(sharp), folder / "pairs" / "blur" / "kite.png")
    save(soften(sharp), folder / "soft.png")
    model = str(everyday.folder / "mine.onnx")
    commands = [
        ["image", "soft.png", "-o", "restored.png", "--model", model],
        ["data", "check", "pairs"],
        ["evaluate", "--pairs", "pairs", "--model", model, "-o", "report"],
        ["distill", "quick", "--pairs", "pairs"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return folder, Outcome(done.returncode, done.stdout, done.stderr)


def test_a_picture_is_sharpened_without_torch(counter: tuple[Path, Outcome]) -> None:
    folder, outcome = counter
    assert outcome.out.startswith("restored.png\ncode 0\n"), outcome.err
    before, after = load(folder / "soft.png"), load(folder / "restored.png")
    assert after.shape == before.shape == (70, 90, 3)
    assert not np.array_equal(after, before)
    assert np.abs(after.astype(int) - before).mean() < 20


def test_data_are_checked_and_models_scored_without_torch(counter: tuple[Path, Outcome]) -> None:
    folder, outcome = counter
    codes = [line for line in outcome.out.splitlines() if line.startswith("code ")]
    assert codes == ["code 0", "code 0", "code 0", "code 2"], outcome.err
    assert "| mine |" in (folder / "report" / "report.md").read_text(encoding="utf-8")


def test_what_needs_torch_says_how_to_install_it(counter: tuple[Path, Outcome]) -> None:
    _, outcome = counter
    assert "whet: torch is not installed; run: pip install 'whet-sharpen[train]'" in outcome.err
    assert "Traceback" not in outcome.err


# The founding run


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> Story:
    """GoPro in small -> founding student -> float and int8 files -> pictures and scores."""
    folder = tmp_path_factory.mktemp("founding")
    save_gopro(folder / "GoPro_Large", picture)
    photos = save_photos(folder / "photos", picture, ["quay", "moor", "barn"], side=40)
    tiny = ("steps=3", "crop=32", "resize_px=32", "losses.perceptual=0", "losses.distillation=0")
    said = {}
    said["distill"] = whet(
        *("distill", "founding", "--pairs", f"gopro:{folder / 'GoPro_Large'}"),
        *("-o", folder / "run", *(w for setting in tiny for w in ("--set", setting))),
    )
    said["export"] = whet(
        *("export", folder / "run" / "student.safetensors", "-o", folder / "dncnn.onnx"),
        *("--int8", "--photos", photos),
    )
    soft = folder / "GoPro_Large" / "test" / "GOPR0003" / "blur" / "000001.png"
    models = [folder / "dncnn.onnx", folder / "dncnn-int8.onnx"]
    said["image"] = whet("image", soft, "-o", folder / "restored.png", "--model", models[1])
    said["evaluate"] = whet(
        *("evaluate", "--model", models[0], "--model", models[1], "--photos", photos),
        *("--pairs", f"gopro:{folder / 'GoPro_Large'}", "--limit", 2),
        *("--suite", "bicubic-x2", "-o", folder / "report", "--json"),
    )
    return Story(folder, said)


def test_founding_summary_stands_beside_the_claims(founding: Story) -> None:
    outcome = founding.said["distill"]
    assert outcome.code == 0, outcome.err
    assert "on pictures squeezed to 32 px (claimed in brackets):" in outcome.out
    last = outcome.out.splitlines()[-1]
    for unit, claim in FOUNDING_CLAIMS.items():
        assert unit in last
        assert f"({claim})" in last
    # 559,363 weights of 4 bytes, not the 0.7 MB that were claimed.
    assert "2.24 MB (0.7)" in last


def test_founding_student_keeps_the_names_of_the_notebook(founding: Story) -> None:
    state = load_state(founding.folder / "run" / "student.safetensors")
    assert {key.split(".")[0] for key in state} == {"dncnn"}
    assert state["dncnn.0.weight"].shape == (64, 3, 3, 3)


def test_founding_student_is_exported_in_both_precisions(founding: Story) -> None:
    outcome = founding.said["export"]
    assert outcome.code == 0, outcome.err
    paths = [Path(line) for line in outcome.out.splitlines()]
    assert paths == [founding.folder / "dncnn.onnx", founding.folder / "dncnn-int8.onnx"]
    single, int8 = map(read_card, paths)
    assert (single.architecture, single.precision) == ("dncnn", "float32")
    assert (int8.architecture, int8.precision) == ("dncnn", "int8")
    assert int8.float_sha256 == single.weights_sha256
    assert int8.int8_drop_db is not None
    assert int8.int8_drop_db <= 0.1


def test_founding_student_sharpens_a_picture(founding: Story) -> None:
    assert founding.said["image"].code == 0, founding.said["image"].err
    soft = load(founding.folder / "GoPro_Large" / "test" / "GOPR0003" / "blur" / "000001.png")
    assert load(founding.folder / "restored.png").shape == soft.shape


def test_founding_student_is_scored_beside_doing_nothing(founding: Story) -> None:
    outcome = founding.said["evaluate"]
    assert outcome.code == 0, outcome.err
    report = founding.folder / "report"
    written = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert json.loads(outcome.out) == written
    assert [suite["name"] for suite in written["suites"]] == ["GoPro_Large, test", "bicubic-x2"]
    for suite in written["suites"]:
        names = [row["restorer"] for row in suite["rows"]]
        assert names == ["identity", "dncnn", "dncnn-int8", "unsharp", "cas", "best-mask"]
        assert len(suite["pictures"]) == 2
    assert "| identity |" in (report / "report.md").read_text(encoding="utf-8")
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "identity" in page
    assert "dncnn-int8" in page


def test_scores_of_the_report_are_those_of_the_files(founding: Story) -> None:
    from whet.metrics import psnr

    report = json.loads((founding.folder / "report" / "report.json").read_text(encoding="utf-8"))
    suite = report["suites"][0]
    for number, picture in enumerate(suite["pictures"]):
        sequence, frame = picture["name"].split("/")
        (found,) = founding.folder.glob(f"GoPro_Large/*/{sequence}")
        soft, sharp = (load(found / kind / f"{frame}.png") for kind in ("blur", "sharp"))
        assert suite["rows"][0]["values"]["psnr"][number] == pytest.approx(psnr(soft, sharp))


def test_a_wrong_model_file_is_refused_everywhere(founding: Story) -> None:
    soft = founding.folder / "GoPro_Large" / "test" / "GOPR0003" / "blur" / "000001.png"
    wrong = founding.folder / "wrong.onnx"  # by its own name a checkpoint may be opened by torch
    wrong.write_bytes((founding.folder / "run" / "student.safetensors").read_bytes())
    for words in (["image", soft, "--model"], ["models"], ["evaluate", "--model"]):
        outcome = whet(*words, wrong)
        assert outcome.code == 2
        assert "not an ONNX file" in outcome.err
