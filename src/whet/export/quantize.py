"""From a float model file to one whose convolutions compute in 8-bit integers.

Weights get one symmetric scale per output channel, activations one asymmetric
scale per tensor, from calibration on degraded pictures (Jacob et al.,
"Quantization and Training of Neural Networks", CVPR 2018). Three things stay
exact:

- the skip: degraded pixels are added to the residual in float, outside
  quantisation, so a network that predicts nothing returns its input;
- the door: an 8-bit picture already lies on a grid of 1/255, and that is the
  grid it is quantised on, so nothing is lost and a runtime may feed bytes;
- the biases, which runtimes round to 32 bits themselves.

The first convolution keeps one bit in reserve. Processors without dot-product
instructions (AVX2) add two products in 16 bits and saturate; bytes of a bright
picture reach that limit, later activations hardly do. Measured there on nano and
small, trained briefly on defocus: without the reserve both runtimes lose 0.32 to
0.39 dB more than the file means (up to 44 grey levels in a pixel), with it 0.001 dB
(up to 6), and the reserve itself costs 0.001 to 0.005 dB.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from whet.artifact import INPUT, OUTPUT, Card, read_model, write_model
from whet.errors import ExportError, InputError
from whet.graph.canonical import strip
from whet.graph.index import GraphIndex, set_values
from whet.metrics import psnr
from whet.runtime import RUNTIMES, available, open_session, telemetry

__all__ = ["METHODS", "Pair", "quality_drop_db", "quantize"]

Image = NDArray[np.uint8]
Pair = tuple[Image, Image]
"""A degraded picture and its sharp original, uint8 HWC RGB of one size."""

METHODS = ("minmax", "percentile", "entropy")
"""How calibration turns observed activations into a range; see ONNX Runtime's calibrators."""

MAX_DROP_DB = 0.1
WINDOW_PX = 256
"""Calibration sees the middle window of a picture, as histograms hold every activation."""

_BYTE = 1 / 255


def quantize(
    float_artifact: Path,
    target: Path,
    calibration: Iterable[Image],
    *,
    validation: Sequence[Pair] = (),
    methods: Sequence[str] = ("minmax", "percentile"),
    max_drop_db: float = MAX_DROP_DB,
) -> Card:
    """Write the int8 version of a float model file.

    Args:
        float_artifact: file written by :func:`whet.export.onnx.export`.
        target: file to write; untouched on failure.
        calibration: degraded pictures like those in use, uint8 HWC RGB, any size.
        validation: pairs on which each method is scored; the best one is written. Without them
            the first method is taken and the card states no drop.
        methods: which of :data:`METHODS` to try.
        max_drop_db: largest tolerated loss of mean PSNR against the float model, in dB.

    Returns:
        The card as written, derived from that of ``float_artifact``.

    Raises:
        ExportError: every method loses more than ``max_drop_db``.
        InputError: no calibration picture, or an unknown method.
        ModelError: ``float_artifact`` cannot be trusted.
    """
    unknown = [m for m in methods if m not in METHODS]
    if unknown or not methods:
        raise InputError(f"unknown calibration {unknown}; choose from: {', '.join(METHODS)}")
    model, card = read_model(float_artifact)
    if card.precision != "float32":
        raise InputError(f"{float_artifact} is {card.precision}; quantise the float32 file")
    feeds = [_feed(image, card.multiple) for image in calibration]
    if not feeds:
        raise InputError("no calibration pictures; give some degraded ones, 16 or more")
    _onto_the_byte_grid(model)
    card = replace(card, precision="int8", float_sha256=card.weights_sha256)
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        tried: dict[str, float] = {}
        for method in methods:
            candidate = Path(folder, f"{method}.onnx")
            write_model(candidate, _quantized(model, feeds, method, Path(folder)), card)
            if not validation:
                return write_model(target, read_model(candidate)[0], card)
            tried[method] = quality_drop_db(float_artifact, candidate, validation)
        best = min(tried, key=lambda method: tried[method])
        if not tried[best] <= max_drop_db:
            drops = ", ".join(f"{m} {d:.3f}" for m, d in tried.items())
            raise ExportError(
                f"{card.name}: int8 loses more than {max_drop_db} dB ({drops}); calibrate on more "
                "pictures or fine-tune with quantisation in the loop; nothing was written"
            )
        final = read_model(Path(folder, f"{best}.onnx"))[0]
        return write_model(target, final, replace(card, int8_drop_db=round(tried[best], 4)))


def quality_drop_db(float_artifact: Path, int8_artifact: Path, pairs: Sequence[Pair]) -> float:
    """Return the mean PSNR of the float file minus that of the int8 file, in dB.

    Of the installed runtimes that run int8, the one that loses most counts: an artifact must be
    good wherever it is opened.
    """
    drops = []
    for runtime in available():
        if "int8" not in RUNTIMES[runtime].precisions:
            continue
        sessions = [open_session(p, runtime=runtime) for p in (float_artifact, int8_artifact)]
        means = [
            np.mean([psnr(session.restore(degraded), sharp) for degraded, sharp in pairs])
            for session in sessions
        ]
        drops.append(float(means[0] - means[1]))
    return max(drops)


def _feed(image: Image, multiple: int) -> Mapping[str, NDArray[np.float32]]:
    """Return the middle window of a picture as the graph's input, sides cut to the multiple."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"calibration pictures are uint8 HWC RGB, not {image.dtype} {image.shape}")
    slices = []
    for side in image.shape[:2]:
        length = min(side, WINDOW_PX) // multiple * multiple
        if not length:
            raise InputError(f"a calibration picture is smaller than {multiple} pixels")
        start = (side - length) // 2
        slices.append(slice(start, start + length))
    window = image[tuple(slices)].transpose(2, 0, 1)[None]
    return {INPUT: window.astype(np.float32) * np.float32(_BYTE)}


def _onto_the_byte_grid(model: onnx.ModelProto) -> None:
    """Move a shift at the door to a whole number of byte steps, the rest into the biases.

    ``W * (x - c) = W * (x - z/255) + (z/255 - c) * sum(W)``, exact but for the outermost block,
    where padding now stands for grey ``z`` instead of ``255 c``, half a step apart at most.
    """
    graph_index = GraphIndex(model.graph)
    for shift in [n for n in model.graph.node if n.op_type == "Sub"]:
        readers = graph_index.takers[shift.output[0]]
        if shift.input[1] not in graph_index.constants or not all(
            graph_index.is_weighted_conv(r) and len(r.input) == 3 for r in readers
        ):
            continue
        constant = graph_index.array(shift.input[1])
        moved = np.float32(np.rint(float(constant.item()) * 255) * _BYTE)
        for reader in readers:
            weight, bias = graph_index.array(reader.input[1]), graph_index.array(reader.input[2])
            rest = (moved - constant.item()) * weight.sum((1, 2, 3), dtype=np.float64)
            set_values(graph_index.constants[reader.input[2]], (bias + rest).astype(np.float32))
        set_values(graph_index.constants[shift.input[1]], np.full_like(constant, moved))


def _quantized(
    model: onnx.ModelProto,
    feeds: Sequence[Mapping[str, NDArray[np.float32]]],
    method: str,
    folder: Path,
) -> onnx.ModelProto:
    telemetry.silence()
    from onnxruntime import quantization as ortq

    class Feeds(ortq.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> Mapping[str, NDArray[np.float32]] | None:
            return next(self._left, None)

    named = onnx.ModelProto()
    named.CopyFrom(model)
    for index, node in enumerate(named.graph.node):
        node.name = f"n{index}"
    output = folder / f"{method}.qdq.onnx"
    calibrate = {
        "minmax": ortq.CalibrationMethod.MinMax,
        "percentile": ortq.CalibrationMethod.Percentile,
        "entropy": ortq.CalibrationMethod.Entropy,
    }
    with _quiet_quantizer():
        ortq.quantize_static(
            named,
            output,
            Feeds(),
            per_channel=True,
            activation_type=ortq.QuantType.QUInt8,
            weight_type=ortq.QuantType.QInt8,
            nodes_to_exclude=_outside(named.graph),
            calibrate_method=calibrate[method],
            extra_options={
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "TensorQuantOverrides": _door_overrides(named.graph, ortq.QuantType),
            },
        )
    quantized = onnx.load(output)
    _simplify_door(quantized)
    _drop_zero_points(quantized)
    strip(quantized)
    return quantized


def _outside(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the nodes that stay in float: the door, the skip and the clamp."""
    graph_index = GraphIndex(graph)
    names = [n.name for n in graph.node if n.op_type in ("SpaceToDepth", "Sub", "Clip")]
    for clip in [n for n in graph.node if n.op_type == "Clip"]:
        names.append(graph_index.maker[clip.input[0]].name)
    names.append(graph_index.maker[OUTPUT].name)
    return names


def _door(graph: onnx.GraphProto) -> str:
    """Return the tensor that the first convolution reads: the picture, shuffled and centred."""
    graph_index = GraphIndex(graph)
    tensor = INPUT
    while True:
        onwards = [n for n in graph_index.takers[tensor] if n.op_type in ("SpaceToDepth", "Sub")]
        if not onwards:
            return tensor
        tensor = onwards[0].output[0]


def _door_overrides(graph: onnx.GraphProto, kinds: Any) -> dict[str, list[dict[str, Any]]]:
    graph_index = GraphIndex(graph)
    door = _door(graph)
    maker = graph_index.maker.get(door)
    centre = graph_index.array(maker.input[1]).item() if maker and maker.op_type == "Sub" else 0.0
    overrides: dict[str, list[dict[str, Any]]] = {
        door: [
            {
                "quant_type": kinds.QUInt8,
                "scale": np.array(_BYTE, np.float32),
                "zero_point": np.array(np.rint(centre * 255), np.uint8),
            }
        ]
    }
    for conv in [n for n in graph_index.takers[door] if n.op_type == "Conv"]:
        overrides[conv.input[1]] = [
            {"quant_type": kinds.QInt8, "axis": 0, "symmetric": True, "reduce_range": True}
        ]
    return overrides


def _simplify_door(model: onnx.ModelProto) -> None:
    """Let the picture be quantised before it is centred: the centre becomes the zero point.

    ``Quantize(x - z/255; zero z)`` and ``Quantize(x; zero 0)`` are the same byte, which then
    means ``(byte - z) / 255``. The subtraction disappears, and bytes can enter as they are.
    """
    graph = model.graph
    graph_index = GraphIndex(graph)
    for shift in [n for n in graph.node if n.op_type == "Sub"]:
        quantizers = graph_index.takers[shift.output[0]]
        if not all(n.op_type == "QuantizeLinear" for n in quantizers):
            continue
        zero = numpy_helper.from_array(np.zeros((), np.uint8), "door_zero")
        graph.initializer.append(zero)
        for quantizer in quantizers:
            quantizer.input[0], quantizer.input[2] = shift.input[0], zero.name
        graph.node.remove(shift)


def _drop_zero_points(model: onnx.ModelProto) -> None:
    """Leave out zero points that are zero: ONNX's default, and a byte per channel."""
    graph_index = GraphIndex(model.graph)
    for node in model.graph.node:
        # A uint8 quantiser needs its zero point to state its type.
        if node.op_type == "DequantizeLinear" and len(node.input) == 3:
            zero = graph_index.array(node.input[2])
            if zero.dtype == np.int8 and not zero.any():
                del node.input[2]


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Hide advice to pre-process, which a rewritten graph does not need, and progress prints."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
