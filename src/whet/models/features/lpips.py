"""LPIPS: how different two pictures look to people, by features of AlexNet.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018, version 0.1: the five ReLU outputs of AlexNet, each position normalised to unit length
over the channels, squared differences weighted per channel, averaged over positions, added up.
Weights: torchvision's AlexNet (Krizhevsky, "One weird trick for parallelizing convolutional
neural networks", 2014) and the authors' channel weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.errors import InputError
from whet.models.checkpoints import load_state, load_strict

__all__ = ["FETCH_NAME", "LEAST_SIDE", "LPIPS", "load_lpips"]

FETCH_NAME = "lpips-alex"

LEAST_SIDE = 31
"""Smaller pictures leave the third pooling of AlexNet nothing to look at."""

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""The authors' normalisation of RGB in [-1, 1]: ImageNet's, rounded."""

_LAYERS = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
"""In, out, kernel, stride and padding of AlexNet's convolutions."""

_POOLED = (1, 2)
"""Convolutions that a 3x3 maximum of stride 2 goes before."""

_EPSILON = 1e-10


class LPIPS(nn.Module):
    """Distance of pictures; its tensors are ``features.N.weight``, ``.bias`` and ``channels.N``.

    ``forward``: two float32 tensors (N, 3, H, W), RGB in [0, 1], sides from 31 up -> (N,), 0 for
    equal pictures, larger for less alike.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, padding) for a, b, kernel, stride, padding in _LAYERS
        )
        self.channels = nn.ParameterList(torch.zeros(outputs) for _, outputs, *_ in _LAYERS)
        for name, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        if first.shape != second.shape or min(first.shape[-2:]) < LEAST_SIDE:
            raise InputError(
                f"LPIPS compares pictures of one size, from {LEAST_SIDE} pixels up; "
                f"these are {tuple(first.shape)} and {tuple(second.shape)}"
            )
        pairs = zip(self._levels(first), self._levels(second), self.channels, strict=True)
        terms = [
            torch.einsum("nchw,c->nhw", (a - b).square(), weights).mean((1, 2))
            for a, b, weights in pairs
        ]
        return torch.stack(terms).sum(0)

    def _levels(self, rgb: Tensor) -> list[Tensor]:
        x = (2 * rgb - 1 - self.shift) / self.scale
        levels = []
        for index, convolution in enumerate(self.features):
            if index in _POOLED:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(cast(nn.Conv2d, convolution)(x))
            length = x.square().sum(1, keepdim=True).sqrt()
            levels.append(x / (length + _EPSILON))
        return levels


def load_lpips(weights: Path | None = None) -> LPIPS:
    """Return the metric, frozen and in eval mode.

    Args:
        weights: a file of the 15 tensors; None means the one that ``whet data fetch lpips-alex``
            has cached.

    Raises:
        ModelError: the weights are missing, unreadable or do not fit.
    """
    if weights is None:
        from whet.fetch.weights import fetched

        weights = fetched(FETCH_NAME)
    network = LPIPS()
    load_strict(network, load_state(weights), str(weights))
    return network.eval().requires_grad_(False)
