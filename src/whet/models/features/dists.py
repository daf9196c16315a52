"""DISTS: how alike two pictures are in structure and texture, by features of VGG16.

Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture
Similarity", IEEE TPAMI 2022: of the picture and of five ReLU outputs of VGG16, each channel's mean
stands for texture and its covariance for structure; weights per channel, learned from people's
judgements, add them up. Pictures are compared at the size they have.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.errors import InputError
from whet.models.checkpoints import load_state, load_strict
from whet.models.features.vgg import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["DISTS", "FETCH_NAMES", "LEAST_SIDE", "load_dists"]

FETCH_NAMES = ("vgg16-whole", "dists")

LEAST_SIDE = 16
"""Smaller pictures leave the last stage less than one position."""

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Outputs of VGG16's 3x3 convolutions between its poolings."""
_CHANNELS = 3 + sum(stage[-1] for stage in _STAGES)
_STEADY = 1e-6  # the paper's c1 and c2


class DISTS(nn.Module):
    """Distance of pictures; its tensors are ``convolutions.N.*``, ``alpha`` and ``beta``.

    ``forward``: two float32 tensors (N, 3, H, W), RGB in [0, 1], sides from 16 up -> (N,), 0 for
    equal pictures, larger for less alike.
    """

    mean: Tensor
    std: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        outputs = [count for stage in _STAGES for count in stage]
        pairs = zip([3, *outputs], outputs, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.alpha = nn.Parameter(torch.zeros(1, _CHANNELS, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, _CHANNELS, 1, 1))
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        hann = torch.tensor([0.5, 1.0, 0.5])
        self.register_buffer("window", torch.outer(hann, hann) / 4, persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        if first.shape != second.shape or min(first.shape[-2:]) < LEAST_SIDE:
            raise InputError(
                f"DISTS compares pictures of one size, from {LEAST_SIDE} pixels up; "
                f"these are {tuple(first.shape)} and {tuple(second.shape)}"
            )
        texture, structure = [], []
        for x, y in zip(self._levels(first), self._levels(second), strict=True):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
            var_x = (x - mean_x[..., None, None]).square().mean((2, 3))
            var_y = (y - mean_y[..., None, None]).square().mean((2, 3))
            covariance = (x * y).mean((2, 3)) - mean_x * mean_y
            means = 2 * mean_x * mean_y + _STEADY, mean_x**2 + mean_y**2 + _STEADY
            texture.append(means[0] / means[1])
            structure.append((2 * covariance + _STEADY) / (var_x + var_y + _STEADY))
        alpha, beta = self.alpha.view(-1), self.beta.view(-1)
        alike = torch.cat(texture, 1) @ alpha + torch.cat(structure, 1) @ beta
        return 1 - alike / (alpha.sum() + beta.sum())

    def _levels(self, rgb: Tensor) -> list[Tensor]:
        x = (rgb - self.mean) / self.std
        levels, convolutions = [rgb], iter(self.convolutions)
        for number, stage in enumerate(_STAGES):
            if number:
                x = self._pooled(x)
            for _ in stage:
                x = F.relu(next(convolutions)(x))
            levels.append(x)
        return levels

    def _pooled(self, x: Tensor) -> Tensor:
        """Halve (N, C, H, W) by the root of the Hann-weighted mean of squares."""
        channels = x.shape[1]
        kernel = self.window.expand(channels, 1, 3, 3)
        squares = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=channels)
        return (squares + 1e-12).sqrt()


def load_dists(vgg: Path | None = None, weights: Path | None = None) -> DISTS:
    """Return the metric, frozen and in eval mode.

    Args:
        vgg: the 26 tensors of VGG16's convolutions; None means what ``whet data fetch
            vgg16-whole`` has cached.
        weights: the two tensors ``alpha`` and ``beta``; None means what ``whet data fetch
            dists`` has cached.

    Raises:
        ModelError: weights are missing, unreadable or do not fit.
    """
    from whet.fetch.weights import fetched

    paths = [path or fetched(name) for path, name in zip((vgg, weights), FETCH_NAMES, strict=True)]
    network = DISTS()
    state = {key: tensor for path in paths for key, tensor in load_state(path).items()}
    load_strict(network, state, " and ".join(map(str, paths)))
    return network.eval().requires_grad_(False)
