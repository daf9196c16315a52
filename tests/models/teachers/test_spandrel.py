"""Teachers loaded by spandrel: a stand-in for it here, and the real one where it imports."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from whet.errors import MissingExtraError, ModelError
from whet.models import build_teacher
from whet.models.teachers.spandrel import load_teacher


class Descriptor:
    """Behaves as spandrel documents: one picture, inference mode, clamped."""

    def __init__(self, model: nn.Module, scale: int, inputs: int, outputs: int) -> None:
        self.model = model
        self.scale, self.input_channels, self.output_channels = scale, inputs, outputs
        self.architecture = SimpleNamespace(name="Fake")

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        assert image.shape[0] == 1
        restored: Tensor = self.model(image).clamp_(0, 1)
        return restored


class MaskedDescriptor(Descriptor):
    """What spandrel returns for networks that fill holes; not a subclass of the other there."""


class UnsupportedModelError(Exception):
    pass


@pytest.fixture
def spandrel(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A spandrel that knows one network: a 1x1 convolution. The answer can be changed."""
    answer = SimpleNamespace(scale=1, inputs=3, outputs=3, kind=Descriptor, failure=None)

    class ModelLoader:
        def __init__(self, device: str) -> None:
            assert device == "cpu"

        def load_from_state_dict(self, state: dict[str, Tensor]) -> Descriptor:
            if answer.failure:
                raise answer.failure
            model = nn.Conv2d(3, 3, 1)
            model.load_state_dict(state)
            found: Descriptor = answer.kind(model, answer.scale, answer.inputs, answer.outputs)
            return found

    class ImageDescriptor(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return type(instance) is Descriptor

    module = ModuleType("spandrel")
    contents: dict[str, Any] = {
        "__version__": "0.0",
        "ModelLoader": ModelLoader,
        "UnsupportedModelError": UnsupportedModelError,
        "ImageModelDescriptor": ImageDescriptor("ImageModelDescriptor", (), {}),
    }
    module.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return answer


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"params": nn.Conv2d(3, 3, 1).state_dict()}, tmp_path / "conv.pth")
    return tmp_path / "conv.pth"


def test_batch_is_restored_picture_by_picture(spandrel: SimpleNamespace, weights: Path) -> None:
    teacher = load_teacher(weights)
    network = nn.Conv2d(3, 3, 1)
    network.load_state_dict(torch.load(weights, weights_only=True)["params"])
    x = torch.rand(3, 3, 17, 16)
    with torch.no_grad():
        expected = network(x).clamp(0, 1)
    torch.testing.assert_close(teacher(x), expected)


def test_teacher_is_frozen_and_moves_with_its_weights(
    spandrel: SimpleNamespace, weights: Path
) -> None:
    teacher = build_teacher("spandrel", str(weights)).to(torch.float64)
    assert not teacher.training
    parameters = list(teacher.parameters())
    assert parameters
    assert not any(p.requires_grad for p in parameters)
    assert teacher(torch.rand(1, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


def test_output_can_take_part_in_a_loss(spandrel: SimpleNamespace, weights: Path) -> None:
    student = nn.Conv2d(3, 3, 1)
    x = torch.rand(1, 3, 16, 16)
    nn.functional.mse_loss(student(x), load_teacher(weights)(x)).backward()
    assert student.weight.grad is not None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"scale": 4}, "enlarges 4 times"),
        ({"inputs": 1, "outputs": 1}, "maps 1 to 1 channels"),
        ({"inputs": 4}, "maps 4 to 3 channels"),
        ({"kind": MaskedDescriptor}, "needs more than a picture"),
        ({"failure": UnsupportedModelError("?")}, r"spandrel 0\.0 does not know this network"),
        ({"failure": KeyError("body.0.weight")}, r"cannot build this network \('body\.0\.weight'"),
    ],
)
def test_network_that_cannot_teach_is_refused(
    spandrel: SimpleNamespace, weights: Path, answer: dict[str, Any], message: str
) -> None:
    vars(spandrel).update(answer)
    with pytest.raises(ModelError, match=message):
        load_teacher(weights)


def test_absent_weights_are_asked_for(spandrel: SimpleNamespace) -> None:
    with pytest.raises(ModelError, match="give the path"):
        load_teacher(None)


def test_missing_spandrel_prints_the_install_line(
    monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"pip install 'whet-sharpen\[spandrel\]'"):
        load_teacher(weights)


class Absent:
    """Import hook of a machine without spandrel."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "spandrel":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms"),
        ("import a_torchvision_that_is_absent", "a_torchvision_that_is_absent"),
        ("raise OSError('libtorch_cuda.so: cannot open\\nshared object')", r"cannot open\)"),
    ],
)
def test_broken_spandrel_is_told_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path, source: str, reason: str
) -> None:
    (tmp_path / "spandrel.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(ModelError, match=f"cannot be imported .*{reason}.*install the torchvision"):
        load_teacher(weights)


def test_real_spandrel_agrees(tmp_path: Path) -> None:
    # torchvision fails in other ways than ImportError beside another PyTorch.
    try:
        from spandrel.architectures.DnCNN import DnCNN
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"spandrel does not import here: {error}")
    torch.manual_seed(0)
    network = DnCNN(in_nc=3, out_nc=3, nc=16, nb=9, act_mode="R").eval()
    torch.save({"params": network.state_dict()}, tmp_path / "dncnn.pth")
    x = torch.rand(2, 3, 19, 23)
    with torch.no_grad():
        expected = network(x).clamp(0, 1)
    torch.testing.assert_close(load_teacher(tmp_path / "dncnn.pth")(x), expected)
