"""The parts that MAXIM is made of, on NHWC tensors.

Most of the work is dense layers over channels, which need no copies in NHWC,
and a permuted NHWC tensor is what PyTorch calls channels-last, the layout its
CPU convolutions prefer. Where two linear maps commute (a 1x1 convolution and
an enlargement) the cheaper order is taken. Names of attributes are the Flax
names of the original, so that state dicts need no table of renames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, LEVELS, GROUPS = 32, 3, 2
EPSILON = 1e-6
SLOPE = 0.2

Axis = Literal["block", "grid"]


def cells_at(level: int) -> int:
    """Side of the grid and of the block at a level (MAXIM, section 3.2 and appendix)."""
    return 16 if level < 2 else 8


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


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

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
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


class Resize(nn.Module):
    """Bilinear resize by a power of two, antialiased when shrinking, and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.Conv_0 = Conv(inputs, outputs, 1)

    def _resize(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x.permute(0, 3, 1, 2),
            scale_factor=self.scale,
            mode="bilinear",
            align_corners=False,
            antialias=self.scale < 1,
        ).permute(0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return self.Conv_0(x)
        if self.scale > 1:  # interpolation weights sum to one, so the order does not matter
            return self._resize(self.Conv_0(x))
        return self.Conv_0(self._resize(x))


class TokenDense(nn.Linear):
    """Dense layer over ``cells x cells`` positions, shared by all channels, on NHWC.

    ``axis="block"`` mixes the pixels inside each block of cells x cells pixels;
    ``axis="grid"`` cuts the picture into cells x cells tiles and mixes the
    pixels at the same place of each tile (MAXIM, figure 3).
    """

    def __init__(self, cells: int, axis: Axis) -> None:
        super().__init__(cells * cells, cells * cells)
        self.cells = cells
        self.axis = axis

    def forward(self, x: Tensor, offset: float = 0.0) -> Tensor:
        """Mix NHWC -> NHWC (a strided view), plus a constant.

        One large product of (positions, positions) by (positions, everything
        else) costs one copy into place and none back.
        """
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
        self.in_project = nn.Linear(channels, 2 * channels)
        self.add_module(f"{axis.capitalize()}GatingUnit", GatingUnit(channels, cells, axis))
        self.gating = f"{axis.capitalize()}GatingUnit"
        self.out_project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = _gelu(self.in_project(self.LayerNorm(x))).chunk(2, dim=-1)
        gated: Tensor = self.get_submodule(self.gating)(u, v)
        return self.out_project(gated).add_(x)


class MultiAxisGmlp(nn.Module):
    """Half of the channels through the grid gMLP, half through the block gMLP."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.LayerNorm_in = Norm(channels)
        self.in_project = nn.Linear(channels, 2 * channels)
        self.GridGmlpLayer = Gmlp(channels, cells, "grid")
        self.BlockGmlpLayer = Gmlp(channels, cells, "block")
        self.out_project = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        both = torch.cat((self.GridGmlpLayer(u), self.BlockGmlpLayer(v)), dim=-1)
        return self.out_project(both).add_(x)


class ChannelAttention(nn.Module):
    """Scale every channel by a function of all channel means (squeeze and excitation)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.Conv_0 = Conv(channels, channels // reduction, 1)
        self.Conv_1 = Conv(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2), keepdim=True)
        return x * torch.sigmoid(self.Conv_1(F.relu(self.Conv_0(mean))))


class ConvAttention(nn.Module):
    """Residual channel attention around two 3x3 convolutions (RCAB)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.LayerNorm = Norm(channels)
        self.conv1 = Conv(channels, channels, 3)
        self.conv2 = Conv(channels, channels, 3)
        self.channel_attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu_(self.conv1(self.LayerNorm(x)), SLOPE)
        return self.channel_attention(self.conv2(y)).add_(x)


class ChannelMixing(nn.Module):
    """Two dense layers over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Dense_0 = nn.Linear(channels, channels)
        self.Dense_1 = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.Dense_1(_gelu(self.Dense_0(x)))


class DenseAttention(nn.Module):
    """Residual channel attention around a dense pair (RDCAB)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.LayerNorm = Norm(channels)
        self.channel_mixing = ChannelMixing(channels)
        self.channel_attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.channel_attention(self.channel_mixing(self.LayerNorm(x))).add_(x)


class MultiAxisGate(nn.Module):
    """Gating weights from both axes: half of the channels mixed over the grid, half in blocks."""

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.LayerNorm_in = Norm(channels)
        self.in_project = nn.Linear(channels, 2 * channels)
        self.Dense_0 = TokenDense(cells, "grid")
        self.Dense_1 = TokenDense(cells, "block")
        self.out_project = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        u, v = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        return self.out_project(torch.cat((self.Dense_0(u), self.Dense_1(v)), dim=-1))


class CrossGating(nn.Module):
    """Two feature maps gate each other; returns (x with everything added, y)."""

    def __init__(
        self, channels: int, cells: int, x_inputs: int, y_inputs: int | None = None
    ) -> None:
        """``y_inputs`` given: y has that many channels at half the size and is enlarged first."""
        super().__init__()
        self.ConvTranspose_0 = None if y_inputs is None else Enlarge(y_inputs, channels)
        self.Conv_0 = Conv(x_inputs, channels, 1)
        self.Conv_1 = Conv(channels, channels, 1)
        self.LayerNorm_x = Norm(channels)
        self.LayerNorm_y = Norm(channels)
        self.in_project_x = nn.Linear(channels, channels)
        self.in_project_y = nn.Linear(channels, channels)
        self.SplitHeadMultiAxisGating_x = MultiAxisGate(channels, cells)
        self.SplitHeadMultiAxisGating_y = MultiAxisGate(channels, cells)
        self.out_project_x = nn.Linear(channels, channels)
        self.out_project_y = nn.Linear(channels, channels)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.ConvTranspose_0 is not None:
            y = self.ConvTranspose_0(y)
        shortcut_x, shortcut_y = self.Conv_0(x), self.Conv_1(y)
        x = _gelu(self.in_project_x(self.LayerNorm_x(shortcut_x)))
        y = _gelu(self.in_project_y(self.LayerNorm_y(shortcut_y)))
        gate_x, gate_y = self.SplitHeadMultiAxisGating_x(x), self.SplitHeadMultiAxisGating_y(y)
        y = self.out_project_y(y * gate_x).add_(shortcut_y)
        x = self.out_project_x(x * gate_y).add_(y).add_(shortcut_x)
        return x, y


class Encoder(nn.Module):
    """Fuse, refine with multi-axis gMLP and RCAB, optionally gate with the previous stage."""

    def __init__(
        self, level: int, inputs: int, *, gated: bool = False, shrinks: bool = True
    ) -> None:
        super().__init__()
        channels = WIDTH << level
        self.Conv_0 = Conv(inputs, channels, 1)
        for group in range(GROUPS):
            self.add_module(
                f"SplitHeadMultiAxisGmlpLayer_{group}", MultiAxisGmlp(channels, cells_at(level))
            )
            self.add_module(f"channel_attention_block_1{group}", ConvAttention(channels))
        self.cross_gating_block = (
            CrossGating(channels, cells_at(level), channels) if gated else None
        )
        self.Conv_1 = Conv(channels, channels, 4, stride=2) if shrinks else None

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Return the features at this level (:meth:`shrink` takes them to the next)."""
        x = shortcut = self.Conv_0(x)
        for group in range(GROUPS):
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{group}")(x)
            x = self.get_submodule(f"channel_attention_block_1{group}")(x)
        x = x + shortcut
        if self.cross_gating_block is not None:
            x, _ = self.cross_gating_block(x, previous)
        return x


class Decoder(nn.Module):
    """Enlarge, join with the bridge, refine."""

    def __init__(self, level: int, inputs: int) -> None:
        super().__init__()
        channels = WIDTH << level
        self.ConvTranspose_0 = Enlarge(inputs, channels)
        self.UNetEncoderBlock_0 = Encoder(level, 4 * channels, shrinks=False)

    def forward(self, x: Tensor, bridge: Sequence[Tensor]) -> Tensor:
        features: Tensor = self.UNetEncoderBlock_0(
            torch.cat((self.ConvTranspose_0(x), *bridge), dim=-1)
        )
        return features


class Bottleneck(nn.Module):
    """Global refinement at one eighth of the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input_proj = Conv(channels, channels, 1)
        for group in range(GROUPS):
            self.add_module(
                f"SplitHeadMultiAxisGmlpLayer_{group}", MultiAxisGmlp(channels, cells_at(LEVELS))
            )
            self.add_module(f"channel_attention_block_1_{group}", DenseAttention(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = shortcut = self.input_proj(x)
        for group in range(GROUPS):
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{group}")(x)
            x = self.get_submodule(f"channel_attention_block_1_{group}")(x)
        return x + shortcut


class SupervisedAttention(nn.Module):
    """Features for the next stage, weighted by the image this stage would output (SAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Conv_0 = Conv(channels, channels, 3)
        self.Conv_1 = Conv(channels, 3, 3)
        self.Conv_2 = Conv(3, channels, 3)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        image = self.Conv_1(x) + picture
        return (self.Conv_0(x) * torch.sigmoid(self.Conv_2(image))).add_(x)
