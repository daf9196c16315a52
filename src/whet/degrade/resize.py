"""MATLAB's antialiased bicubic ``imresize`` as two matrix products.

Super-resolution benchmarks (DIV2K's ``LR_bicubic`` among them) are made with
MATLAB's ``imresize``: Keys' cubic kernel with a = -0.5, widened by the scale
when shrinking, symmetric edges. Other libraries differ in one of the three.
Resizing is separable and linear, hence ``rows @ image @ columns.T``, which runs
in batch on any device.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["cubic", "equal_blur_px", "imresize", "resize_matrix"]

KEYS_A = -0.5
"""Keys (1981), "Cubic convolution interpolation": the value with third-order accuracy."""


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Keys' cubic convolution kernel at distances ``x`` (pixels), zero from 2 on."""
    x = np.abs(x)
    near = (KEYS_A + 2) * x**3 - (KEYS_A + 3) * x**2 + 1
    far = KEYS_A * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def resize_matrix(source: int, target: int) -> NDArray[np.float32]:
    """Return the (target, source) matrix that resizes a line of ``source`` samples.

    Every row sums to one. Samples beyond an end are mirrored about it (half-sample
    symmetric, MATLAB's choice), as often as a short line needs.
    """
    scale = target / source
    shrink = min(scale, 1.0)
    width = 4.0 / shrink
    # Pixel centres of the target in source coordinates, both counted from 0.
    centre = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2).astype(np.int64)
    index = first[:, None] + np.arange(int(np.ceil(width)) + 2)[None, :]
    weight = cubic(shrink * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    index %= 2 * source
    index = np.where(index < source, index, 2 * source - 1 - index)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], index), weight)
    result: NDArray[np.float32] = matrix.astype(np.float32)
    result.setflags(write=False)
    return result


def imresize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``images`` (N, C, H, W), floating point, to ``size`` = (height, width).

    Values are not clipped: the kernel overshoots at edges by up to about 10 %.
    """
    height, width = images.shape[-2:]
    if (height, width) == tuple(size):
        return images
    rows = torch.tensor(resize_matrix(height, size[0])).to(images)
    columns = torch.tensor(resize_matrix(width, size[1])).to(images)
    return rows @ images @ columns.T


def equal_blur_px(factor: float) -> float:
    """Return the sigma of the Gaussian that softens about as shrinking by ``factor`` does.

    ``sqrt(factor^2 - 1) / 2``: nothing at a factor of 1, and half of it for large ones.
    """
    return float(0.5 * max(0.0, factor**2 - 1) ** 0.5)
