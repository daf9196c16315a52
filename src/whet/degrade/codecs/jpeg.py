"""Baseline JPEG in batch, on any device: the loss of a file, without the file.

Follows ITU-T T.81 Annex K's example tables scaled as libjpeg scales them, 4:2:0
chroma, and libjpeg's triangular chroma interpolation. Entropy coding loses
nothing, so it is left out. Decoded pixels agree with Pillow's to better than
45 dB (a test measures it); the rest is integer rounding inside libjpeg.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["jpeg"]

# fmt: off
LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)
"""ITU-T T.81 table K.1."""
CHROMA_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
)
"""ITU-T T.81 table K.2."""
# fmt: on
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""JFIF 1.02: full-range BT.601."""
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def _tables(qualities: Sequence[int], base: Sequence[int], like: Tensor) -> Tensor:
    """Return (N, 1, 1, 8, 8) quantisation steps, scaled by libjpeg's quality rule."""
    quality = np.clip(np.asarray(qualities, dtype=np.int64), 1, 100)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    steps = np.clip((np.asarray(base)[None, :] * scale[:, None] + 50) // 100, 1, 255)
    return torch.tensor(steps, dtype=like.dtype, device=like.device).view(-1, 1, 1, 8, 8)


def _dct(like: Tensor) -> Tensor:
    """Return the orthonormal 8-point DCT-II matrix."""
    k, n = np.mgrid[0:8, 0:8]
    matrix = np.cos(np.pi * (2 * n + 1) * k / 16) * np.where(k == 0, 0.125**0.5, 0.5)
    return torch.tensor(matrix, dtype=like.dtype, device=like.device)


def _code(plane: Tensor, steps: Tensor) -> Tensor:
    """Quantise the 8x8 DCT of ``plane`` (N, H, W), H and W multiples of 8, in levels."""
    count, height, width = plane.shape
    basis = _dct(plane)
    blocks = plane.view(count, height // 8, 8, width // 8, 8).transpose(2, 3) - 128
    coefficients = basis @ blocks @ basis.T
    coefficients = (coefficients / steps).round() * steps
    decoded = basis.T @ coefficients @ basis + 128
    return decoded.transpose(2, 3).reshape(count, height, width).round().clamp(0, 255)


def jpeg(images: Tensor, qualities: Sequence[int]) -> Tensor:
    """Return ``images`` (N, 3, H, W) float in [0, 1] as a JPEG reader would see them.

    Args:
        images: sRGB; any height and width (edges are repeated up to whole blocks).
        qualities: libjpeg quality 1..100, one per image.
    """
    height, width = images.shape[-2:]
    levels = (images.clamp(0, 1) * 255).round()
    levels = F.pad(levels, (0, -width % 16, 0, -height % 16), mode="replicate")
    to_ycc = torch.tensor(TO_YCC, dtype=images.dtype, device=images.device)
    to_rgb = torch.tensor(TO_RGB, dtype=images.dtype, device=images.device)
    ycc = torch.einsum("ij,njhw->nihw", to_ycc, levels)
    luma = _code(ycc[:, 0].round(), _tables(qualities, LUMA_TABLE, images))
    chroma_steps = _tables(qualities, CHROMA_TABLE, images)
    sums = F.avg_pool2d((ycc[:, 1:] + 128).round(), 2, divisor_override=1)
    # libjpeg adds 1 and 2 in turn before it halves twice, so that halves round both ways.
    bias = 1 + torch.arange(sums.shape[-1], device=images.device) % 2
    chroma = ((sums + bias) / 4).floor()
    coded = torch.stack([_code(chroma[:, i], chroma_steps) for i in range(2)], 1)
    size = (luma.shape[-2], luma.shape[-1])
    coded = F.interpolate(coded, size=size, mode="bilinear", align_corners=False).round() - 128
    rgb = torch.einsum("ij,njhw->nihw", to_rgb, torch.cat([luma[:, None], coded], 1))
    return rgb[..., :height, :width].round().clamp(0, 255) / 255
