"""Int8 files: integers where they should be, exact where they must be, refused when poor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from whet.artifact import Card, read_card, read_model, verify, write_model
from whet.errors import ExportError, InputError
from whet.export.onnx import export
from whet.export.quantize import METHODS, quality_drop_db, quantize
from whet.graph.uint8_io import Tail, byte_graph
from whet.models import MODELS, build
from whet.runtime import available, open_session
from whet.runtime.cpu_features import int8_is_fast

Image = NDArray[np.uint8]
MakePicture = Callable[..., Image]

RUNTIMES = [name for name in ("openvino", "onnxruntime") if name in available()]

# Runtimes round sums, biases and scales in their own order, so a value may fall to the other side
# of a quantisation step here and there: by this many steps of the residual. Processors without
# dot products saturate a sum of two products now and then; hence not the maximum but a quantile.
BOUND_STEPS = 3
QUANTILE = 0.99


@pytest.fixture(scope="module")
def pictures(picture: MakePicture) -> list[Image]:
    return [picture(96, 104, seed) for seed in range(8)]


def exact(path: Path, image: Image) -> NDArray[np.float64]:
    """Return what the file means: every operator as ONNX defines it, in float, nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    planes = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (restored,) = session.run(None, {"degraded": planes})
    return np.asarray(restored)[0].transpose(1, 2, 0) * 255.0


def residual_step(path: Path) -> float:
    """Return the step of the quantised residual, in 8-bit steps of the picture."""
    graph = onnx.load(path).graph
    last = [node for node in graph.node if node.op_type == "QuantizeLinear"][-1]
    scale = next(t for t in graph.initializer if t.name == last.input[1])
    return float(numpy_helper.to_array(scale)) * 255


def test_weights_are_int8_with_a_scale_per_channel(tiny_artifact: Path, tiny_int8: Path) -> None:
    floats = [t for t in onnx.load(tiny_artifact).graph.initializer if len(t.dims) == 4]
    graph = onnx.load(tiny_int8).graph
    integers = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert sorted(tuple(t.dims) for t in integers) == sorted(tuple(t.dims) for t in floats)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and constants.get(node.input[0]) is not None:
            weights = constants[node.input[0]]
            assert constants[node.input[1]].shape == weights.shape[:1]
            assert np.abs(weights.astype(int)).reshape(len(weights), -1).max(1).min() >= 63


def test_picture_is_quantised_on_the_grid_of_bytes(tiny_int8: Path) -> None:
    graph = onnx.load(tiny_int8).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    door = next(n for n in graph.node if n.op_type == "QuantizeLinear")
    assert constants[door.input[1]] == np.float32(1 / 255)
    assert constants[door.input[2]] == 0
    reader = next(n for n in graph.node if n.input[0] == door.output[0])
    assert constants[reader.input[2]] == 128, "centred at mid-grey by its zero point"


def test_file_agrees_with_its_float_original(
    tiny_artifact: Path, tiny_int8: Path, picture: MakePicture
) -> None:
    image = picture(64, 64, 99)
    wanted = exact(tiny_artifact, image)
    change = np.abs(wanted - image).mean()
    assert change > 4, "a network that does nothing proves nothing"
    assert np.abs(exact(tiny_int8, image) - wanted).mean() < 0.1 * change


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtime_agrees_with_the_meaning_of_the_file(
    tiny_int8: Path, picture: MakePicture, runtime: str
) -> None:
    image = picture(120, 136, 5)
    image[:40] = 255
    image[:40:3, ::3] = 240  # no flat area, which would come back as it was
    restored = open_session(tiny_int8, runtime=runtime).restore(image)
    difference = np.abs(restored - exact(tiny_int8, image))
    # Rounding to bytes costs half a step of the picture, a quarter on average.
    assert np.quantile(difference, QUANTILE) <= BOUND_STEPS * residual_step(tiny_int8) + 0.5
    assert difference.mean() < 0.4


@pytest.mark.skipif(len(RUNTIMES) < 2, reason="there is only one int8 runtime here")
def test_runtimes_agree_with_each_other(tiny_int8: Path, picture: MakePicture) -> None:
    image = picture(120, 136, 6)
    one, other = (open_session(tiny_int8, runtime=r).restore(image).astype(int) for r in RUNTIMES)
    assert np.abs(one - other).max() <= BOUND_STEPS * residual_step(tiny_int8) + 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_network_that_predicts_nothing_returns_every_pixel(
    tiny_artifact: Path, tmp_path: Path, pictures: list[Image], runtime: str
) -> None:
    model, card = read_model(tiny_artifact)
    for node in [n for n in model.graph.node if n.op_type == "Conv"][-1:]:
        for tensor in model.graph.initializer:
            if tensor.name in node.input[1:]:
                zeros = np.zeros(tuple(tensor.dims), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
    write_model(tmp_path / "f.onnx", model, card)
    quantize(tmp_path / "f.onnx", tmp_path / "q.onnx", pictures, methods=("minmax",))
    session = open_session(tmp_path / "q.onnx", runtime=runtime)
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    np.testing.assert_array_equal(session.restore(every_value), every_value)
    fine = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1).repeat(3, 2)
    np.testing.assert_array_equal(session.restore(fine), fine)


@pytest.mark.skipif("openvino" not in RUNTIMES, reason="OpenVINO is not installed")
@pytest.mark.skipif(not int8_is_fast(), reason="this processor computes int8 in float")
def test_openvino_computes_every_convolution_in_int8(tiny_int8: Path) -> None:
    import openvino

    core = openvino.Core()
    graph = byte_graph(read_model(tiny_int8)[0], Tail.PLANES)
    network = core.read_model(graph.model.SerializeToString())
    network.reshape({network.inputs[0]: [1, 16, 16, 48]})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    steps = compiled.get_runtime_model().get_ordered_ops()
    kinds = [step.get_rt_info()["layerType"].astype(str) for step in steps]
    executed = [step.get_rt_info()["primitiveType"].astype(str) for step in steps]
    convolutions = [e for kind, e in zip(kinds, executed, strict=True) if kind == "Convolution"]
    assert len(convolutions) == 5
    assert all(e.endswith("I8") for e in convolutions), convolutions


def test_onnxruntime_computes_every_convolution_in_int8(tiny_int8: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    graph = byte_graph(read_model(tiny_int8)[0], Tail.PIXELS)
    onnxruntime.InferenceSession(
        graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 5
    assert "Conv" not in kinds


def test_card_derives_from_the_float_card(tiny_artifact: Path, tiny_int8: Path) -> None:
    before, after = read_card(tiny_artifact), verify(tiny_int8)
    assert (after.name, after.multiple, after.recipe) == (before.name, before.multiple, "none")
    assert after.precision == "int8"
    assert after.float_sha256 == before.weights_sha256 != after.weights_sha256


def test_best_method_is_written_with_its_measured_drop(
    tiny_artifact: Path, tmp_path: Path, picture: MakePicture
) -> None:
    # Enough values that the outermost hundred-thousandth, which one method cuts off, is not empty.
    pictures = [picture(256, 256, seed) for seed in range(12)]
    session = open_session(tiny_artifact, runtime="onnxruntime")
    sharp = [session.restore(image) ^ 4 for image in pictures[:2]]
    pairs = list(zip(pictures, sharp, strict=False))
    drops, sums = {}, {}
    for method in METHODS[:2]:
        path = tmp_path / f"{method}.onnx"
        card = quantize(
            tiny_artifact, path, pictures, validation=pairs, methods=(method,), max_drop_db=99
        )
        drops[method], sums[method] = card.int8_drop_db, card.weights_sha256
        measured = quality_drop_db(tiny_artifact, path, pairs)
        assert card.int8_drop_db == pytest.approx(measured, abs=1e-4)
    best = quantize(
        tiny_artifact,
        tmp_path / "best.onnx",
        pictures,
        validation=pairs,
        methods=METHODS[:2],
        max_drop_db=99,
    )
    assert len(set(sums.values())) == 2
    winner = min(drops, key=lambda method: drops[method] or 0.0)
    assert (best.int8_drop_db, best.weights_sha256) == (drops[winner], sums[winner])


def test_poor_file_is_not_written(
    tiny_artifact: Path, tmp_path: Path, pictures: list[Image]
) -> None:
    session = open_session(tiny_artifact, runtime="onnxruntime")
    pairs = [(image, session.restore(image)) for image in pictures[:1]]
    with pytest.raises(ExportError, match=r"loses more than 0\.1 dB"):
        quantize(tiny_artifact, tmp_path / "q.onnx", pictures, validation=pairs)
    assert not any(tmp_path.iterdir())


def test_useless_calibration_is_refused(
    tiny_artifact: Path, tiny_int8: Path, tmp_path: Path, pictures: list[Image]
) -> None:
    target = tmp_path / "q.onnx"
    with pytest.raises(InputError, match="no calibration pictures"):
        quantize(tiny_artifact, target, [])
    with pytest.raises(InputError, match="smaller than 8"):
        quantize(tiny_artifact, target, [pictures[0][:7]])
    with pytest.raises(InputError, match="uint8"):
        quantize(tiny_artifact, target, [pictures[0].astype(np.float32)])  # type: ignore[list-item]
    with pytest.raises(InputError, match="minmax, percentile, entropy"):
        quantize(tiny_artifact, target, pictures, methods=("guess",))
    with pytest.raises(InputError, match="float32 file"):
        quantize(tiny_int8, target, pictures)


def test_nano_fits_in_60_kilobytes_with_a_long_card(tmp_path: Path, pictures: list[Image]) -> None:
    card = Card(
        name="nano", architecture="", multiple=1, halo=0, kmac_per_px=0, parameters=0,
        recipe="r" * 400, data=("d" * 80,) * 5, licences=("l" * 40,) * 5,
        known_failures=("f" * 80,) * 5,
        scores={f"suite-{i}": {"psnr": 30.12, "gain": 1.23, "low": 1.2} for i in range(9)},
    )  # fmt: skip
    export(build("nano"), MODELS["nano"], tmp_path / "nano.onnx", card)
    quantize(tmp_path / "nano.onnx", tmp_path / "q.onnx", pictures, methods=("minmax",))
    assert (tmp_path / "q.onnx").stat().st_size <= 60_000
