"""The blocks that a stage of MAXIM is made of, on NHWC tensors.

Names of attributes are the Flax names of the original (Tu et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whet.models.teachers.maxim_axes import (
    Conv,
    Enlarge,
    MultiAxisGate,
    MultiAxisGmlp,
    Norm,
    cells_at,
    gelu,
)

WIDTH, LEVELS, GROUPS = 32, 3, 2
SLOPE = 0.2


class Resize(nn.Module):
    """Bilinear resize by a power of two, antialiased when shrinking, and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.Conv_0 = Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Interpolation weights sum to one, so the two steps commute: resize where there is less.
        if self.scale > 1:
            return self._resize(self.Conv_0(x))
        projected: Tensor = self.Conv_0(x if self.scale == 1 else self._resize(x))
        return projected

    def _resize(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x.permute(0, 3, 1, 2),
            scale_factor=self.scale,
            mode="bilinear",
            align_corners=False,
            antialias=self.scale < 1,
        ).permute(0, 2, 3, 1)


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
        scaled: Tensor = self.channel_attention(self.conv2(y))
        return scaled.add_(x)


class ChannelMixing(nn.Module):
    """Two dense layers over the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Dense_0 = nn.Linear(channels, channels)
        self.Dense_1 = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.Dense_1(gelu(self.Dense_0(x)))
        return mixed


class DenseAttention(nn.Module):
    """Residual channel attention around a dense pair (RDCAB)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.LayerNorm = Norm(channels)
        self.channel_mixing = ChannelMixing(channels)
        self.channel_attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.channel_attention(self.channel_mixing(self.LayerNorm(x)))
        return scaled.add_(x)


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
        x = gelu(self.in_project_x(self.LayerNorm_x(shortcut_x)))
        y = gelu(self.in_project_y(self.LayerNorm_y(shortcut_y)))
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

    def forward(self, x: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the features of this level and, where the block shrinks, those for the next."""
        x = shortcut = self.Conv_0(x)
        for group in range(GROUPS):
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{group}")(x)
            x = self.get_submodule(f"channel_attention_block_1{group}")(x)
        x = x + shortcut
        if self.cross_gating_block is not None:
            x, _ = self.cross_gating_block(x, previous)
        return x, x if self.Conv_1 is None else self.Conv_1(x)


class Decoder(nn.Module):
    """Enlarge, join with the bridge, refine."""

    def __init__(self, level: int, inputs: int) -> None:
        super().__init__()
        channels = WIDTH << level
        self.ConvTranspose_0 = Enlarge(inputs, channels)
        self.UNetEncoderBlock_0 = Encoder(level, 4 * channels, shrinks=False)

    def forward(self, x: Tensor, bridge: Sequence[Tensor]) -> Tensor:
        joined = torch.cat((self.ConvTranspose_0(x), *bridge), dim=-1)
        features: Tensor = self.UNetEncoderBlock_0(joined)[0]
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
        shortcut: Tensor = self.input_proj(x)
        x = shortcut
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
        image: Tensor = self.Conv_1(x) + picture
        weighted: Tensor = self.Conv_0(x) * torch.sigmoid(self.Conv_2(image))
        return weighted.add_(x)
