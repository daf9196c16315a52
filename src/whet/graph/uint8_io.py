"""Bytes at the border of the graph: the one place that converts pixels.

A model file takes float32 NCHW. A frame is uint8 HWC, and at 720p turning one
into the other and back outside the graph costs as much as a small network. So
the graph is rebuilt at load: uint8 in, uint8 out, and the conversion, clamp and
rounding become operators that the runtime fuses with its convolutions.

Where the first operator shuffles pixels into blocks and the last one back (as
our exporter arranges), both are taken out of the graph and done here on bytes,
as copies of 12-byte runs: 1 ms each way at 720p, where runtimes need 5-15.

The same sums can be written in several ways that run at very different speed.
The two tails below won among nine. Milliseconds of CPU time for nano at 720p on
one core (AMD EPYC, AVX2; OpenVINO 2026.4, ONNX Runtime 1.32), int8 / float32,
with all conversions:

=======================  ===========  =============
form                     OpenVINO     ONNX Runtime
=======================  ===========  =============
float, converted by us   49.4 / 74.8  51.6 / 64.4
``PLANES``               29.2 / 51.1  45.4 / 79.0
``PIXELS``               42.3 / 72.5  33.1 / 61.9
=======================  ===========  =============
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from whet.artifact import INPUT, OUTPUT
from whet.graph.index import GraphIndex, attribute

__all__ = [
    "BYTES_IN",
    "BYTES_OUT",
    "COLOURS",
    "STRENGTH",
    "ByteGraph",
    "Tail",
    "byte_graph",
    "from_blocks",
    "to_blocks",
]

BYTES_IN = "degraded_bytes"
BYTES_OUT = "restored_bytes"
STRENGTH = "strength"
"""Name of the graph's second input, a float32 scalar, where there is one."""

Bytes = NDArray[np.uint8]

COLOURS = 3
_BYTE = 1 / 255
_TO_PLANES = (0, 3, 1, 2)
_TO_PIXELS = (0, 2, 3, 1)


class Tail(Enum):
    """In which layout the residual is added."""

    PLANES = "NCHW"
    PIXELS = "NHWC"


@dataclass(frozen=True)
class ByteGraph:
    """A graph from uint8 (1, height/block, width/block, 3 * block**2) to the same.

    Attributes:
        model: the graph, with the inputs :data:`BYTES_IN` and, where asked for,
            :data:`STRENGTH`, and the output :data:`BYTES_OUT`.
        block: side in pixels of what one position of the graph holds; 1 when not in blocks.
    """

    model: onnx.ModelProto
    block: int


def to_blocks(image: Bytes, block: int) -> Bytes:
    """Return uint8 (H, W, 3) as C-contiguous (1, H/block, W/block, 3 * block**2)."""
    height, width, _ = image.shape
    image = np.ascontiguousarray(image)
    if block == 1:
        return image[None]
    rows, columns = height // block, width // block
    blocks = _swap_runs(image, (rows, block, columns), block)
    return blocks.reshape(1, rows, columns, COLOURS * block**2)


def from_blocks(blocks: Bytes, block: int) -> Bytes:
    """Invert :func:`to_blocks`; a view where nothing has to move."""
    _, rows, columns, _ = blocks.shape
    if block == 1:
        return cast(Bytes, blocks[0])
    pixels = _swap_runs(blocks, (rows, columns, block), block)
    return pixels.reshape(rows * block, columns * block, COLOURS)


def _swap_runs(pixels: Bytes, shape: tuple[int, int, int], block: int) -> Bytes:
    # A row of a block as one item: numpy then copies runs of bytes instead of single ones.
    runs = pixels.reshape(-1).view(f"V{COLOURS * block}").reshape(shape)
    return np.ascontiguousarray(runs.swapaxes(1, 2)).view(np.uint8)


def byte_graph(
    model: onnx.ModelProto, tail: Tail, *, strength: bool = False, planar: bool = False
) -> ByteGraph:
    """Rebuild the graph of a model file between bytes.

    Args:
        model: as read by :func:`whet.artifact.read_model`; not modified.
        tail: which form of the last sum; see the module's table.
        strength: add the input :data:`STRENGTH` and return
            ``degraded + strength * (restored - degraded)``, computed in float32 before rounding.
        planar: the model comes from :func:`whet.graph.yuv420_io.planar_model` and takes blocks of
            half as many bytes.
    """
    between = onnx.ModelProto()
    between.CopyFrom(model)
    graph = between.graph
    door, way_out, block = _open_blocks(graph)
    residual = _take_residual(graph, door, way_out)
    _enter(graph, door)
    if strength:
        residual = _scale(graph, door, residual)
    if tail is Tail.PLANES:
        _add_planes(graph, door, residual)
    else:
        _add_pixels(graph, residual)
    channels = COLOURS * block**2 // (2 if planar else 1)
    shape: list[str | int | None] = [1, "rows", "columns", channels]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(BYTES_IN, TensorProto.UINT8, shape))
    graph.output.append(helper.make_tensor_value_info(BYTES_OUT, TensorProto.UINT8, shape))
    if strength:
        graph.input.append(helper.make_tensor_value_info(STRENGTH, TensorProto.FLOAT, []))
    return ByteGraph(between, block)


def _open_blocks(graph: onnx.GraphProto) -> tuple[str, str, int]:
    """Take the pixel shuffles at both ends out of the graph, if they are its first and last step.

    Returns:
        The tensor that enters, the tensor that leaves, and the block size.
    """
    graph_index = GraphIndex(graph)
    first, last = graph_index.takers[INPUT], graph_index.maker[OUTPUT]
    block = attribute(last, "blocksize", 1)
    if (
        len(first) == 1
        and first[0].op_type == "SpaceToDepth"
        and last.op_type == "DepthToSpace"
        and attribute(last, "mode", "DCR") == "DCR"
        and attribute(first[0], "blocksize", 0) == block
    ):
        graph.node.remove(first[0])
        graph.node.remove(last)
        return first[0].output[0], last.input[0], cast(int, block)
    return INPUT, OUTPUT, 1


def _take_residual(graph: onnx.GraphProto, door: str, way_out: str) -> str:
    """Remove the last sum and its clamp and return the residual, made by subtraction if need be."""
    graph_index = GraphIndex(graph)
    clip = graph_index.maker[way_out]
    add = graph_index.maker.get(clip.input[0])
    if clip.op_type == "Clip" and add and add.op_type == "Add" and door in add.input:
        graph.node.remove(clip)
        graph.node.remove(add)
        return str(next(name for name in add.input if name != door))
    _append(graph, "Sub", [way_out, door], "io.change")
    return "io.change"


def _enter(graph: onnx.GraphProto, door: str) -> None:
    """Make ``door`` from bytes.

    Conversion and centring come before the change of layout, which then costs nothing in runtimes
    that compute in NHWC; the other way round OpenVINO moves every float three times. An int8
    graph quantises ``door`` straight back to the same bytes. Runtimes see through that; handing
    them the bytes directly made OpenVINO a third slower.
    """
    graph_index = GraphIndex(graph)
    _constant(graph, "io.byte_scale", np.float32(_BYTE))
    _constant(graph, "io.byte_zero", np.uint8(0))
    scale = [BYTES_IN, "io.byte_scale", "io.byte_zero"]
    nodes = [
        helper.make_node("DequantizeLinear", scale, ["io.pixels"]),
        helper.make_node("Transpose", ["io.pixels"], [door], perm=_TO_PLANES),
    ]
    for number, shift in enumerate(n for n in graph_index.takers[door] if n.op_type == "Sub"):
        centre = graph_index.constants.get(shift.input[1])
        if centre is not None and graph_index.array(centre.name).size == 1:
            centred = f"io.centred{number}"
            graph.node.remove(shift)
            nodes.append(helper.make_node("Sub", ["io.pixels", centre.name], [centred]))
            nodes.append(helper.make_node("Transpose", [centred], shift.output, perm=_TO_PLANES))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _scale(graph: onnx.GraphProto, door: str, residual: str) -> str:
    """Bound the residual as the clamp of the sum would, then multiply it by the strength."""
    _constant(graph, "io.white", np.float32(1))
    _append(graph, "Neg", [door], "io.lowest")
    _append(graph, "Max", [residual, "io.lowest"], "io.raised")
    _append(graph, "Sub", ["io.white", door], "io.highest")
    _append(graph, "Min", ["io.raised", "io.highest"], "io.change_within")
    _append(graph, "Mul", ["io.change_within", STRENGTH], "io.scaled")
    return "io.scaled"


def _add_planes(graph: onnx.GraphProto, door: str, residual: str) -> None:
    """Add, clamp and round. ``max(r, -x)`` is the clamp at zero, and keeps OpenVINO from fusing
    the sum into the convolution, after which its change of layout takes as long as the network.
    """
    for name, value in (("io.one", 1), ("io.steps", 255), ("io.half", 0.5)):
        _constant(graph, name, np.float32(value))
    _append(graph, "Neg", [door], "io.floor")
    _append(graph, "Max", [residual, "io.floor"], "io.bounded")
    _append(graph, "Add", ["io.bounded", door], "io.sum")
    _append(graph, "Min", ["io.sum", "io.one"], "io.clamped")
    _append(graph, "Mul", ["io.clamped", "io.steps"], "io.counted")
    _append(graph, "Add", ["io.counted", "io.half"], "io.counted_up")
    _append(graph, "Cast", ["io.counted_up"], "io.restored_planes", to=TensorProto.UINT8)
    _append(graph, "Transpose", ["io.restored_planes"], BYTES_OUT, perm=_TO_PIXELS)


def _add_pixels(graph: onnx.GraphProto, residual: str) -> None:
    """Add, then quantise to bytes: one operator that scales, rounds and clamps."""
    _append(graph, "Transpose", [residual], "io.residual_pixels", perm=_TO_PIXELS)
    _append(graph, "Add", ["io.residual_pixels", "io.pixels"], "io.sum")
    _append(graph, "QuantizeLinear", ["io.sum", "io.byte_scale", "io.byte_zero"], BYTES_OUT)


def _constant(graph: onnx.GraphProto, name: str, value: np.generic) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _append(
    graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: Any
) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
