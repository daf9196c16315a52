"""Writes an ONNX graph, operator by operator, on NHWC tensors and on their cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from whet.artifact import INPUT, OUTPUT

__all__ = ["OPSET", "GraphWriter", "Split"]

OPSET = 20
"""The first that knows GELU in its tanh form as one operator."""
_IR_VERSION = 10

Array = NDArray[Any]

Split = tuple[int, int, int, int]
"""Rows outside, rows inside, columns outside, columns inside: a picture cut into cells."""


class GraphWriter:
    """A graph under construction. Names of tensors are opaque strings.

    Args:
        weights: arrays by state-dict key; float16 is widened.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def weight(self, key: str) -> NDArray[np.float32]:
        """Return a weight as float32."""
        return self._weights[key].astype(np.float32, copy=False)

    def op(self, kind: str, *inputs: str | Array, **attributes: Any) -> str:
        """Add an operator; arrays among its inputs become constants. Return its output."""
        output = f"t{len(self._nodes)}"
        names = [name if isinstance(name, str) else self._constant(name) for name in inputs]
        self._nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def _constant(self, array: Array) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, np.array(shape, np.int64))

    def transpose(self, x: str, *order: int) -> str:
        return self.op("Transpose", x, perm=order)

    def planes(self, x: str) -> str:
        """NHWC -> NCHW."""
        return self.transpose(x, 0, 3, 1, 2)

    def pixels(self, x: str) -> str:
        """NCHW -> NHWC."""
        return self.transpose(x, 0, 2, 3, 1)

    def dense(self, x: str, weight: Array, bias: Array | None = None) -> str:
        """Dense layer over the last axis; ``weight`` is (outputs, inputs)."""
        y = self.op("MatMul", x, weight.T)
        return y if bias is None else self.op("Add", y, bias)

    def linear(self, x: str, key: str) -> str:
        """Dense layer, or 1x1 convolution on NHWC, of that name."""
        weight = self.weight(f"{key}.weight")
        return self.dense(x, weight.reshape(len(weight), -1), self.weight(f"{key}.bias"))

    def convolution(self, x: str, key: str, stride: int = 1) -> str:
        """Convolution on NCHW that keeps the size, divided by the stride."""
        weight, bias = self.weight(f"{key}.weight"), self.weight(f"{key}.bias")
        pad = (weight.shape[2] - 1) // 2
        return self.op("Conv", x, weight, bias, strides=[stride] * 2, pads=[pad] * 4)

    def norm(self, x: str, key: str, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        scale, shift = self.weight(f"{key}.weight"), self.weight(f"{key}.bias")
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        return self.op("Gelu", x, approximate="tanh")

    def cut(self, x: str, split: Split, channels: int) -> str:
        """(1, H, W, C) -> (cells, pixels of a cell, C)."""
        rows, high, columns, wide = split
        y = self.transpose(self.reshape(x, rows, high, columns, wide * channels), 0, 2, 1, 3)
        return self.reshape(y, rows * columns, high * wide, channels)

    def uncut(self, x: str, split: Split, channels: int) -> str:
        """Invert :meth:`cut`."""
        rows, high, columns, wide = split
        y = self.transpose(self.reshape(x, rows, columns, high, wide * channels), 0, 2, 1, 3)
        return self.reshape(y, 1, rows * high, columns * wide, channels)

    def recut(self, x: str, old: Split, new: Split, channels: int) -> str:
        """Cut anew what was cut otherwise."""
        return x if old == new else self.cut(self.uncut(x, old, channels), new, channels)

    def enlarged(self, x: str, factor: int) -> str:
        """Bilinear, half-pixel; NHWC."""
        scales = np.array([1, 1, factor, factor], np.float32)
        half_pixel = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self.pixels(self.op("Resize", self.planes(x), "", scales, **half_pixel))

    def shrunk(self, x: str, factor: int, size: tuple[int, int], channels: int) -> str:
        """Bilinear, antialiased by a triangle as wide as two results, which is renormalised at
        the border; NHWC of ``size`` and ``channels``."""
        taps = 1 - np.abs(np.arange(2 * factor) + 0.5 - factor) / factor
        kernel = np.broadcast_to(np.outer(taps, taps), (channels, 1, len(taps), len(taps)))
        sums = np.outer(*(_sums(taps, factor, side // factor) for side in size))
        y = self.op(
            "Conv",
            self.planes(x),
            kernel.astype(np.float32),
            group=channels,
            strides=[factor] * 2,
            pads=[factor // 2] * 4,
        )
        return self.pixels(self.op("Mul", y, (1 / sums).astype(np.float32)[None, None]))

    def finish(self, restored: str, height: int, width: int) -> onnx.ModelProto:
        """Return the graph from ``degraded`` to ``restored``, float32 (1, 3, height, width)."""
        self._nodes.append(helper.make_node("Identity", [restored], [OUTPUT]))
        shape = [1, 3, height, width]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name in (INPUT, OUTPUT)
        ]
        graph = helper.make_graph(
            self._nodes, "whet", ends[:1], ends[1:], list(self._constants.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
        )


def _sums(taps: NDArray[np.float64], factor: int, results: int) -> NDArray[np.float64]:
    """Return how much of a filter's weight lies inside the picture, for each result."""
    inside = np.pad(np.ones(results * factor), factor // 2)
    return np.array([taps @ inside[i * factor : i * factor + len(taps)] for i in range(results)])
