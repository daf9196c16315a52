"""The founding student: a DnCNN that predicts what to subtract.

Zhang et al., "Beyond a Gaussian Denoiser", IEEE TIP 2017, with a bias in every
convolution and a ReLU after the first. Kept exactly as the founding work
trained it (559,363 parameters, state-dict keys ``dncnn.N.*``), so that its
checkpoints load strictly and every later student is measured against it. Its
limits are its own: 556 kMAC per pixel, and it sees 35 pixels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["DnCNN", "build"]

_WIDTH = 64
_BLOCKS = 15


class DnCNN(nn.Module):
    """``restored = degraded - f(degraded)``.

    Input and output: float32 NCHW RGB in [0, 1], any size; the output is not clamped.
    """

    def __init__(self, width: int = _WIDTH, blocks: int = _BLOCKS) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(blocks):
            layers += [
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.Conv2d(width, 3, 3, padding=1))
        self.dncnn = nn.Sequential(*layers)

    def forward(self, degraded: Tensor) -> Tensor:
        return degraded - cast(Tensor, self.dncnn(degraded))

    @torch.no_grad()
    def fuse(self) -> DnCNN:
        """Return an equal network in eval mode, its BatchNorms folded into the convolutions."""
        fused = DnCNN()
        layers: list[nn.Module] = []
        for layer in self.dncnn:
            if isinstance(layer, nn.BatchNorm2d):
                convolution = layers.pop()
                assert isinstance(convolution, nn.Conv2d)
                layers.append(fuse_conv_bn_eval(convolution.eval(), layer.eval()))
            elif isinstance(layer, nn.Conv2d):
                layers.append(_copy(layer))
            else:
                layers.append(nn.ReLU(inplace=True))
        fused.dncnn = nn.Sequential(*layers)
        return fused.to(next(self.parameters()).device).eval()


def _copy(layer: nn.Conv2d) -> nn.Conv2d:
    copy = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
    copy.load_state_dict(layer.state_dict())
    return copy.to(layer.weight.device)


def build(name: str = "dncnn") -> DnCNN:
    """Return the founding student with PyTorch's default initialisation."""
    assert name == "dncnn"
    return DnCNN()
