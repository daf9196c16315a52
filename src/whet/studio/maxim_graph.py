"""MAXIM-3S as an ONNX graph, written from its weights in a second and without PyTorch.

The same network as :mod:`whet.models.teachers.maxim` (Tu et al., CVPR 2022), which a test
compares it with; the names of weights are those of the state dict. It is written by hand and not
exported, for three reasons that were measured. PyTorch's exporter needs a minute for its 12,000
nodes, and nine with its optimiser. What it writes moves every tensor in memory around every
mixing; here a picture is cut into cells once per block, between which mixing over the grid is one
matrix product ``W @ x`` and mixing inside the cells another, on tensors that lie as they should.
And whoever installs whet for use has no PyTorch.

With a grid of k x k cells, position in the grid is the first axis of ``(k * k, pixels, channels)``
and the grid's mixing a product from the left; blocks of k x k pixels are ``(blocks, k * k,
channels)``, and theirs the same product for each block. Where a picture has k * k blocks, the two
are one layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT
from whet.studio.graph_writer import GraphWriter, Split

__all__ = ["MULTIPLE", "maxim_graph"]

MULTIPLE = 64
"""Height and width are multiples of this (pixels): three halvings, then cells of 8 x 8."""

STAGES, LEVELS, GROUPS, BOTTLENECKS = 3, 3, 2, 2
WIDTH = 32
SLOPE = 0.2
EPSILON = 1e-6


def maxim_graph(weights: Mapping[str, NDArray[Any]], height: int, width: int) -> onnx.ModelProto:
    """Return MAXIM-3S for one size; unclamped, float32 (1, 3, height, width) in and out.

    Args:
        weights: arrays by state-dict key, any float type.
        height, width: pixels, multiples of :data:`MULTIPLE`.

    Raises:
        KeyError: a weight is missing.
    """
    return _Maxim(GraphWriter(weights), height, width).write()


class _Maxim:
    """Tensors are NHWC where nothing else is said, *cut* ones lie as the grid of their level."""

    def __init__(self, graph: GraphWriter, height: int, width: int) -> None:
        self.g = graph
        self.height, self.width = height, width
        self._nothing = self._zero()

    # Sizes

    def _size(self, level: int) -> tuple[int, int]:
        return self.height >> level, self.width >> level

    def _channels(self, level: int) -> int:
        return WIDTH << min(level, LEVELS - 1)

    def _grid(self, level: int) -> Split:
        (h, w), k = self._size(level), _cells(level)
        return k, h // k, k, w // k

    def _blocks(self, level: int) -> Split:
        (h, w), k = self._size(level), _cells(level)
        return h // k, k, w // k, k

    def _cut(self, x: str, level: int) -> str:
        return self.g.cut(x, self._grid(level), self._channels(level))

    def _uncut(self, x: str, level: int) -> str:
        return self.g.uncut(x, self._grid(level), self._channels(level))

    # The two axes

    def _fork(self, x: str, key: str) -> tuple[str, str]:
        """Dense layer C -> 2C and GELU, as two tensors."""
        weights = np.split(self.g.weight(f"{key}.weight"), 2)
        biases = np.split(self.g.weight(f"{key}.bias"), 2)
        u, v = (
            self.g.gelu(self.g.dense(x, weight, bias))
            for weight, bias in zip(weights, biases, strict=True)
        )
        return u, v

    def _join(self, u: str, v: str, key: str) -> str:
        """Dense layer 2C -> C over two tensors that are never joined."""
        first, second = np.split(self.g.weight(f"{key}.weight"), 2, axis=1)
        left = self.g.dense(u, first, self.g.weight(f"{key}.bias"))
        return self.g.op("Add", left, self.g.dense(v, second))

    def _zero(self) -> str:
        """A nought that no compiler folds away: see :meth:`_token_weights`."""
        ends = (np.zeros(3, np.int64), np.ones(3, np.int64), np.arange(1, 4))
        corner = self.g.op("Slice", INPUT, *ends)
        return self.g.reshape(self.g.op("Mul", corner, np.zeros(1, np.float32)), 1)

    def _token_weights(self, key: str) -> str:
        """Weights on the left of a product. OpenVINO leaves the product in float32 when they are
        constants, even where everything around it is bfloat16; that took a third of the time."""
        return self.g.op("Add", self.g.weight(f"{key}.weight"), self._nothing)

    def _mix_grid(self, x: str, key: str, level: int, offset: float = 0.0) -> str:
        """Dense layer over the cells, the same for every place in a cell and every channel."""
        tokens, c = _cells(level) ** 2, self._channels(level)
        bias = self.g.weight(f"{key}.bias") + offset
        y = self.g.op("MatMul", self._token_weights(key), self.g.reshape(x, tokens, -1))
        return self.g.reshape(self.g.op("Add", y, bias[:, None]), tokens, -1, c)

    def _mix_blocks(self, x: str, key: str, offset: float = 0.0) -> str:
        """Dense layer over the pixels of a block."""
        bias = self.g.weight(f"{key}.bias") + offset
        return self.g.op("Add", self.g.op("MatMul", self._token_weights(key), x), bias[:, None])

    def _in_blocks(self, x: str, level: int) -> str:
        return self.g.recut(x, self._grid(level), self._blocks(level), self._channels(level))

    def _in_grid(self, x: str, level: int) -> str:
        return self.g.recut(x, self._blocks(level), self._grid(level), self._channels(level))

    def _gmlp(self, x: str, key: str, level: int, axis: str) -> str:
        u, v = self._fork(self._norm(x, f"{key}.LayerNorm"), f"{key}.in_project")
        unit = f"{key}.{axis}GatingUnit"
        v = self._norm(v, f"{unit}.intermediate_layernorm")
        if axis == "Grid":
            v = self._mix_grid(v, f"{unit}.Dense_0", level, offset=1.0)
        else:
            v = self._mix_blocks(v, f"{unit}.Dense_0", offset=1.0)
        gated = self.g.op("Mul", u, v)
        return self.g.op("Add", self.g.linear(gated, f"{key}.out_project"), x)

    def _axes_gmlp(self, x: str, key: str, level: int) -> str:
        """Half of the channels through the grid's gMLP, half through the blocks'; cut."""
        u, v = self._fork(self._norm(x, f"{key}.LayerNorm_in"), f"{key}.in_project")
        u = self._gmlp(u, f"{key}.GridGmlpLayer", level, "Grid")
        v = self._gmlp(self._in_blocks(v, level), f"{key}.BlockGmlpLayer", level, "Block")
        joined = self._join(u, self._in_grid(v, level), f"{key}.out_project")
        return self.g.op("Add", joined, x)

    def _gate(self, x: str, key: str, level: int) -> str:
        """Gating weights from both axes; cut."""
        u, v = self._fork(self._norm(x, f"{key}.LayerNorm_in"), f"{key}.in_project")
        u = self._mix_grid(u, f"{key}.Dense_0", level)
        v = self._mix_blocks(self._in_blocks(v, level), f"{key}.Dense_1")
        return self._join(u, self._in_grid(v, level), f"{key}.out_project")

    # Blocks

    def _norm(self, x: str, key: str) -> str:
        return self.g.norm(x, key, EPSILON)

    def _convolution(self, x: str, key: str, stride: int = 1) -> str:
        return self.g.pixels(self.g.convolution(self.g.planes(x), key, stride))

    def _conv_attention(self, x: str, key: str) -> str:
        """Residual channel attention around two 3x3 convolutions."""
        y = self.g.convolution(self.g.planes(self._norm(x, f"{key}.LayerNorm")), f"{key}.conv1")
        y = self.g.convolution(self.g.op("LeakyRelu", y, alpha=SLOPE), f"{key}.conv2")
        mean = self.g.op("ReduceMean", y, np.array([2, 3]), keepdims=1)
        squeezed = self.g.op("Relu", self.g.convolution(mean, f"{key}.channel_attention.Conv_0"))
        scale = self.g.convolution(squeezed, f"{key}.channel_attention.Conv_1")
        y = self.g.op("Mul", y, self.g.op("Sigmoid", scale))
        return self.g.op("Add", self.g.pixels(y), x)

    def _dense_attention(self, x: str, key: str) -> str:
        """Residual channel attention around a dense pair; cut."""
        y = self._norm(x, f"{key}.LayerNorm")
        y = self.g.gelu(self.g.linear(y, f"{key}.channel_mixing.Dense_0"))
        y = self.g.linear(y, f"{key}.channel_mixing.Dense_1")
        mean = self.g.op("ReduceMean", y, np.array([0, 1]), keepdims=1)
        squeezed = self.g.op("Relu", self.g.linear(mean, f"{key}.channel_attention.Conv_0"))
        scale = self.g.linear(squeezed, f"{key}.channel_attention.Conv_1")
        return self.g.op("Add", self.g.op("Mul", y, self.g.op("Sigmoid", scale)), x)

    def _enlarge(self, x: str, key: str, level: int) -> str:
        """Transposed 2x2 convolution of stride 2 up to ``level``, as one dense layer."""
        weight, c = self.g.weight(f"{key}.weight"), self._channels(level)
        h, w = self._size(level + 1)
        every = weight.transpose(2, 3, 1, 0).reshape(4 * c, -1)
        y = self.g.dense(x, every, np.tile(self.g.weight(f"{key}.bias"), 4))
        y = self.g.transpose(self.g.reshape(y, h, w, 2, 2 * c), 0, 2, 1, 3)
        return self.g.reshape(y, 1, 2 * h, 2 * w, c)

    def _cross_gating(self, x: str, y: str, key: str, level: int) -> tuple[str, str]:
        """Two feature maps gate each other; returns (x with everything added, y)."""
        x = shortcut_x = self._cut(self.g.linear(x, f"{key}.Conv_0"), level)
        y = shortcut_y = self._cut(self.g.linear(y, f"{key}.Conv_1"), level)
        x = self.g.gelu(self.g.linear(self._norm(x, f"{key}.LayerNorm_x"), f"{key}.in_project_x"))
        y = self.g.gelu(self.g.linear(self._norm(y, f"{key}.LayerNorm_y"), f"{key}.in_project_y"))
        gate_x = self._gate(x, f"{key}.SplitHeadMultiAxisGating_x", level)
        gate_y = self._gate(y, f"{key}.SplitHeadMultiAxisGating_y", level)
        y = self.g.linear(self.g.op("Mul", y, gate_x), f"{key}.out_project_y")
        x = self.g.linear(self.g.op("Mul", x, gate_y), f"{key}.out_project_x")
        y = self.g.op("Add", y, shortcut_y)
        x = self.g.op("Add", self.g.op("Add", x, y), shortcut_x)
        return self._uncut(x, level), self._uncut(y, level)

    def _encoder(self, x: str, key: str, level: int) -> str:
        """Fuse, then refine with both axes and convolutions."""
        x = shortcut = self.g.linear(x, f"{key}.Conv_0")
        for group in range(GROUPS):
            x = self._cut(x, level)
            x = self._axes_gmlp(x, f"{key}.SplitHeadMultiAxisGmlpLayer_{group}", level)
            x = self._uncut(x, level)
            x = self._conv_attention(x, f"{key}.channel_attention_block_1{group}")
        return self.g.op("Add", x, shortcut)

    def _bottleneck(self, x: str, key: str) -> str:
        level = LEVELS
        x = shortcut = self._cut(self.g.linear(x, f"{key}.input_proj"), level)
        for group in range(GROUPS):
            x = self._axes_gmlp(x, f"{key}.SplitHeadMultiAxisGmlpLayer_{group}", level)
            x = self._dense_attention(x, f"{key}.channel_attention_block_1_{group}")
        return self._uncut(self.g.op("Add", x, shortcut), level)

    def _supervised_attention(self, x: str, picture: str, key: str) -> str:
        image = self.g.op("Add", self._convolution(x, f"{key}.Conv_1"), picture)
        share = self.g.op("Sigmoid", self._convolution(image, f"{key}.Conv_2"))
        weighted = self.g.op("Mul", self._convolution(x, f"{key}.Conv_0"), share)
        return self.g.op("Add", weighted, x)

    # Resizing

    def _resized(self, x: str, number: int, source: int, target: int) -> str:
        """Bilinear, antialiased when shrinking, and a 1x1 convolution, on the smaller side."""
        key = f"UpSampleRatio_{number}.Conv_0"
        if source >= target:
            x = self.g.linear(x, key)
            return x if source == target else self.g.enlarged(x, 2 ** (source - target))
        size, c = self._size(source), self._channels(source)
        return self.g.linear(self.g.shrunk(x, 2 ** (target - source), size, c), key)

    # The whole

    def write(self) -> onnx.ModelProto:
        x = self.g.pixels(INPUT)
        # Half-pixel nearest neighbours, as the original shrinks its inputs.
        pictures = [x, *(self._every(x, step) for step in (2, 4))]
        attended: Sequence[str] = ()
        previous: Sequence[str] = ()
        decoded: Sequence[str] = ()
        for stage in range(STAGES):
            encoded, decoded = self._stage(f"stage_{stage}", stage, pictures, attended, previous)
            if stage < STAGES - 1:
                attended = [
                    self._supervised_attention(
                        decoded[i], pictures[i], f"stage_{stage}_supervised_attention_module_{i}"
                    )
                    for i in range(LEVELS)
                ]
                previous = [self.g.op("Add", a, b) for a, b in zip(encoded, decoded, strict=True)]
        residual = self._convolution(decoded[0], f"stage_{STAGES - 1}_output_conv_0")
        restored = self.g.op("Add", self.g.planes(residual), INPUT)
        return self.g.finish(restored, self.height, self.width)

    def _every(self, x: str, step: int) -> str:
        first, last, axes, steps = [step // 2] * 2, [2**31] * 2, [1, 2], [step] * 2
        return self.g.op("Slice", x, *(np.array(v, np.int64) for v in (first, last, axes, steps)))

    def _stage(
        self,
        key: str,
        stage: int,
        pictures: Sequence[str],
        attended: Sequence[str],
        previous: Sequence[str],
    ) -> tuple[list[str], list[str]]:
        """Return what the encoders and the decoders see, by level."""
        scaled = [self._convolution(pictures[i], f"{key}_input_conv_{i}") for i in range(LEVELS)]
        if attended:
            scaled = [
                self._cross_gating(scaled[i], attended[i], f"{key}_input_fuse_sam_{i}", i)[0]
                for i in range(LEVELS)
            ]
        encoded: list[str] = []
        x = scaled[0]
        for i in range(LEVELS):
            block = f"{key}_encoder_block_{i}"
            x = self._encoder(self.g.op("Concat", x, scaled[i], axis=-1), block, i)
            if previous:
                x, _ = self._cross_gating(x, previous[i], f"{block}.cross_gating_block", i)
            encoded.append(x)
            x = self._convolution(x, f"{block}.Conv_1", stride=2)
        for number in range(BOTTLENECKS):
            x = self._bottleneck(x, f"{key}_global_block_{number}")
        skips = self._skips(key, 18 * stage, encoded, x)
        return encoded, self._decoded(key, 18 * stage + LEVELS**2, skips, x)

    def _skips(self, key: str, number: int, encoded: Sequence[str], guide: str) -> list[str]:
        """Cross-gate what the encoders saw with the global features, from the deepest level up."""
        skips = []
        for i in reversed(range(LEVELS)):
            resized = [self._resized(x, number + j, j, i) for j, x in enumerate(encoded)]
            signal = self.g.op("Concat", *resized, axis=-1)
            block = f"{key}_cross_gating_block_{i}"
            guide = self._enlarge(guide, f"{block}.ConvTranspose_0", i)
            skip, guide = self._cross_gating(signal, guide, block, i)
            skips.append(skip)
            number += LEVELS
        return skips

    def _decoded(self, key: str, number: int, skips: Sequence[str], x: str) -> list[str]:
        decoded = []
        for i in reversed(range(LEVELS)):
            bridge = [
                self._resized(skip, number + j, LEVELS - 1 - j, i) for j, skip in enumerate(skips)
            ]
            block = f"{key}_decoder_block_{i}"
            up = self._enlarge(x, f"{block}.ConvTranspose_0", i)
            joined = self.g.op("Concat", up, *bridge, axis=-1)
            x = self._encoder(joined, f"{block}.UNetEncoderBlock_0", i)
            decoded.append(x)
            number += LEVELS
        return decoded[::-1]


def _cells(level: int) -> int:
    """Side of the grid and of the blocks at a level; the bottleneck is level 3."""
    return 16 if level < 2 else 8
