"""The exported file computes what the student computes, and holds nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.artifact import Card, read_card, verify
from whet.errors import ExportError
from whet.export import onnx as exporter
from whet.export.onnx import export, probes
from whet.models import ModelSpec

CARD = Card(name="t", architecture="?", multiple=1, halo=0, kmac_per_px=0, parameters=0)


class Subtracting(nn.Module):
    """Like the founding student: works at full size and subtracts what it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded - self.last(self.body(degraded))

    def fuse(self) -> nn.Module:
        return self.eval()


def run(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (restored,) = session.run(["restored"], {"degraded": image})
    return np.asarray(restored)


@pytest.fixture
def no_tracing(exported: tuple[Path, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the exporter the trace it made before."""

    def copy(*_: object) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(exported[1])
        return model

    monkeypatch.setattr(exporter, "_trace", copy)


@pytest.mark.parametrize("size", [(8, 8), (8, 200), (72, 40), (136, 264)])
def test_file_agrees_with_pytorch_at_any_size_and_clamps(
    tiny_artifact: Path, student: nn.Module, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(size[0]).random((1, 3, *size), np.float32)
    with torch.inference_mode():
        expected = student(torch.from_numpy(image)).numpy()
    assert np.abs(expected - image).max() > 0.05, "a network that does nothing proves nothing"
    assert expected.min() < 0
    assert expected.max() > 1
    np.testing.assert_allclose(run(tiny_artifact, image), expected.clip(0, 1), atol=1e-5)


def test_file_holds_only_the_operators_of_the_network(tiny_artifact: Path) -> None:
    graph = onnx.load(tiny_artifact).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds == {
        "SpaceToDepth": 1, "Sub": 1, "Conv": 5, "Relu": 3, "DepthToSpace": 2, "Add": 2, "Clip": 1,
    }  # fmt: skip
    assert (graph.node[0].op_type, graph.node[-1].op_type) == ("SpaceToDepth", "DepthToSpace")
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read


def test_file_holds_no_trace_of_the_workshop(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    assert [p.key for p in model.metadata_props] == ["whet.card"]
    assert not any(n.name or n.doc_string or n.metadata_props for n in model.graph.node)
    content = tiny_artifact.read_bytes()
    assert b"torch" not in content
    assert b".py" not in content
    weights = sum(len(t.raw_data) for t in model.graph.initializer)
    assert len(content) < weights + 2500


def test_height_and_width_are_free_and_opset_is_old_enough(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    for value in (model.graph.input[0], model.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        assert [d.dim_value for d in dims[:2]] == [1, 3]
        assert [d.dim_param for d in dims[2:]] == ["height", "width"]
    assert [o.version for o in model.opset_import] == [18]


def test_subtracting_student_becomes_a_sum(tmp_path: Path) -> None:
    path = tmp_path / "subtracting.onnx"
    student = Subtracting()
    card = export(student, ModelSpec("s", "tests", 1, 2, 0.1, (), ""), path, CARD)
    assert [n.op_type for n in onnx.load(path).graph.node] == [
        "Conv",
        "Relu",
        "Conv",
        "Add",
        "Clip",
    ]
    image = np.random.default_rng(0).random((1, 3, 17, 23), np.float32)
    with torch.inference_mode():
        expected = student(torch.from_numpy(image)).clamp(0, 1).numpy()
    np.testing.assert_allclose(run(path, image), expected, atol=1e-5)
    assert card.parameters == sum(p.numel() for p in student.parameters())
    assert verify(path) == card


def spoil_tail(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Make the exporter add ``value`` to the bias of the last convolution."""
    rewrite = exporter.canonicalise

    def spoil(model: onnx.ModelProto) -> None:
        rewrite(model)
        last = [n for n in model.graph.node if n.op_type == "Conv"][-1]
        bias = next(t for t in model.graph.initializer if t.name == last.input[2])
        values = onnx.numpy_helper.to_array(bias) + np.float32(value)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))

    monkeypatch.setattr(exporter, "canonicalise", spoil)


@pytest.mark.usefixtures("no_tracing")
@pytest.mark.parametrize(
    ("error", "said"), [(0.01, r"differ by 2\.5\d/255"), (np.nan, "differ by nan")]
)
def test_file_that_disagrees_is_not_written(
    tmp_path: Path,
    student: nn.Module,
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    error: float,
    said: str,
) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"the one before")
    spoil_tail(monkeypatch, error)
    with pytest.raises(ExportError, match=said):
        export(student, spec, path, CARD)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("no_tracing")
def test_file_that_differs_below_the_bound_states_by_how_much(
    tmp_path: Path, student: nn.Module, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_tail(monkeypatch, 0.003)
    card = export(student, spec, tmp_path / "a.onnx", CARD)
    assert card.parity == pytest.approx(0.003, rel=1e-2)


@pytest.mark.usefixtures("no_tracing")
def test_same_student_gives_the_same_bytes(
    tmp_path: Path, tiny_artifact: Path, student: nn.Module, spec: ModelSpec
) -> None:
    export(student, spec, tmp_path / "a.onnx", read_card(tiny_artifact))
    assert (tmp_path / "a.onnx").read_bytes() == tiny_artifact.read_bytes()


def test_network_of_a_fixed_size_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    class FixedSize(nn.Module):
        def forward(self, degraded: Tensor) -> Tensor:
            return degraded.reshape(1, 3, 64, 96) * 0.5

        def fuse(self) -> nn.Module:
            return self

    with pytest.raises(ExportError, match="multiples of 8"):
        export(FixedSize(), spec, tmp_path / "a.onnx", CARD)
    assert not any(tmp_path.iterdir())


def test_card_is_filled_in_and_what_was_known_is_kept(
    tiny_artifact: Path, student: nn.Module
) -> None:
    card = read_card(tiny_artifact)
    assert (card.architecture, card.multiple, card.halo, card.kmac_per_px) == ("tiny", 8, 32, 1.0)
    assert (card.recipe, card.licences) == ("none", ("CC0-1.0",))
    assert card.parameters == sum(p.numel() for p in student.parameters())
    assert len(card.weights_sha256) == 64


def test_probes_fill_the_range_and_vary_in_size() -> None:
    pictures = list(probes(8))
    assert len({p.shape for p in pictures}) == 4
    assert all(p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1 for p in pictures)
    assert all(side % 8 == 0 for p in pictures for side in p.shape[2:])
    photographs = pictures[:4]
    assert all(p.std() > 0.05 for p in photographs)
