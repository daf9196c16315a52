"""A model that looks before it restores, cut in two.

The look needs a whole picture and is asked once per picture or per some frames; the
restorer runs on tiles, on planes and on every frame. In the file they are one graph
with the tensor :data:`~whet.artifact.CODE` between them, the code at every 64th
pixel. Cut out, the restorer takes codes as a second input, one for each block of 16
pixels, so that tiles may begin at any multiple of 16. Or one code is written into it
once and for all: what is then left is a network like any other, and as fast.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from whet.artifact import CODE, OUTPUT
from whet.graph.canonical import drop_unused
from whet.graph.index import GraphIndex, makers_of, set_values

__all__ = ["NODE_PX", "TOLD_PX", "codes_of", "look_model", "told_model", "told_once"]

NODE_PX = 64
"""Pixels between the places for which the file's look gives a code."""

TOLD_PX = 16
"""Side in pixels of the blocks for which the cut restorer wants one."""


def codes_of(model: onnx.ModelProto) -> int:
    """Return how many values a code has; 0 where the model does not look as ours do."""
    index = GraphIndex(model.graph)
    if CODE not in index.maker:
        return 0
    counts = set()
    for told in index.takers[CODE]:
        resize = _only(index, told, "Resize")
        fit = resize and _only(index, resize, "Slice")
        if told.op_type != "Conv" or fit is None or told.input[1] not in index.constants:
            return 0
        counts.add(index.array(told.input[1]).shape[1])
    return int(counts.pop()) if len(counts) == 1 else 0


def _only(index: GraphIndex, node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
    """Return the one reader of ``node``, if it is of that kind."""
    readers = index.takers[node.output[0]]
    return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None


def look_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of ``model`` from the picture to its code."""
    cut = _only_nodes(model, makers_of(GraphIndex(model.graph), CODE))
    del cut.graph.output[:]
    shape: list[str | int | None] = [1, codes_of(model), "rows", "columns"]
    cut.graph.output.append(helper.make_tensor_value_info(CODE, TensorProto.FLOAT, shape))
    return cut


def told_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of ``model`` from picture and code to the restored picture.

    The code is (1, codes, h/16, w/16), for the centres of blocks of 16 pixels. Within 8 pixels of
    the border it is taken as constant, which lies within every tile's halo. Where the slope of the
    file's own map changes, at multiples of 64 pixels, corners are cut by a sixteenth of the
    difference between two cells.
    """
    cut = _only_nodes(model, makers_of(GraphIndex(model.graph), OUTPUT, given=(CODE,)))
    index = GraphIndex(cut.graph)
    for told in index.takers[CODE]:
        resize, fit = _enlarging(index, told)
        scales = index.constants[resize.input[2]]
        ratio = NODE_PX // TOLD_PX
        blocks = f"blocks.{scales.name}"
        if all(t.name != blocks for t in cut.graph.initializer):
            smaller = index.array(scales.name) / np.array([1, 1, ratio, ratio])
            cut.graph.initializer.append(from_array(smaller.astype(np.float32), blocks))
        resize.input[2] = blocks
        _bypass(cut.graph, index, fit, resize.output[0])
    _drop_unread(cut)
    shape: list[str | int | None] = [1, codes_of(model), "code_rows", "code_columns"]
    cut.graph.input.append(helper.make_tensor_value_info(CODE, TensorProto.FLOAT, shape))
    return cut


def told_once(model: onnx.ModelProto, code: NDArray[np.float32]) -> onnx.ModelProto:
    """Return the restorer with one code written into the biases of its convolutions.

    Args:
        model: as read by :func:`whet.artifact.read_model`; not modified.
        code: float32 (codes,).

    Returns:
        A graph from picture to restored picture without a look, of the same names and sizes.
    """
    cut = _only_nodes(model, makers_of(GraphIndex(model.graph), OUTPUT, given=(CODE,)))
    index = GraphIndex(cut.graph)
    for told in index.takers[CODE]:
        _, fit = _enlarging(index, told)
        (total,) = index.takers[fit.output[0]]
        (other,) = (name for name in total.input if name != fit.output[0])
        bias = index.constants[index.maker[other].input[2]]
        weight = index.array(told.input[1])[:, :, 0, 0]
        set_values(bias, (index.array(bias.name) + weight @ code).astype(np.float32))
        _bypass(cut.graph, index, total, other)
    _drop_unread(cut)
    return cut


def _only_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = {node.output[0] for node in nodes}
    kept = [node for node in copy.graph.node if node.output[0] in wanted]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    drop_unused(copy)
    return copy


def _enlarging(index: GraphIndex, told: onnx.NodeProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Return the enlarging of told biases, and the slice that fits it to the layer."""
    (resize,) = index.takers[told.output[0]]
    (fit,) = index.takers[resize.output[0]]
    return resize, fit


def _bypass(graph: onnx.GraphProto, index: GraphIndex, node: onnx.NodeProto, source: str) -> None:
    """Let those who read ``node`` read ``source`` instead."""
    for reader in index.takers[node.output[0]]:
        reader.input[:] = [source if n == node.output[0] else n for n in reader.input]
    graph.node.remove(node)


def _drop_unread(model: onnx.ModelProto) -> None:
    """Remove what no longer leads to the result, such as the sizes of what is no longer cut."""
    kept = _only_nodes(model, makers_of(GraphIndex(model.graph), OUTPUT, given=(CODE,)))
    model.CopyFrom(kept)
