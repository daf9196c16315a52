"""Who makes and who takes each tensor of an ONNX graph: what every rewrite needs to know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["GraphIndex", "attribute", "makers_of", "set_values"]


class GraphIndex:
    """The graph_index of a graph at the moment of construction; later changes do not show."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.maker: dict[str, onnx.NodeProto] = {
            name: node for node in graph.node for name in node.output
        }
        self.takers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.takers[name].append(node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def array(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.constants[name])

    def is_weighted_conv(self, node: onnx.NodeProto | None) -> bool:
        """Whether ``node`` is an ungrouped convolution that alone owns its weight and bias."""
        return (
            node is not None
            and node.op_type == "Conv"
            and attribute(node, "group", 1) == 1
            and all(n in self.constants and len(self.takers[n]) == 1 for n in node.input[1:])
        )


def makers_of(index: GraphIndex, tensor: str, given: Collection[str] = ()) -> list[onnx.NodeProto]:
    """Return all that has to run to make ``tensor`` where the tensors ``given`` are there already.

    In no particular order, each once.
    """
    needed: dict[str, onnx.NodeProto] = {}
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        maker = None if name in given else index.maker.get(name)
        if maker is not None and maker.output[0] not in needed:
            needed[maker.output[0]] = maker
            waiting += maker.input
    return list(needed.values())


def attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    """Return an attribute of ``node`` as a Python value, text as ``str``."""
    for item in node.attribute:
        if item.name == name:
            value: object = onnx.helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_values(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    """Give ``tensor`` other values under the same name."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
