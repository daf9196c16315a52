"""Training: what is learned, what is logged, and that stopping changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from whet.data.bank import CropBank
from whet.degrade.pictures import HeldOut
from whet.distill.recipes import RECIPES, Recipe, Stage, override
from whet.distill.training import checkpoint, loop, pace, resuming
from whet.distill.training.loop import HISTORY, fit
from whet.distill.training.optimizers import OPTIMIZERS
from whet.distill.training.schedule import learning_rate
from whet.errors import InputError, ModelError

TINY = replace(
    RECIPES["quick"],
    losses={"pixel": 1.0, "distillation": 0.2},
    stages=(Stage(0.0, 32, 4), Stage(0.5, 48, 2)),
    steps=12,
    warmup_steps=2,
    log_every=1,
    validate_every=6,
    checkpoint_every=4,
)


def soft_bank(count: int = 8, side: int = 48) -> CropBank:
    """Checkered patterns and their softened copies: something a network can learn to undo."""
    torch.manual_seed(0)
    coarse = torch.rand(count, 3, side // 6, side // 6)
    sharp = torch.nn.functional.interpolate(coarse, scale_factor=6)
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    as_bytes = [(x * 255).round().to(torch.uint8) for x in (sharp, soft)]
    return CropBank(as_bytes[0], as_bytes[1], as_bytes[0], range(count))


def held_out() -> list[HeldOut]:
    batch = soft_bank().batch(99, 0, 2, 48)

    def picture(x: torch.Tensor) -> np.ndarray:
        return (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()

    return [
        HeldOut(str(i), "soft", picture(batch.degraded[i]), picture(batch.sharp[i]))
        for i in range(2)
    ]


def losses(history: list[dict[str, object]]) -> dict[object, object]:
    return {entry["step"]: entry["total"] for entry in history if "total" in entry}


def test_training_beats_the_degraded_pictures(tmp_path: Path) -> None:
    recipe = replace(TINY, steps=150, losses={"pixel": 1.0}, validate_every=50)
    result = fit(recipe, soft_bank(), held_out(), tmp_path)
    assert result.first is not None
    assert result.best is not None
    # An untrained nano is the identity.
    assert result.first.psnr_db == result.first.identity_psnr_db
    assert result.best.psnr_db > result.first.psnr_db + 0.3
    assert result.best.gain_db["soft"] == pytest.approx(
        result.best.psnr_db - result.best.identity_psnr_db
    )
    assert result.finished


def test_best_weights_are_returned_and_written(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    result = fit(TINY, soft_bank(), held_out(), tmp_path)
    written = load_file(tmp_path / "student.safetensors")
    assert all(torch.equal(written[k], v) for k, v in result.student.state_dict().items())


def test_every_loss_term_and_validation_is_logged(tmp_path: Path) -> None:
    fit(TINY, soft_bank(), held_out(), tmp_path)
    entries = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    steps = [e for e in entries if "total" in e]
    assert [e["step"] for e in steps] == list(range(1, 13))
    assert {"pixel", "distillation", "learning_rate"} <= set(steps[0])
    assert [e["step"] for e in entries if "validation" in e] == [6, 12]
    events = list((tmp_path / "tensorboard").glob("events.*"))
    assert b"loss/distillation" in events[0].read_bytes()


def test_same_seed_gives_same_losses_and_another_seed_others(tmp_path: Path) -> None:
    first = losses(fit(TINY, soft_bank(), [], tmp_path / "a").history)
    assert losses(fit(TINY, soft_bank(), [], tmp_path / "b").history) == first
    assert losses(fit(replace(TINY, seed=1), soft_bank(), [], tmp_path / "c").history) != first


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_stopped_by_its_time_limit_resumes_to_the_same_losses(
    tmp_path: Path, optimizer: str
) -> None:
    recipe = replace(TINY, optimizer=optimizer)
    whole = losses(fit(recipe, soft_bank(), held_out(), tmp_path / "whole").history)
    stopped = fit(recipe, soft_bank(), held_out(), tmp_path / "parts", max_minutes=0)
    assert not stopped.finished
    result = fit(recipe, soft_bank(), held_out(), tmp_path / "parts", resume=True)
    assert result.finished
    assert losses(result.history) == whole


KILLED = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_loop import TINY, held_out, soft_bank
    from whet.distill.training.loop import fit

    def slow(progress):
        print(progress.step, flush=True)
        time.sleep(0.1)

    fit(TINY, soft_bank(), held_out(), Path({out!r}), on_step=slow)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_run_killed_in_mid_air_resumes_to_the_same_losses(tmp_path: Path) -> None:
    whole = losses(fit(TINY, soft_bank(), held_out(), tmp_path / "whole").history)
    out = tmp_path / "killed"
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 10:  # two steps after the checkpoint of step 8
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.latest(out) == out / "checkpoint-00000008.pt"
    result = fit(TINY, soft_bank(), held_out(), out, resume=True)
    assert losses(result.history) == whole
    steps = [e["step"] for e in result.history if "total" in e]
    assert steps == sorted(set(steps))


def test_starting_over_a_run_needs_saying(tmp_path: Path) -> None:
    fit(TINY, soft_bank(), [], tmp_path)
    with pytest.raises(InputError, match="--resume"):
        fit(TINY, soft_bank(), [], tmp_path)


def test_resuming_with_another_recipe_is_refused(tmp_path: Path) -> None:
    fit(TINY, soft_bank(), [], tmp_path)
    with pytest.raises(ModelError, match="other settings"):
        fit(replace(TINY, learning_rate=0.5), soft_bank(), [], tmp_path, resume=True)


def test_a_run_resumes_across_a_setting_that_is_newer_than_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = losses(fit(TINY, soft_bank(), [], tmp_path / "whole").history)

    def before(recipe: Recipe) -> str:
        known = json.loads(resuming.fingerprint(recipe))
        for newer in ("vgg_every", "identity_start"):
            del known[newer]
        return json.dumps(known)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fingerprint", before)
        stopped = fit(TINY, soft_bank(), [], tmp_path / "old", max_minutes=0)
    assert not stopped.finished
    with pytest.raises(ModelError, match="other settings \\(vgg_every\\)"):
        fit(replace(TINY, vgg_every=2), soft_bank(), [], tmp_path / "old", resume=True)
    result = fit(TINY, soft_bank(), [], tmp_path / "old", resume=True)
    assert losses(result.history) == whole


def test_a_run_goes_on_in_the_precision_that_it_began_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced = pace.Pace("bf16", False)
    monkeypatch.setattr(loop, "choose", lambda *_, **__: reduced)
    fit(TINY, soft_bank(), [], tmp_path / "here", max_minutes=0)
    monkeypatch.setattr(loop, "choose", lambda *_, **__: pace.Pace("float32", False))
    assert fit(TINY, soft_bank(), [], tmp_path / "here", resume=True).pace.precision == "bf16"
    monkeypatch.setattr(loop, "choose", lambda *_, **__: reduced)
    fit(TINY, soft_bank(), [], tmp_path / "there", max_minutes=0)
    monkeypatch.setattr(loop, "machine", lambda: "another")
    monkeypatch.setattr(loop, "choose", lambda *_, **__: pace.Pace("float32", False))
    assert fit(TINY, soft_bank(), [], tmp_path / "there", resume=True).pace.precision == "float32"


def test_speed_is_logged_beside_the_losses(tmp_path: Path) -> None:
    result = fit(TINY, soft_bank(), [], tmp_path)
    for entry in result.history:
        assert entry["mpx_per_s_core"] > 0
        assert 0 < entry["peak_share"] < 1
    assert set(result.speed) == {"mpx_per_s_core", "peak_share"}


def test_a_tampered_checkpoint_is_refused(tmp_path: Path) -> None:
    fit(TINY, soft_bank(), [], tmp_path)
    path = checkpoint.latest(tmp_path)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not the file that was written"):
        fit(TINY, soft_bank(), [], tmp_path, resume=True)


def test_a_failed_checkpoint_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, 1, {"value": torch.ones(3)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ModelError, match="the disk is full"):
        checkpoint.save(tmp_path, 2, {"value": torch.zeros(3)})
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert torch.equal(state["value"], torch.ones(3))
    assert not list(tmp_path.glob("*.part"))


def test_diverging_loss_stops_the_run(tmp_path: Path) -> None:
    recipe = replace(TINY, learning_rate=1e30, warmup_steps=0, clip_norm=0.0, steps=40)
    with pytest.raises(ModelError, match="no longer finite"):
        fit(recipe, soft_bank(), [], tmp_path)


def test_learning_rate_warms_up_and_follows_the_cosine() -> None:
    recipe = replace(TINY, learning_rate=1.0, final_rate=0.0, warmup_steps=10, steps=110)
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 9) == pytest.approx(1.0)
    assert learning_rate(recipe, 60) == pytest.approx(0.5)
    assert learning_rate(recipe, 110) == pytest.approx(0.0)


def test_stages_change_where_they_say() -> None:
    assert TINY.stage_at(5).crop == 32
    assert TINY.stage_at(6).crop == 48


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_complete(name: str) -> None:
    from whet.degrade.registry import DEGRADATIONS
    from whet.distill.losses import LOSSES
    from whet.models import MODELS, TEACHERS

    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.student in MODELS
    assert recipe.teacher in ("", *TEACHERS)
    assert set(recipe.losses) <= set(LOSSES)
    assert set(recipe.mix) <= set(DEGRADATIONS)
    assert not recipe.mix or sum(recipe.mix.values()) == pytest.approx(1.0)
    assert recipe.stages[0].start == 0.0
    multiple = MODELS[recipe.student].multiple
    assert all(stage.crop % multiple == 0 for stage in recipe.stages)


def test_founding_recipe_is_the_founding_run() -> None:
    founding: Recipe = RECIPES["founding"]
    assert (founding.student, founding.teacher) == ("dncnn", "restormer")
    assert founding.stages == (Stage(0.0, 128, 2),)
    assert (founding.resize_px, founding.pair_limit, founding.learning_rate) == (128, 500, 1e-4)
    assert founding.steps == 15 * 500 // 2


def test_settings_override_a_copy() -> None:
    recipe = override(
        RECIPES["nano"],
        {
            "steps": "7",
            "losses.trusted": "0",
            "crop": "64",
            "compile": "false",
            "learning_rate": "1e-4",
        },
    )
    assert (recipe.steps, recipe.losses["trusted"], recipe.compile) == (7, 0.0, False)
    assert recipe.stages == (Stage(0.0, 64, RECIPES["nano"].stages[0].batch),)
    assert RECIPES["nano"].losses["trusted"] != 0.0


def test_stages_are_given_as_text() -> None:
    recipe = override(RECIPES["nano"], {"stages": "0:48x32,0.75:96x8"})
    assert recipe.stages == (Stage(0.0, 48, 32), Stage(0.75, 96, 8))


@pytest.mark.parametrize(
    "setting",
    [
        "stpes=5",
        "steps=many",
        "compile=maybe",
        "losses.edge=x",
        "optimizer=sgd",
        "stages=48x32",
        "stages=0.5:48x32",
        "stages=0:48x32,0:96x8",
        "stages=0:48x32,1:96x8",
        "stages=0:47x32",
    ],
)
def test_wrong_settings_are_named(setting: str) -> None:
    key, value = setting.split("=")
    with pytest.raises(InputError):
        override(RECIPES["nano"], {key: value})
