"""VGG16 features for the perceptual loss.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015; weights of torchvision, trained on ImageNet. Only the
first 16 layers of ``features`` are built, up to the ReLU called relu3_3.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from whet.models.checkpoints import load_state, load_strict

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "VGGFeatures", "load_vgg"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's RGB in [0, 1], which torchvision's weights expect subtracted."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of the same, by which they expect it divided."""

_CONFIGURATION = (64, 64, None, 128, 128, None, 256, 256, 256)
"""Channels of each 3x3 convolution; None is a 2x2 maximum."""
_FETCH_NAME = "vgg16"


class VGGFeatures(nn.Sequential):
    """relu3_3 features: (N, 3, H, W) RGB in [0, 1] -> (N, 256, H // 4, W // 4), float32.

    H and W are at least 4. State-dict keys are torchvision's, ``0.weight`` to
    ``14.bias``. The ImageNet normalisation happens inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in _CONFIGURATION:
            if outputs is None:
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
        super().__init__(*layers)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        features = (rgb - self.mean) / self.std
        for layer in self:
            features = layer(features)
        return features


def load_vgg(weights: Path | None) -> VGGFeatures:
    """Return the features, frozen and in eval mode; gradients still reach the input.

    Args:
        weights: torchvision's ``vgg16-397923af.pth`` (keys ``features.N.*``, of
            which the later ones and the classifier are ignored), or a file of
            the 14 tensors ``0.weight`` to ``14.bias``; None means the weights
            that ``whet data fetch vgg16`` has cached.

    Raises:
        ModelError: the weights are missing, unreadable or do not fit.
    """
    if weights is None:
        from whet.fetch.weights import fetched

        weights = fetched(_FETCH_NAME)
    network = VGGFeatures()
    state = load_state(weights)
    if any(key.startswith("features.") for key in state):
        wanted = network.state_dict().keys()
        state = {key.removeprefix("features."): value for key, value in state.items()}
        state = {key: value for key, value in state.items() if key in wanted}
    load_strict(network, state, str(weights))
    return network.eval().requires_grad_(False)
