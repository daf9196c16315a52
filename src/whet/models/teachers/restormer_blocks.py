"""The parts of Restormer: attention between channels, gated feed-forward, layer norms.

Zamir et al., CVPR 2022; windows after Chu et al., ECCV 2022 (see ``restormer``).
Attribute names are those of the official checkpoints. Every module maps
(N, C, H, W) to the same shape.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Block", "GatedFeedForward", "Norm", "TransposedAttention", "conv3", "under"]

Norm = Literal["BiasFree", "WithBias"]

_EPSILON = 1e-5  # of both layer norms; Zamir et al.'s published code


class Block(nn.Module):
    """Transformer block: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(
        self, width: int, heads: int, hidden: int, norm: Norm, window: int | None = None
    ) -> None:
        super().__init__()
        normalise = CentredNorm if norm == "WithBias" else ScalingNorm
        self.norm1 = under("body", normalise(width))
        self.attn = TransposedAttention(width, heads, window)
        self.norm2 = under("body", normalise(width))
        self.ffn = GatedFeedForward(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.ffn(self.norm2(x))
        return out


class CentredNorm(nn.Module):
    """Layer norm over channels, kind WithBias: (x - mean) / sqrt(var + 1e-5) * weight + bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel of (N, C, H, W) over C."""
        pixels = x.movedim(1, -1)
        normed = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, _EPSILON)
        return normed.movedim(-1, 1)


class ScalingNorm(nn.Module):
    """Layer norm over channels, kind BiasFree: x / sqrt(var + 1e-5) * weight.

    The variance is taken around the mean, yet the mean is not subtracted.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel of (N, C, H, W) over C."""
        variance = x.var(dim=1, correction=0, keepdim=True)
        return x * torch.rsqrt(variance + _EPSILON) * self.weight[:, None, None]


class TransposedAttention(nn.Module):
    """MDTA (Zamir et al., eq. 1): softmax(temperature * Q K^T) V between channels, by head.

    The rows of Q and K, one per channel, are scaled to unit length over the
    pixels, so Q K^T holds cosines, and ``temperature`` is learned per head.
    The cost grows linearly with the number of pixels.
    """

    def __init__(self, width: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.qkv_dwconv = conv3(3 * width, 3 * width, groups=3 * width)
        self.project_out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        qkv = self.qkv_dwconv(self.qkv(x))
        larger = self.window is not None and max(x.shape[-2:]) > self.window
        out: Tensor = self.project_out(self._mix_windows(qkv) if larger else self._mix(qkv))
        return out

    def _mix(self, qkv: Tensor) -> Tensor:
        """Return attention (N, C, H, W) from stacked queries, keys and values (N, 3C, H, W)."""
        n, stacked, height, width = qkv.shape
        per_head = qkv.reshape(n, 3, self.heads, -1, height * width)
        query, key, value = per_head.unbind(dim=1)
        cosines = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).mT
        attention = torch.softmax(cosines * self.temperature, dim=-1)
        return (attention @ value).reshape(n, stacked // 3, height, width)

    def _mix_windows(self, qkv: Tensor) -> Tensor:
        """Return attention computed by window (Chu et al.); where windows overlap, their mean."""
        assert self.window is not None
        n, stacked, height, width = qkv.shape
        total = qkv.new_zeros(n, stacked // 3, height, width)
        visits = qkv.new_zeros(height, width)
        # One window at a time: stacking them would double the largest tensor.
        for top in _window_starts(height, self.window):
            for left in _window_starts(width, self.window):
                rows, columns = slice(top, top + self.window), slice(left, left + self.window)
                total[..., rows, columns] += self._mix(qkv[..., rows, columns])
                visits[rows, columns] += 1
        return total / visits


class GatedFeedForward(nn.Module):
    """GDFN (Zamir et al., eq. 3): W_out(gelu(a) * b), with a, b halves of depthwise(W_in(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=False)
        self.dwconv = conv3(2 * hidden, 2 * hidden, groups=2 * hidden)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        gate, signal = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        out: Tensor = self.project_out(F.gelu(gate) * signal)
        return out


def under(name: str, module: nn.Module) -> nn.Sequential:
    """Wrap ``module`` so that its parameters are called ``name.*``, as in the checkpoints."""
    return nn.Sequential(OrderedDict([(name, module)]))


def conv3(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps height and width."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)


def _window_starts(length: int, window: int) -> list[int]:
    """Return the fewest evenly spread starts of windows that cover ``length``."""
    count = -(-length // window)
    if count == 1:
        return [0]
    step = -(-(length - window) // (count - 1))
    return [min(i * step, length - window) for i in range(count)]
