"""Students, teachers, losses and metrics that a user's own file defines keep the same contracts."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import MakePicture, save_photos
from commandline import whet as run_whet
from whet.artifact import read_card
from whet.distill.losses import LOSSES, LossInputs
from whet.distill.recipes import RECIPES, override
from whet.errors import InputError
from whet.evaluate.metrics import MEASURES, chosen
from whet.models import MODELS, TEACHERS, build, build_teacher
from whet.models.cost import measure

OWN = """
import numpy as np
from torch import nn
from whet.artifact import read_card
from whet.distill.losses import Loss
from whet.metrics import Metric
from whet.models import ModelSpec

SPEC = ModelSpec("mine", __name__, 1, 1, 0.081, (), "a single convolution")


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.change = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, degraded):
        return degraded + self.change(degraded)

    def fuse(self):
        return self.eval()


def build(name):
    return Mine()


class Brighter(nn.Module):
    def forward(self, degraded):
        return (degraded + 0.125).clamp(0, 1)


def load_teacher(weights, **options):
    return Brighter()


SQUARES = Loss(lambda i: (i.restored - i.sharp).square().mean())
WORST = Metric(lambda a, b: float(np.abs(a.astype(int) - b).max()), "worst", "", False, 0)
NOTHING = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return str(path)


def test_an_own_student_keeps_the_contract(own: str) -> None:
    name = f"{own}:SPEC"
    spec, network = MODELS[name], build(name)
    assert (spec.name, spec.halo, spec.multiple) == ("mine", 1, 1)
    image = torch.rand(2, 3, 9, 11)
    assert network(image).shape == image.shape
    network(image).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert measure(deepcopy(network), 32).kmac_per_px == pytest.approx(spec.kmac_per_px)
    assert override(RECIPES["quick"], {"student": name}).student == name
    assert not [known for known in MODELS if ".py" in known]


def test_an_own_teacher_a_loss_and_a_metric_are_found(own: str) -> None:
    teacher = build_teacher(f"{own}:load_teacher")
    assert teacher(torch.zeros(1, 3, 4, 4)).max() == 0.125
    assert not teacher.training
    pixels = torch.full((1, 3, 4, 4), 0.5)
    inputs = LossInputs(restored=pixels, sharp=pixels - 0.5, degraded=pixels)
    assert LOSSES[f"{own}:SQUARES"].compute(inputs).item() == 0.25
    found = chosen([f"{own}:WORST"])[f"{own}:WORST"]
    low, high = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 7, np.uint8)
    assert found.function(high, low) == 7
    settings = {"teacher": f"{own}:load_teacher", f"losses.{own}:SQUARES": "0.5"}
    recipe = override(RECIPES["quick"], settings)
    assert recipe.losses[f"{own}:SQUARES"] == 0.5


@pytest.mark.parametrize("name", ["SPEK", "NOTHING", "WORST"])
def test_what_a_file_does_not_define_is_said(name: str, own: str) -> None:
    with pytest.raises(InputError, match=r"is no ModelSpec; define it in .*mine\.py"):
        MODELS[f"{own}:{name}"]
    with pytest.raises(InputError, match="is no function load_teacher"):
        TEACHERS[f"{own}:{name}"]


def test_a_file_that_is_missing_or_broken_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        override(RECIPES["quick"], {"student": f"{tmp_path / 'none.py'}:SPEC"})
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(InputError, match="cannot be run: ZeroDivisionError"):
        build(f"{tmp_path / 'broken.py'}:SPEC")


def test_a_changed_file_is_run_again(own: str) -> None:
    first = MEASURES[f"{own}:WORST"]
    assert MEASURES[f"{own}:WORST"] is first
    Path(own).write_text(OWN.replace('"worst"', '"largest"'))
    assert MEASURES[f"{own}:WORST"].label == "largest"


def test_an_own_student_is_distilled_and_exported(
    own: str, picture: MakePicture, tmp_path: Path
) -> None:
    photos = save_photos(tmp_path / "photos", picture, ("hut", "oak", "sea"))
    tiny = ("steps=2", "crop=16", "batch=2", "log_every=1", "validate_every=2", "teacher=")
    loss = ("losses.trusted=0", "losses.level=0", f"losses.{own}:SQUARES=1", "ema=0")
    sets = [
        word for setting in (f"student={own}:SPEC", *tiny, *loss) for word in ("--set", setting)
    ]
    run = tmp_path / "run"
    outcome = run_whet("distill", "nano", "--photos", photos, "-o", run, *sets)
    assert outcome.code == 0, outcome.err
    target, weights = tmp_path / "mine.onnx", run / "student.safetensors"
    outcome = run_whet("export", weights, "-o", target, "--student", f"{own}:SPEC")
    assert outcome.code == 0, outcome.err
    assert read_card(target).architecture == "mine"
