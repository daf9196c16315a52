"""What happens to light between the shutter and the file: gamma, clipping, noise.

All functions take and return float32 NCHW. *Linear* means proportional to
light, 1.0 being white; *sRGB* means encoded by IEC 61966-2-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

__all__ = [
    "Noise",
    "add_noise",
    "boost_highlights",
    "column",
    "counter_normal",
    "draw_noise",
    "noise_levels",
    "quantise",
    "to_linear",
    "to_srgb",
]

NOISE_PROBABILITY = 0.7
"""Share of frames with visible sensor noise; the rest are as clean as daylight video."""
SHOT_GAIN = (1e-5, 6e-4)
"""Variance per unit of linear light, log-uniform."""
READ_SIGMA = (2e-4, 2e-3)
"""Standard deviation in the dark, linear units, log-uniform."""
NOISE_BLUR = (0.0, 0.6)
"""Weight of a 3x3 binomial blur on the noise: demosaicking correlates neighbours."""
HIGHLIGHT_START = 0.98
"""sRGB level of all three channels above which a pixel was clipped by the sensor. Pure
colours reach 1 in one channel without being light; a lower level would bleach pale skies."""


def to_linear(srgb: Tensor) -> Tensor:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Encode linear light in [0, 1] as sRGB (IEC 61966-2-1)."""
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)


def quantise(images: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the 256 levels of an 8-bit file."""
    return (images.clamp(0, 1) * 255).round() / 255


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """Return ``values`` as a (N, 1, 1, 1) tensor of ``like``'s type and device."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)


def boost_highlights(linear: Tensor, factors: Sequence[float]) -> Tensor:
    """Multiply white pixels by up to ``factors`` (one per image, >= 1).

    A sharp file stores every highlight as 1.0 whatever its true strength; blurred
    lamps and skies are wide and flat because the true light was far above white.
    The gain rises smoothly (smoothstep) from ``HIGHLIGHT_START`` to 1 so that no
    contour appears. The result may exceed 1; clip after averaging.
    """
    start = float(to_linear(torch.tensor(HIGHLIGHT_START)))
    ramp = ((linear.amin(1, keepdim=True) - start) / (1 - start)).clamp(0, 1)
    gain = 1 + (column(factors, linear) - 1) * ramp * ramp * (3 - 2 * ramp)
    return linear * gain


@dataclass(frozen=True)
class Noise:
    """Noise of one frame: variance = shot * light + read**2, in linear units."""

    shot: float
    read: float
    blur: float
    key: int


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_noise(rng: Generator) -> Noise | None:
    """Draw a frame's noise, or None for a clean one."""
    present = rng.random() < NOISE_PROBABILITY
    noise = Noise(
        _log_uniform(rng, *SHOT_GAIN),
        _log_uniform(rng, *READ_SIGMA),
        float(rng.uniform(*NOISE_BLUR)),
        int(rng.integers(2**31)),
    )
    return noise if present else None


def noise_levels(noise: Noise | None) -> float:
    """Return the standard deviation of ``noise`` at mid-grey, in levels of 1/255 of sRGB."""
    if noise is None:
        return 0.0
    grey = float(to_linear(torch.tensor(0.5)))
    slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)
    # Of a value and of its 3x3 binomial mean: the weights' squares sum to 1, 1/4 and 9/64.
    kept = (1 - noise.blur) ** 2 + noise.blur * (1 - noise.blur) / 2 + noise.blur**2 * 9 / 64
    return float(255 * slope * ((noise.shot * grey + noise.read**2) * kept) ** 0.5)


def _hash(x: Tensor) -> Tensor:
    """Mix int32 bits; multiplier pair "lowbias32" found by C. Wellons (public domain)."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * (0x846CA68B - 2**32)
    return x ^ ((x >> 16) & 0xFFFF)


def counter_normal(keys: Sequence[int], shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Return near-normal noise (N, *shape), the same on every device.

    A device's own generator would give other numbers on a GPU than on a CPU, and
    drawing on the CPU would starve a GPU. So each value is a hash of its position
    and its image's key, in integers: the sum of four 16-bit uniforms (Irwin-Hall,
    variance 1/3), exact to +-3.46 sigma, scaled to unit variance.
    """
    count = shape[0] * shape[1] * shape[2]
    device = like.device
    position = torch.arange(count, dtype=torch.int32, device=device)
    key = torch.tensor(list(keys), dtype=torch.int32, device=device)
    first = _hash(position[None, :] + _hash(key)[:, None])
    second = _hash(first ^ 0x5BD1E995)
    total = (first & 0xFFFF) + ((first >> 16) & 0xFFFF)
    total = total + (second & 0xFFFF) + ((second >> 16) & 0xFFFF)
    normal = (total.to(like.dtype) / 65536 - 2) * 3**0.5
    return normal.view(-1, *shape)


def add_noise(linear: Tensor, noises: Sequence[Noise | None]) -> Tensor:
    """Add shot and read noise to linear images, one entry per image; None leaves it alone."""
    chosen = [i for i, noise in enumerate(noises) if noise is not None]
    drawn = [noise for noise in noises if noise is not None]
    if not drawn:
        return linear
    index = torch.tensor(chosen, device=linear.device)
    clean = linear[index]
    channels, height, width = clean.shape[1:]
    normal = counter_normal([n.key for n in drawn], (channels, height, width), clean)
    binomial = torch.tensor([0.25, 0.5, 0.25], dtype=clean.dtype, device=clean.device)
    kernel = (binomial[:, None] * binomial[None, :]).expand(channels, 1, 3, 3)
    smooth = F.conv2d(F.pad(normal, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    weight = column([n.blur for n in drawn], clean)
    normal = (1 - weight) * normal + weight * smooth
    variance = column([n.shot for n in drawn], clean) * clean.clamp(0, 1)
    variance = variance + column([n.read**2 for n in drawn], clean)
    return linear.index_copy(0, index, clean + normal * variance.sqrt())
