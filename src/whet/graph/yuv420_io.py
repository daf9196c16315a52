"""A network for RGB, rewritten to take and give YUV 4:2:0: same layers, other first and last one.

Real-time networks see blocks of pixels as channels, and their first layer is a convolution. From
YUV to RGB is a linear map too, and so is the enlarging of the colour planes; their product with
the first convolution is one convolution with half as many inputs. The same holds for the
last one, whose result is a change to be added to the frame: turned into YUV, with the mean change
of every four pixels for colour, it has half as many outputs. Nothing is trained, and the frame's
colours never leave the form in which the file holds them: what the network leaves alone stays as
it is to the byte.

The result is not the same to the byte as by way of RGB. Colour is enlarged linearly, not by
FFmpeg's bicubic filter; values beyond RGB's gamut are not clipped; and in int8 both convolutions
are rounded to 7 bits once more. ``docs/video.md`` says what that does to the result: nothing
that matters.

Luma coefficients are those of ITU-T H.273, table 4. Colour samples lie between two rows and on
every other column of brightness, as in MPEG-2, H.264 and HEVC where a file says nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT, OUTPUT
from whet.graph.index import GraphIndex, attribute, set_values

__all__ = ["Colours", "planar_model", "rgb_of_yuv"]

# swscale's number of a matrix -> (K_R, K_B)
_LUMA: Mapping[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_CHROMA_ZERO = 128 / 255
_INT8_LIMIT = 64
"""Weights in int8 stay below: processors without VNNI add two products in 16 bits and saturate."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Colours:
    """How YUV relates to RGB.

    Attributes:
        matrix: as swscale numbers them: 1 is BT.709, 5 is BT.601.
        full_range: black is 0 and white 255; else 16 and 235.
    """

    matrix: int
    full_range: bool


def rgb_of_yuv(colours: Colours) -> tuple[Array, Array]:
    """Return ``(M, zero)`` with ``rgb = M @ (yuv - zero)``, everything in units of 255."""
    red, blue = _LUMA[colours.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    to_yuv = np.stack(
        [
            luma,
            (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)),
            (np.array([1, 0, 0]) - luma) / (2 * (1 - red)),
        ]
    )
    if not colours.full_range:
        to_yuv *= np.array([[219], [224], [224]]) / 255
    black = 0.0 if colours.full_range else 16 / 255
    return _inverse(to_yuv), np.array([black, _CHROMA_ZERO, _CHROMA_ZERO])


def _inverse(matrix: Array) -> Array:
    return cast(Array, np.linalg.inv(matrix))


def planar_model(model: onnx.ModelProto, colours: Colours) -> onnx.ModelProto | None:
    """Return ``model`` with the ends rewritten; None where it does not work on blocks of pixels.

    The pixel shuffles at its ends stay, and do not fit any more: the result is to be given to
    :func:`whet.graph.uint8_io.byte_graph`, which takes them out.

    Args:
        model: as read by :func:`whet.artifact.read_model`; not modified.
        colours: of the video.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph_index = GraphIndex(rewritten.graph)
    ends = _ends(graph_index)
    if ends is None:
        return None
    first, centre, last, block = ends
    to_rgb, zero = rgb_of_yuv(colours)
    to_yuv = _inverse(to_rgb)
    weights, bias = _Weights(graph_index, first), _constant(graph_index, first, 2)
    folded = weights.replace(_first(weights.values, to_rgb, block))
    # The graph takes ``centre`` off all channels. rgb - centre = M (yuv - zero) - centre, and
    # gray is the same in all three, so that M maps it to brightness alone.
    gray = to_yuv @ np.full(3, centre)
    shifts = np.repeat(centre - zero - gray, (block**2, block**2 // 4, block**2 // 4))
    _set(graph_index, first, 2, bias + np.einsum("oikl,i->o", folded, shifts))
    weights, bias = _Weights(graph_index, last), _constant(graph_index, last, 2)
    mixed = _last(to_yuv, block)
    weights.replace(np.einsum("ab,bikl->aikl", mixed, weights.values))
    _set(graph_index, last, 2, mixed @ bias)
    return rewritten


def _ends(graph_index: GraphIndex) -> tuple[onnx.NodeProto, float, onnx.NodeProto, int] | None:
    """Return the first convolution, what is taken off its inputs, the last one, and the block."""
    enter, leave = graph_index.takers[INPUT], graph_index.maker[OUTPUT]
    block = cast(int, attribute(leave, "blocksize", 1))
    shuffled = len(enter) == 1 and enter[0].op_type == "SpaceToDepth"
    if not shuffled or leave.op_type != "DepthToSpace" or block not in (2, 4):
        return None
    door = enter[0].output[0]
    found = [_towards_conv(graph_index, node, 0.0) for node in graph_index.takers[door]]
    firsts = [pair for pair in found if pair is not None]
    clip = graph_index.maker[leave.input[0]]
    add = graph_index.maker.get(clip.input[0])
    if len(firsts) != 1 or clip.op_type != "Clip" or add is None or add.op_type != "Add":
        return None
    last = graph_index.maker.get(next(name for name in add.input if name != door))
    while last is not None and last.op_type in ("QuantizeLinear", "DequantizeLinear"):
        last = graph_index.maker.get(last.input[0])
    first, centre = firsts[0]
    whole = 3 * block**2
    fits = last is not None and last.op_type == "Conv" and len(last.input) > 2
    if not fits or last is None or _Weights(graph_index, last).values.shape[0] != whole:
        return None
    if len(first.input) < 3 or _Weights(graph_index, first).values.shape[1] != whole:
        return None
    return first, centre, last, block


def _towards_conv(
    graph_index: GraphIndex, node: onnx.NodeProto, centre: float
) -> tuple[onnx.NodeProto, float] | None:
    """Follow centring and quantisation to a convolution; return it and what is taken off."""
    while node.op_type != "Conv":
        if node.op_type == "Sub" and node.input[1] in graph_index.constants:
            value = graph_index.array(node.input[1])
            if value.size != 1:
                return None
            centre += float(value.reshape(()))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            sign = 1 if node.op_type == "DequantizeLinear" else -1
            scale, zero = (graph_index.array(name) for name in node.input[1:3])
            centre += sign * float(scale) * float(zero)
        else:
            return None
        takers = graph_index.takers[node.output[0]]
        if len(takers) != 1:
            return None
        node = takers[0]
    return node, centre


class _Weights:
    """The weights of a convolution, in float whatever the file holds."""

    def __init__(self, graph_index: GraphIndex, conv: onnx.NodeProto) -> None:
        self._wiring, self._name = graph_index, conv.input[1]
        self._quantised = graph_index.maker.get(self._name)
        if self._quantised is None:
            self.values = graph_index.array(self._name).astype(np.float64)
        else:
            steps, scales = (graph_index.array(name) for name in self._quantised.input[:2])
            self.values = steps * scales.astype(np.float64)[:, None, None, None]

    def replace(self, values: Array) -> Array:
        """Put ``values`` in their place; return them as rounded there."""
        constants = self._wiring.constants
        if self._quantised is None:
            set_values(constants[self._name], values.astype(np.float32))
            return values
        scales = (np.abs(values).max(axis=(1, 2, 3)) / _INT8_LIMIT).clip(1e-12).astype(np.float32)
        steps = np.rint(values / scales[:, None, None, None]).astype(np.int8)
        set_values(constants[self._quantised.input[0]], steps)
        set_values(constants[self._quantised.input[1]], scales)
        for name in self._quantised.input[2:]:
            set_values(constants[name], np.zeros(len(scales), np.int8))
        rounded: Array = steps * scales.astype(np.float64)[:, None, None, None]
        return rounded


def _constant(graph_index: GraphIndex, node: onnx.NodeProto, index: int) -> Array:
    return graph_index.array(node.input[index]).astype(np.float64)


def _set(graph_index: GraphIndex, node: onnx.NodeProto, index: int, values: Array) -> None:
    set_values(graph_index.constants[node.input[index]], values.astype(np.float32))


def _first(weights: Array, to_rgb: Array, block: int) -> Array:
    """Return the first convolution's weights for blocks of planes.

    Colour samples beyond the kernel's reach are replaced by the nearest within it.
    """
    outputs, _, rows, columns = weights.shape
    pixels = weights.reshape(outputs, block, block, 3, rows, columns)
    pixels = pixels.transpose(0, 4, 1, 5, 2, 3).reshape(outputs, rows * block, columns * block, 3)
    y, u, v = np.moveaxis(pixels @ to_rgb, -1, 0)
    down = _enlarging(rows * block // 2, -0.25)
    across = _enlarging(columns * block // 2, 0.0)
    parts = [(y, block)]
    parts += [(np.einsum("oyx,yr,xc->orc", part, down, across), block // 2) for part in (u, v)]
    blocks = [
        part.reshape(outputs, rows, side, columns, side)
        .transpose(0, 2, 4, 1, 3)
        .reshape(outputs, side**2, rows, columns)
        for part, side in parts
    ]
    return np.concatenate(blocks, axis=1)


def _enlarging(count: int, shift: float) -> Array:
    """Return the matrix (2 * count, count) that doubles a line of samples, linearly.

    Sample ``i`` of the result lies at ``i / 2 + shift`` of the line.
    """
    matrix = np.zeros((2 * count, count))
    for index in range(2 * count):
        place = index / 2 + shift
        low = int(np.floor(place))
        for near, share in ((low, 1 - place + low), (low + 1, place - low)):
            matrix[index, min(max(near, 0), count - 1)] += share
    return matrix


def _last(to_yuv: Array, block: int) -> Array:
    """Return the matrix from a block of RGB changes to one of YUV changes."""
    half = block // 2
    matrix: Any = np.zeros((3 * block**2 // 2, block**2, 3))
    for y in range(block):
        for x in range(block):
            pixel = y * block + x
            colour = block**2 + y // 2 * half + x // 2
            matrix[pixel, pixel] = to_yuv[0]
            matrix[colour, pixel] = to_yuv[1] / 4
            matrix[colour + half**2, pixel] = to_yuv[2] / 4
    return cast(Array, matrix.reshape(3 * block**2 // 2, 3 * block**2))
