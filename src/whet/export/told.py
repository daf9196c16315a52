"""The graph of a student that is told what it sees, written operator by operator.

Tracing would work too, but computes shapes at run time with dozens of operators. Here
the look and the restorer meet in one tensor, :data:`~whet.artifact.CODE`, at which a
runtime may cut the graph in two (:mod:`whet.graph.look`); elsewhere the file is one
network with one input and one output like any other.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from whet.artifact import CODE, INPUT, OUTPUT
from whet.conditions import KINDS, MEASURES
from whet.graph.canonical import position_first
from whet.models.students.told import CELL_PX, FREE, STEP_PX, UNSHUFFLE, Told

__all__ = ["told_graph"]

OPSET = 18

Values = NDArray[Any]


class _Graph:
    """A graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Values | np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"tensor{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolve(self, x: str, weight: Values, bias: Values | None = None, stride: int = 1) -> str:
        reach = weight.shape[-1] // 2
        inputs = [x, self.constant(weight.astype(np.float32))]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32)))
        more: dict[str, Any] = {} if stride == 1 else {"strides": [stride] * 2}
        return self.add("Conv", inputs, kernel_shape=weight.shape[-2:], pads=[reach] * 4, **more)


def told_graph(fused: Told) -> onnx.ModelProto:
    """Return the graph of a fused student, its output clamped.

    Args:
        fused: from :meth:`~whet.models.students.told.Told.fuse`, float32, on the CPU.
    """
    graph = _Graph()
    blocks = graph.add("SpaceToDepth", [INPUT], blocksize=UNSHUFFLE)
    centred = graph.add("Sub", [blocks, graph.constant(np.float32(0.5))])
    _look(graph, centred, fused)
    biases = _biases(graph, blocks, fused)
    order = position_first(UNSHUFFLE**2, 3)
    head, tail = (_arrays(layer) for layer in (fused.head, fused.tail))
    x = graph.convolve(centred, head[0][:, order], head[1])
    for layer, bias in zip([*fused.body, None], biases, strict=True):
        x = graph.add("Relu", [graph.add("Add", [x, bias])])
        if layer is not None:
            x = graph.convolve(x, *_arrays(cast(nn.Conv2d, layer)))
    residual = graph.convolve(x, tail[0][order], tail[1][order])
    total = graph.add("Add", [blocks, residual])
    limits = [graph.constant(np.float32(value)) for value in (0, 1)]
    clamped = graph.add("Clip", [total, *limits])
    graph.add("DepthToSpace", [clamped], OUTPUT, blocksize=UNSHUFFLE, mode="DCR")
    return _model(graph)


def _look(graph: _Graph, centred: str, fused: Told) -> None:
    """Add the look; its code at every 64th pixel is the tensor ``CODE``."""
    look, order = fused.look, position_first(UNSHUFFLE**2, 3)
    x = centred
    for index, stride in ((0, 1), (2, 2), (4, 2)):
        weight, bias = _arrays(cast(nn.Conv2d, look.eye[index]))
        if index == 0:
            weight = 4 * weight[:, order]  # the eye's gain
        x = graph.add("Relu", [graph.convolve(x, weight, bias, stride)])
    scale = UNSHUFFLE * 4
    pool: dict[str, Any] = {
        "kernel_shape": [CELL_PX // scale] * 2,
        "strides": [STEP_PX // scale] * 2,
    }
    mean = graph.add("AveragePool", [x], **pool)
    power = graph.add("AveragePool", [graph.add("Mul", [x, x])], **pool)
    floor = graph.constant(np.float32(1e-6))
    root = graph.add("Sqrt", [graph.add("Add", [power, floor])])
    x = graph.add("Concat", [mean, root], axis=1)
    first, last = (_arrays(cast(nn.Conv2d, look.mind[i])) for i in (0, 2))
    x = graph.convolve(graph.add("Relu", [graph.convolve(x, *first)]), *last)
    parts, start = [], 0
    for count, kind in ((len(KINDS), "Softmax"), (len(MEASURES), "Sigmoid"), (FREE, "Tanh")):
        ends = [graph.constant(np.array([i], np.int64)) for i in (start, start + count, 1)]
        part = graph.add("Slice", [x, *ends])
        axis: dict[str, Any] = {"axis": 1} if kind == "Softmax" else {}
        parts.append(graph.add(kind, [part], **axis))
        start += count
    code = graph.add("Concat", parts, axis=1)
    pads = graph.constant(np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    graph.add("Pad", [code, pads], CODE, mode="edge")


def _biases(graph: _Graph, blocks: str, fused: Told) -> list[str]:
    """Add what turns the code into the biases of the layers, one after the other."""
    scale, width = STEP_PX // UNSHUFFLE, fused.config.width
    start = graph.constant(np.array([scale // 2] * 2, np.int64))
    size = graph.add("Shape", [blocks], start=2, end=4)
    end = graph.add("Add", [size, start])
    axes = graph.constant(np.array([2, 3], np.int64))
    scales = graph.constant(np.array([1, 1, scale, scale], np.float32))
    tell = fused.tell.weight.detach().numpy()
    biases = []
    for layer in range(1 + fused.config.blocks):
        told = graph.convolve(CODE, tell[layer * width : (layer + 1) * width])
        resized = graph.add(
            "Resize",
            [told, "", scales],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
        biases.append(graph.add("Slice", [resized, start, end, axes]))
    return biases


def _arrays(layer: nn.Conv2d) -> tuple[Values, Values]:
    bias = cast(Tensor, layer.bias)
    return layer.weight.detach().numpy(), bias.detach().numpy()


def _model(graph: _Graph) -> onnx.ModelProto:
    shape: list[str | int | None] = [1, 3, "height", "width"]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (INPUT, OUTPUT)
    ]
    made = helper.make_graph(graph.nodes, "whet", ends[:1], ends[1:], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    return model
