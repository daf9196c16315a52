"""The real-time family: nano, small and base.

One shape at three sizes. Pixels enter through a 4x pixel-unshuffle, so that the
first convolution already works on a sixteenth of the positions; a small U then
halves the resolution once or more, because a long blur can only be undone by a
network that sees across it and a pixel there costs a quarter; the result is a
residual, shuffled back and added to the picture. Nothing but 3x3 and 1x1
convolutions, ReLU and additions: what int8 runtimes run at full speed.

In training every inner convolution is a sum of linear branches (3x3, 1x1,
identity: Ding et al., "RepVGG", CVPR 2021, without its BatchNorm, which harms
restoration); :meth:`Realtime.fuse` adds them up into one 3x3 convolution. The
last convolution starts at zero, so that an untrained student is the identity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FAMILY", "Realtime", "RealtimeConfig", "build", "halo_px"]

UNSHUFFLE = 4
"""Side in pixels of the block that one position of the first level holds."""


@dataclass(frozen=True)
class RealtimeConfig:
    """The size of one member.

    Attributes:
        widths: channels per level; level 0 is at 1/4 of the resolution, each further one halves it.
        encoder: 3x3 blocks on the way down, per level except the last.
        bottom: 3x3 blocks at the last level.
        decoder: 3x3 blocks on the way up, per level except the last (same order as ``encoder``).
    """

    widths: tuple[int, ...]
    encoder: tuple[int, ...]
    bottom: int
    decoder: tuple[int, ...]

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return int(UNSHUFFLE * 2 ** (len(self.widths) - 1))


FAMILY: Mapping[str, RealtimeConfig] = {
    "nano": RealtimeConfig(widths=(24, 24), encoder=(1,), bottom=1, decoder=(2,)),
    "small": RealtimeConfig(widths=(48, 48), encoder=(1,), bottom=3, decoder=(3,)),
    "base": RealtimeConfig(widths=(64, 96, 128), encoder=(3, 3), bottom=2, decoder=(4, 3)),
}


class RepConv(nn.Module):
    """A 3x3 convolution trained as the sum of 3x3, 1x1 and identity branches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # One kernel instead of two convolutions: a fifth of a training step on a processor. The
        # identity stays apart, as bfloat16 would round the kernel beside it away.
        kernel = self.wide.weight + F.pad(self.point.weight, (1, 1, 1, 1))
        return F.conv2d(x, kernel, self.wide.bias, padding=1) + x

    @torch.no_grad()
    def fuse(self) -> nn.Conv2d:
        """Return the one convolution that equals the three branches."""
        channels = self.wide.out_channels
        merged = nn.Conv2d(channels, channels, 3, padding=1).to(self.wide.weight.device)
        identity = torch.eye(channels, device=self.wide.weight.device)[:, :, None, None]
        merged.weight.copy_(self.wide.weight + F.pad(self.point.weight + identity, (1, 1, 1, 1)))
        assert self.wide.bias is not None
        assert merged.bias is not None
        merged.bias.copy_(self.wide.bias)
        return merged


def _blocks(channels: int, count: int, *, last_relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [RepConv(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers if last_relu else layers[:-1]))


class Realtime(nn.Module):
    """A small U on unshuffled pixels that predicts a residual.

    Input and output: float32 NCHW RGB in [0, 1], sides multiples of
    ``config.multiple``; the output is not clamped.
    """

    def __init__(self, config: RealtimeConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        inner = 3 * UNSHUFFLE**2
        self.head = nn.Conv2d(inner, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _blocks(c, n) for c, n in zip(widths, config.encoder, strict=False)
        )
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.bottom = _blocks(widths[-1], config.bottom)
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in itertools.pairwise(widths))
        # No ReLU before the tail: blur of every kind at once leaves an untrained network little to
        # gain at first, and ReLUs there answer the noise of the first steps by closing for good.
        self.decoder = nn.ModuleList(
            _blocks(c, n, last_relu=level > 0)
            for level, (c, n) in enumerate(zip(widths, config.decoder, strict=False))
        )
        self.tail = nn.Conv2d(widths[0], inner, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, RepConv):
                # The identity branch carries the signal; the learned ones start as a perturbation.
                module.wide.weight.data.mul_(0.3)
                nn.init.zeros_(module.point.weight)
        # What a level adds starts at zero too: as noise it would teach its ReLUs to close for good.
        for last in (self.tail, *self.up):
            nn.init.zeros_(cast(nn.Conv2d, last).weight)

    def forward(self, degraded: Tensor) -> Tensor:
        # Around mid-grey: with a mean far from zero, Adam at 2e-3 drives the residual to nothing.
        x = F.relu(self.head(F.pixel_unshuffle(degraded - 0.5, UNSHUFFLE)))
        skips: list[Tensor] = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = F.relu(down(x))
        x = self.bottom(x)
        for level in reversed(range(len(skips))):
            x = F.pixel_shuffle(self.up[level](x), 2) + skips[level]
            x = self.decoder[level](x)
        return degraded + F.pixel_shuffle(self.tail(x), UNSHUFFLE)

    @torch.no_grad()
    def fuse(self) -> Realtime:
        """Return an equal network in eval mode with every block one 3x3 convolution."""
        fused = Realtime(self.config).to(self.head.weight.device)
        for part in (fused.encoder, fused.decoder, [fused.bottom]):
            for blocks in part:
                assert isinstance(blocks, nn.Sequential)
                for index, layer in enumerate(blocks):
                    if isinstance(layer, RepConv):
                        blocks[index] = layer.wide
        fused.load_state_dict(_merged_state(self))
        return fused.eval()


def _merged_state(student: Realtime) -> dict[str, Tensor]:
    state = dict(student.state_dict())
    for name, module in student.named_modules():
        if isinstance(module, RepConv):
            for key in ("wide.weight", "wide.bias", "point.weight"):
                del state[f"{name}.{key}"]
            for key, value in module.fuse().state_dict().items():
                state[f"{name}.{key}"] = value
    return state


def halo_px(config: RealtimeConfig) -> int:
    """Return how far in pixels an input pixel can reach, rounded up to the size multiple.

    A 3x3 convolution at a level of ``s`` pixels per position reaches ``s`` further;
    the block around each position adds up to one multiple.
    """
    levels = len(config.widths)
    reach: int = 2 * UNSHUFFLE  # head and tail
    for level in range(levels - 1):
        scale = UNSHUFFLE << level
        reach += scale * (config.encoder[level] + config.decoder[level] + 1)  # + the way down
    reach += config.multiple * config.bottom
    reach += config.multiple - 1
    return math.ceil(reach / config.multiple) * config.multiple


def build(name: str) -> Realtime:
    """Return the untrained member of the family called ``name``."""
    return Realtime(FAMILY[name])
