"""Students that are told what they look at.

A stack of 3x3 convolutions at half the resolution restores; a *look* beside it (in
other words: a blind degradation estimator) says what happened to the picture, for
each cell of 128 pixels: the kind of degradation, how much of it, and some values of
its own choosing. The restorer takes that code as a bias of every layer, linear in
the code. Knowing what happened is worth more than ten times the compute: it decides
which of many filters is the right one, and lets what is sharp already pass.

Half resolution because softness is a matter of neighbouring pixels: behind a larger
shuffle each of its phases has to learn the same filter for itself.

In training every inner convolution is a sum of linear branches (3x3, 1x1, identity:
Ding et al., "RepVGG", CVPR 2021, without its BatchNorm, which harms restoration),
added up before the convolution; :meth:`Told.fuse` adds the identity too. The last
convolution starts at zero, so that an untrained student is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.conditions import KINDS, MEASURES
from whet.models.students.realtime import RepConv

__all__ = ["CELL_PX", "CODES", "FAMILY", "FREE", "STEP_PX", "Look", "Told", "ToldConfig", "build"]

FREE = 6
"""Values of the code that nobody names."""

CODES = len(KINDS) + len(MEASURES) + FREE

CELL_PX, STEP_PX = 128, 64
"""Side of the cells that are looked at, and how far apart they lie."""

UNSHUFFLE = 2
_EYE_PX = 8  # pixels to a position of the eye's last layer
_EYE_GAIN = 4.0  # differences of neighbouring pixels are small
_RMS_FLOOR = 1e-6


@dataclass(frozen=True)
class ToldConfig:
    """The size of one member: channels, and 3x3 blocks between the first and the last layer."""

    width: int
    blocks: int


FAMILY: Mapping[str, ToldConfig] = {
    "told-16x4": ToldConfig(width=16, blocks=4),
    "told-24x6": ToldConfig(width=24, blocks=6),
}


class Look(nn.Module):
    """Estimates what happened to each cell of a picture.

    Three small convolutions, then mean and root mean square over the cell, then two
    layers. The code is a distribution over :data:`~whet.conditions.KINDS`, the scaled
    :data:`~whet.conditions.MEASURES` in [0, 1], and free values in [-1, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.Sequential(
            nn.Conv2d(3 * UNSHUFFLE**2, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.mind = nn.Sequential(nn.Conv2d(96, 64, 1), nn.ReLU(), nn.Conv2d(64, CODES, 1))

    def forward(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code of each cell, float32 (N, CODES, rows, columns), and its logits.

        Args:
            centred: the picture minus 0.5, unshuffled by 2.
        """
        seen = self.eye(centred * _EYE_GAIN).float()
        cell = min(CELL_PX // _EYE_PX, *seen.shape[-2:])
        step = STEP_PX // _EYE_PX
        # Means of squares lose too much in the reduced precision of a training step.
        with torch.autocast(seen.device.type, enabled=False):
            mean = F.avg_pool2d(seen, cell, step)
            power = F.avg_pool2d(seen.square(), cell, step)
            logits = self.mind(torch.cat([mean, (power + _RMS_FLOOR).sqrt()], 1))
            kinds, measures, free = logits.split((len(KINDS), len(MEASURES), FREE), 1)
            code = torch.cat([kinds.softmax(1), measures.sigmoid(), free.tanh()], 1)
        return code, logits


def nodes(code: Tensor) -> Tensor:
    """Return the code at every 64th pixel from the upper left corner on: (N, CODES, R+3, C+3).

    Cells are centred there, from pixel 64 on; beyond the outermost they stay as they are.
    """
    return F.pad(code, (1, 2, 1, 2), mode="replicate")


class Told(nn.Module):
    """A restorer with a look.

    Input and output: float32 NCHW RGB in [0, 1], sides multiples of 8; the output is
    not clamped. Pictures below 128 pixels are looked at as one cell.
    """

    def __init__(self, config: ToldConfig) -> None:
        super().__init__()
        self.config = config
        width, inner = config.width, 3 * UNSHUFFLE**2
        self.look = Look()
        self.head = nn.Conv2d(inner, width, 3, padding=1)
        self.body = nn.ModuleList(RepConv(width) for _ in range(config.blocks))
        self.tail = nn.Conv2d(width, inner, 3, padding=1)
        self.tell = nn.Conv2d(CODES, width * (1 + config.blocks), 1, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, RepConv):
                # The identity branch carries the signal; the learned ones start as a perturbation.
                module.wide.weight.data.mul_(0.3)
                nn.init.zeros_(module.point.weight)
        for zero in (self.tail, self.tell):
            nn.init.zeros_(zero.weight)

    def forward(self, degraded: Tensor) -> Tensor:
        """Return the restored picture."""
        return self.forward_looking(degraded)[0]

    def forward_looking(self, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """Return the restored picture and the look's logits (N, CODES, rows, columns)."""
        centred = F.pixel_unshuffle(degraded - 0.5, UNSHUFFLE)
        code, logits = self.look(centred)
        return self._restore(degraded, centred, code), logits

    def forward_told(self, degraded: Tensor, code: Tensor) -> Tensor:
        """Return the picture as restored by one code, (N, CODES, 1, 1), or a map of cells."""
        return self._restore(degraded, F.pixel_unshuffle(degraded - 0.5, UNSHUFFLE), code)

    def forward_told_nothing(self, degraded: Tensor) -> Tensor:
        """Return the picture as restored without a code: what depends on neighbours alone."""
        return self.forward_told(degraded, self.tell.weight.new_zeros(1, CODES, 1, 1))

    def _restore(self, degraded: Tensor, centred: Tensor, code: Tensor) -> Tensor:
        first, *others = self._biases(code.float(), centred.shape[-2], centred.shape[-1])
        x = F.relu(self.head(centred) + first)
        for layer, bias in zip(self.body, others, strict=True):
            x = F.relu(layer(x) + bias)
        return degraded + F.pixel_shuffle(self.tail(x).float(), UNSHUFFLE)

    def _biases(self, code: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
        """Return what is added to each layer, of the layer's size or 1x1."""
        told = self.tell(code)
        if told.shape[-2:] != (1, 1):
            scale = STEP_PX // UNSHUFFLE
            told = F.interpolate(
                nodes(told), scale_factor=scale, mode="bilinear", align_corners=False
            )
            told = told[..., scale // 2 :, scale // 2 :][..., :height, :width]
        biases: tuple[Tensor, ...] = told.chunk(1 + self.config.blocks, 1)
        return biases

    @torch.no_grad()
    def fuse(self) -> Told:
        """Return an equal network in eval mode with every block one 3x3 convolution."""
        fused = Told(self.config).to(self.head.weight.device)
        merged = [cast(RepConv, layer).fuse() for layer in self.body]
        fused.body = nn.ModuleList(merged)
        state = {k: v for k, v in self.state_dict().items() if not k.startswith("body.")}
        missing, unexpected = fused.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.startswith("body.") for name in missing)
        return fused.eval()


def build(name: str) -> Told:
    """Return the untrained member of the family called ``name``."""
    return Told(FAMILY[name])
