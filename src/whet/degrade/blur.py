"""Optical and motion degradations: camera shake, moving objects, defocus.

Each is a function ``(sharp NCHW float32 [0, 1], generators) -> degraded``, one
generator per image. Parameters are drawn in numpy; pixels move in batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from whet.conditions import Condition
from whet.degrade.codecs.jpeg import jpeg
from whet.degrade.motion import Motion, average_frames, draw_motions, path_length_px
from whet.degrade.sensor import (
    Noise,
    add_noise,
    boost_highlights,
    column,
    draw_noise,
    noise_levels,
    to_linear,
    to_srgb,
)

__all__ = ["defocus", "describe_defocus", "describe_motion", "move_object", "shake"]

BOOST_PROBABILITY = 0.5
BOOST_FACTOR = (1.5, 6.0)
"""How far highlights exceeded white, log-uniform: a bright sky to a lamp."""
JPEG_PROBABILITY = 0.5
JPEG_QUALITY = (70, 98)
"""Quality of phone and camera files (about 90-97) down to web uploads (70-85)."""
OBJECT_LENGTH_SCALE = 1.3
"""People and cars cross a frame faster than a hand shakes it."""
OBJECT_RADIUS = (0.10, 0.35)
"""Radius of a moving blob over the image's shorter side."""
OBJECT_PURSUIT_PROBABILITY = 0.25
"""The camera follows the object: the object stays sharp, the background smears."""
OBJECT_EDGE_PX = (0.7, 2.5)
"""Softness of an object's outline."""
OBJECT_BLOBS = 3
OBJECT_HARMONICS = (2, 3, 4)
DEFOCUS_RADIUS_PX = (0.7, 6.0)
"""Radius of the circle of confusion, log-uniform: barely soft to plainly out of focus."""
DEFOCUS_HEXAGON_PROBABILITY = 0.3
"""Lenses stopped down show their blades."""
DEFOCUS_LENS_SIGMA_PX = (0.3, 0.8)
"""Gaussian blur of lens and sensor on top."""
DEFOCUS_REACH_PX = 10
"""Half size of a kernel: the largest radius plus five deviations of the lens blur."""


def _finish(
    linear: Tensor, noises: Sequence[Noise | None], qualities: Sequence[int | None]
) -> Tensor:
    """Expose, encode and compress: noise, clip, sRGB, then JPEG where a quality is given."""
    srgb = to_srgb(add_noise(linear, noises).clamp(0, 1))
    chosen = [i for i, quality in enumerate(qualities) if quality is not None]
    if not chosen:
        return srgb
    index = torch.tensor(chosen, device=srgb.device)
    coded = jpeg(srgb[index], [quality for quality in qualities if quality is not None])
    return srgb.index_copy(0, index, coded)


def _draw_quality(rng: Generator) -> int | None:
    present, quality = rng.random() < JPEG_PROBABILITY, int(rng.integers(*JPEG_QUALITY))
    return quality if present else None


def _draw_boost(rng: Generator) -> float:
    present, factor = rng.random() < BOOST_PROBABILITY, np.exp(rng.uniform(*np.log(BOOST_FACTOR)))
    return float(factor) if present else 1.0


def _describe_file(rng: Generator) -> tuple[float, float]:
    """Return the measures of noise and coding that a generator draws after the optics."""
    _draw_boost(rng)
    noise, quality = draw_noise(rng), _draw_quality(rng)
    return noise_levels(noise), 0.0 if quality is None else (100 - quality) / 100


def describe_motion(rng: Generator) -> Condition:
    """Return what :func:`shake` does with this generator."""
    length = float(path_length_px(draw_motions([rng])[0].path))
    noise, coding = _describe_file(rng)
    return Condition("shake", noise_levels=noise, coding=coding, motion_px=length)


def shake(sharp: Tensor, rngs: Sequence[Generator], *, linear: bool) -> Tensor:
    """Blur by camera shake.

    Args:
        sharp: (N, 3, H, W) float32 sRGB in [0, 1].
        rngs: one generator per image.
        linear: average sub-frames in linear light with saturated highlights, as a
            camera does; False averages encoded values, as GoPro's ``blur`` frames are.
            Both draw the same path from the same seed.
    """
    motions = draw_motions(rngs)
    boosts = [_draw_boost(rng) for rng in rngs]
    noises = [draw_noise(rng) for rng in rngs]
    qualities = [_draw_quality(rng) for rng in rngs]
    if linear:
        light = average_frames(boost_highlights(to_linear(sharp), boosts), motions)
    else:
        light = to_linear(average_frames(sharp, motions).clamp(0, 1))
    return _finish(light, noises, qualities)


def _masks(rngs: Sequence[Generator], height: int, width: int, like: Tensor) -> Tensor:
    """Return (N, 1, H, W) soft masks of wobbly blobs, 1 inside."""
    side, rows = min(height, width), []
    for rng in rngs:
        edge = float(rng.uniform(*OBJECT_EDGE_PX))
        spread, anchor = 0.5 * side * OBJECT_RADIUS[1], rng.uniform(0.25, 0.75, 2)
        for _ in range(OBJECT_BLOBS):
            middle = anchor * (width, height) + spread * rng.standard_normal(2)
            reach, narrow = side * rng.uniform(*OBJECT_RADIUS), rng.uniform(0.5, 1.0)
            wobble, phases = 0.12 * rng.standard_normal(3), rng.uniform(0, 2 * np.pi, 4)
            rows.append([*middle, reach, narrow, edge, *wobble, *phases])
    table = torch.tensor(rows, dtype=torch.float64).to(like).view(len(rngs), OBJECT_BLOBS, 12, 1, 1)
    left, top, radius, aspect, edge_px, turn = (table[:, :, i] for i in (0, 1, 2, 3, 4, 8))
    y = torch.arange(height).to(like).view(-1, 1) - top
    x = torch.arange(width).to(like).view(1, -1) - left
    across, along = x * turn.cos() + y * turn.sin(), (y * turn.cos() - x * turn.sin()) / aspect
    angle = torch.atan2(along, across)
    outline = torch.ones_like(angle)
    for i, harmonic in enumerate(OBJECT_HARMONICS):
        outline += table[:, :, 5 + i] * (harmonic * angle + table[:, :, 9 + i]).cos()
    inside = (radius * outline - (across**2 + along**2).sqrt()) / edge_px
    return torch.sigmoid(2 * inside.amax(1, keepdim=True))


def fill_behind(images: Tensor, mask: Tensor) -> Tensor:
    """Continue the background behind ``mask`` (N, 1, H, W): what a moving object uncovers.

    Push-pull over a pyramid: every masked pixel takes the weighted mean of the
    unmasked ones at the finest level that has some.
    """
    weight = 1 - mask
    value = images * weight
    levels = [(value, weight)]
    while max(value.shape[-2:]) > 2:
        value = F.avg_pool2d(value, 2, ceil_mode=True, count_include_pad=False)
        weight = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
        levels.append((value, weight))
    filled = levels[-1][0] / levels[-1][1].clamp_min(1e-4)
    for value, weight in reversed(levels[:-1]):
        size = (value.shape[-2], value.shape[-1])
        coarse = F.interpolate(filled, size=size, mode="bilinear", align_corners=False)
        filled = value + (1 - weight) * coarse
    return filled


def move_object(sharp: Tensor, rngs: Sequence[Generator]) -> Tensor:
    """Blur one part of the picture: it moves before a still background, or the reverse.

    Every sub-frame is ``alpha * object + (1 - alpha) * background``. One of the two
    layers stands still, so averaging the other's colour and alpha is enough. Half of
    the images are averaged in linear light, half in sRGB.
    """
    height, width = sharp.shape[-2:]
    motions = draw_motions(rngs, OBJECT_LENGTH_SCALE)
    motions = [Motion(m.path * (1, 1, 0.5, 0.5), m.centre * 0.1, m.depth, 0.0) for m in motions]
    linear = column([float(rng.random() < 0.5) for rng in rngs], sharp)
    pursuit = column([float(rng.random() < OBJECT_PURSUIT_PROBABILITY) for rng in rngs], sharp)
    mask = _masks(rngs, height, width, sharp)
    noises = [draw_noise(rng) for rng in rngs]
    qualities = [_draw_quality(rng) for rng in rngs]
    light = torch.where(linear > 0, to_linear(sharp), sharp)
    behind = fill_behind(light, mask)
    # What moves: the object with its outline, or the whole background (alpha 1).
    alpha = torch.where(pursuit > 0, torch.ones_like(mask), mask)
    colour = torch.where(pursuit > 0, behind, light * mask)
    moved = average_frames(torch.cat([colour, alpha], 1), motions)
    colour, alpha = moved[:, :3], moved[:, 3:]
    blurred = torch.where(
        pursuit > 0, light * mask + colour * (1 - mask), colour + behind * (1 - alpha)
    )
    blurred = blurred.clamp(0, 1)
    return _finish(torch.where(linear > 0, blurred, to_linear(blurred)), noises, qualities)


def _draw_aperture(rng: Generator) -> tuple[float, bool, float, float]:
    """Draw radius in pixels, whether the blades show, their turn, and the lens's sigma."""
    radius = float(np.exp(rng.uniform(*np.log(DEFOCUS_RADIUS_PX))))
    hexagonal = bool(rng.random() < DEFOCUS_HEXAGON_PROBABILITY)
    return radius, hexagonal, rng.uniform(0, np.pi / 3), rng.uniform(*DEFOCUS_LENS_SIGMA_PX)


def describe_defocus(rng: Generator) -> Condition:
    """Return what :func:`defocus` does with this generator."""
    radius, _, _, sigma = _draw_aperture(rng)
    noise, coding = _describe_file(rng)
    # A disc's standard deviation along an axis is half its radius.
    return Condition("defocus", float(np.hypot(radius / 2, sigma)), noise, coding, 0.0)


def _disc_kernels(rngs: Sequence[Generator]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return (N, K, K) kernels summing to one: a disc or hexagon, then a Gaussian."""
    reach, fine = DEFOCUS_REACH_PX, 4
    size = 2 * reach + 1
    # Sampled ``fine`` times per pixel, then averaged: anti-aliased edges.
    at = (np.arange(size * fine) + 0.5) / fine - size / 2
    y, x = at[:, None], at[None, :]
    kernels = []
    for rng in rngs:
        radius, hexagonal, turn, sigma = _draw_aperture(rng)
        blades = np.arange(3) * np.pi / 3
        inside = x**2 + y**2 <= radius**2
        if hexagonal:
            for angle in turn + blades:
                inside &= np.abs(x * np.cos(angle) + y * np.sin(angle)) <= 0.93 * radius
        disc = inside.reshape(size, fine, size, fine).mean((1, 3))
        line = np.exp(-0.5 * (np.subtract.outer(np.arange(size), np.arange(size)) / sigma) ** 2)
        kernel = line @ disc @ line.T
        kernels.append(kernel / kernel.sum())
    return np.stack(kernels)


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image (N, C, H, W) with its own symmetric-size kernel (N, K, K), K odd.

    Edges are mirrored as often as needed. Done by Fourier transform: the cost does
    not depend on K.
    """
    height, width = images.shape[-2:]
    reach = kernels.shape[-1] // 2

    def mirrored(length: int) -> Tensor:
        index = torch.arange(-reach, length + reach, device=images.device) % (2 * length)
        return torch.where(index < length, index, 2 * length - 1 - index)

    padded = images[..., mirrored(height), :][..., mirrored(width)]
    # Multiples of 16 transform faster than the odd sizes that padding makes.
    size = (-(-padded.shape[-2] // 16) * 16, -(-padded.shape[-1] // 16) * 16)
    product = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernels, s=size)[:, None]
    whole: Tensor = torch.fft.irfft2(product, s=size)
    return whole[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def defocus(sharp: Tensor, rngs: Sequence[Generator]) -> Tensor:
    """Blur by a lens that is out of focus, in linear light, with saturated highlights."""
    kernels = torch.tensor(_disc_kernels(rngs)).to(sharp)
    boosts = [_draw_boost(rng) for rng in rngs]
    noises = [draw_noise(rng) for rng in rngs]
    qualities = [_draw_quality(rng) for rng in rngs]
    light = boost_highlights(to_linear(sharp), boosts)
    return _finish(convolve(light, kernels), noises, qualities)
