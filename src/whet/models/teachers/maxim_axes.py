"""Multi-axis mixing, the idea of MAXIM, on NHWC tensors.

Most of the work is dense layers over channels, which need no copies in NHWC,
and a permuted NHWC tensor is what PyTorch calls channels-last, the layout its
CPU convolutions prefer. Names of attributes are the Flax names of the original
(Tu et al., CVPR 2022), so that state dicts need no table of renames.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Axis = Literal["block", "grid"]

EPSILON = 1e-6


def cells_at(level: int) -> int:
    """Side of the grid and of the blocks at a level; the bottleneck is level 3."""
    return 16 if level < 2 else 8


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, ``x / 2 (1 + tanh(s))``, which equals ``x sigmoid(2 s)``.

    The second form takes half the time on a CPU, where tanh is slow; as it works
    in place it is kept from tensors that need a gradient.
    """
    if x.requires_grad or x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    slope = 2 * math.sqrt(2 / math.pi)
    t = torch.addcmul(x.new_tensor(slope), x, x, value=slope * 0.044715)
    return t.mul_(x).sigmoid_().mul_(x)


class Conv(nn.Conv2d):
    """Convolution on NHWC that keeps the size (divided by the stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1):
            return F.linear(x, self.weight.flatten(1), self.bias)
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Enlarge(nn.ConvTranspose2d):
    """Transposed 2x2 convolution of stride 2 on NHWC, as one dense layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, 2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        n, h, w, _ = x.shape
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        y = F.linear(x, weight).view(n, h, w, 2, 2, self.out_channels)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, self.out_channels)
        assert self.bias is not None
        return y.add_(self.bias)


class Norm(nn.LayerNorm):
    """Layer normalisation over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)


class Fork(nn.Linear):
    """Dense layer C -> 2C and GELU; the two halves come as tensors of their own, contiguous."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 2 * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        (wu, wv), (bu, bv) = self.weight.chunk(2), self.bias.chunk(2)
        return gelu(F.linear(x, wu, bu)), gelu(F.linear(x, wv, bv))


class Join(nn.Linear):
    """Dense layer 2C -> C over two tensors, without joining them in memory."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels, channels)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:  # type: ignore[override]
        wu, wv = self.weight.chunk(2, dim=1)
        y = F.linear(u, wu, self.bias).flatten(0, -2)
        return y.addmm_(v.flatten(0, -2), wv.t()).view_as(u)


class TokenDense(nn.Linear):
    """Dense layer over ``cells x cells`` positions, the same for all channels, on NHWC.

    ``axis="block"`` mixes the pixels inside each block of cells x cells pixels;
    ``axis="grid"`` cuts the picture into cells x cells tiles and mixes the
    pixels at the same place of each tile.
    """

    def __init__(self, cells: int, axis: Axis) -> None:
        super().__init__(cells * cells, cells * cells)
        self.cells = cells
        self.axis = axis

    def forward(self, x: Tensor, offset: float = 0.0) -> Tensor:
        """Mix NHWC -> NHWC, plus a constant, as one large product over (positions, all else)."""
        n, h, w, c = x.shape
        k = self.cells
        if self.axis == "block":
            split = x.reshape(n, h // k, k, w // k, k, c).permute(2, 4, 0, 1, 3, 5)
            back = (2, 3, 0, 4, 1, 5)
        else:
            split = x.reshape(n, k, h // k, k, w // k, c).permute(1, 3, 0, 2, 4, 5)
            back = (2, 0, 3, 1, 4, 5)
        mixed = torch.addmm(self.bias[:, None] + offset, self.weight, split.reshape(k * k, -1))
        return mixed.view(split.shape).permute(back).reshape(n, h, w, c)


class GatingUnit(nn.Module):
    """Spatial gating: ``u * (mix(norm(v)) + 1)``."""

    def __init__(self, channels: int, cells: int, axis: Axis) -> None:
        super().__init__()
        self.intermediate_layernorm = Norm(channels)
        self.Dense_0 = TokenDense(cells, axis)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        mixed: Tensor = self.Dense_0(self.intermediate_layernorm(v), offset=1.0)
        return mixed * u


class Gmlp(nn.Module):
    """Gated MLP along one axis, with shortcut."""

    def __init__(self, channels: int, cells: int, axis: Axis) -> None:
        super().__init__()
        self.LayerNorm = Norm(channels)
        self.in_project = Fork(channels)
        self.add_module(f"{axis.capitalize()}GatingUnit", GatingUnit(channels, cells, axis))
        self.gating = f"{axis.capitalize()}GatingUnit"
        self.out_project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.in_project(self.LayerNorm(x))
        gated: Tensor = self.get_submodule(self.gating)(u, v)
        projected: Tensor = self.out_project(gated)
        return projected.add_(x)


class MultiAxisGmlp(nn.Module):
    """Half of the channels through the grid gMLP, half through the block gMLP."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.LayerNorm_in = Norm(channels)
        self.in_project = Fork(channels)
        self.GridGmlpLayer = Gmlp(channels, cells, "grid")
        self.BlockGmlpLayer = Gmlp(channels, cells, "block")
        self.out_project = Join(channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.in_project(self.LayerNorm_in(x))
        projected: Tensor = self.out_project(self.GridGmlpLayer(u), self.BlockGmlpLayer(v))
        return projected.add_(x)


class MultiAxisGate(nn.Module):
    """Gating weights from both axes: half of the channels mixed over the grid, half in blocks."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.LayerNorm_in = Norm(channels)
        self.in_project = Fork(channels)
        self.Dense_0 = TokenDense(cells, "grid")
        self.Dense_1 = TokenDense(cells, "block")
        self.out_project = Join(channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.in_project(self.LayerNorm_in(x))
        weights: Tensor = self.out_project(self.Dense_0(u), self.Dense_1(v))
        return weights
