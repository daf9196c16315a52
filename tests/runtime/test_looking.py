"""A model that looks: the graph cut in two, and codes by place."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from whet.export.told import told_graph
from whet.graph.canonical import strip
from whet.graph.look import codes_of, look_model, told_model, told_once
from whet.models.students.told import CODES, Told, build
from whet.runtime.code_map import CodeMap, look_at
from whet.runtime.tiling import pad_to_multiple

Floats = NDArray[np.float32]


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
    blocks = coarse.repeat(16, 0).repeat(16, 1)
    noise = rng.normal(0, np.linspace(0, 25, width)[:, None], (height, width, 3))
    return np.clip(blocks[:height, :width] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def student() -> Told:
    """One whose every weight does something."""
    torch.manual_seed(4)
    network = build("told-16x4")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 0.3 if name.startswith("tell") else 0.03
            parameter.add_(scale * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture(scope="module")
def model(student: Told) -> onnx.ModelProto:
    """Its graph."""
    graph = told_graph(student.fuse())
    strip(graph)
    return graph


def run(graph: onnx.ModelProto, feeds: dict[str, Floats]) -> Floats:
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds)[0])


def planes(image: NDArray[np.uint8]) -> Floats:
    return np.divide(image.transpose(2, 0, 1)[None], 255, dtype=np.float32)


@pytest.mark.parametrize("size", [(128, 128), (192, 336), (304, 144)])
def test_the_graph_computes_what_the_student_computes(
    student: Told, model: onnx.ModelProto, size: tuple[int, int]
) -> None:
    image = planes(picture(*size))
    with torch.no_grad():
        expected = student(torch.from_numpy(image)).clamp(0, 1).numpy()
    assert np.abs(expected - image).max() > 0.05
    np.testing.assert_allclose(run(model, {"degraded": image}), expected, atol=1e-4)


def test_the_look_sees_the_same_whatever_the_bands(model: onnx.ModelProto) -> None:
    look = look_model(model)

    def codes(image: Floats) -> Floats:
        return run(look, {"degraded": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})[0]

    image = picture(1500, 200)
    whole = look_at(codes, [image], 1500, multiple=16, least=128)
    bands = [image[:7], image[7:801], image[801:]]
    parts = look_at(codes, bands, 1500, multiple=16, least=128)
    np.testing.assert_allclose(whole.nodes, parts.nodes, atol=1e-6)
    at_once = codes(np.divide(pad_to_multiple(image, 16), 255, dtype=np.float32))
    np.testing.assert_allclose(whole.nodes, at_once, atol=1e-5)
    assert np.ptp(whole.nodes, axis=2).max() > 0.01


def test_a_window_of_a_map_is_the_map_from_there_on() -> None:
    code = CodeMap(np.random.default_rng(0).random((3, 7, 9)).astype(np.float32))
    whole = code.tile(0, 0, 320, 448)
    np.testing.assert_allclose(code.window(64, 48).tile(32, 16, 96, 128), whole[:, :, 6:12, 4:12])


def test_small_pictures_are_extended_to_what_the_look_takes() -> None:
    seen: list[tuple[int, ...]] = []

    def look(image: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(image.shape)
        return np.zeros((2, 4, 4), np.float32)

    look_at(look, [np.zeros((5, 300, 3), np.uint8)], 5, multiple=16, least=128)
    assert seen == [(128, 304, 3)]


def test_cut_graphs_compute_what_the_whole_computes(model: onnx.ModelProto) -> None:
    assert codes_of(model) == CODES
    image = planes(picture(192, 320))
    whole = run(model, {"degraded": image})
    nodes = run(look_model(model), {"degraded": image})[0]
    code = CodeMap(nodes).tile(0, 0, 192, 320)
    told = run(told_model(model), {"degraded": image, "code": code})
    # Where the slope of the map changes, blocks of 16 pixels cut its corners by a sixteenth of the
    # difference between two cells.
    difference = np.abs(told - whole)
    assert np.median(difference) < 2e-5
    assert difference.mean() < 0.05 * np.abs(whole - image).mean()


def test_one_code_may_be_written_into_the_weights(student: Told, model: onnx.ModelProto) -> None:
    code = np.random.default_rng(1).normal(0, 0.5, CODES).astype(np.float32)
    once = told_once(model, code)
    assert [value.name for value in once.graph.input] == ["degraded"]
    assert codes_of(once) == 0
    assert not {"Resize", "AveragePool", "Softmax"} & {n.op_type for n in once.graph.node}
    image = planes(picture(128, 160))
    with torch.no_grad():
        told = student.forward_told(
            torch.from_numpy(image), torch.from_numpy(code)[None, :, None, None]
        )
    np.testing.assert_allclose(run(once, {"degraded": image}), told.clamp(0, 1).numpy(), atol=1e-4)
