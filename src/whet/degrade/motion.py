"""Motion blur: sub-frames along a random trajectory, averaged.

The camera's path during one exposure is an integrated random walk with inertia
(after Boracchi and Foi, IEEE TIP 2012), in four coordinates: shift right, shift
down, roll, and zoom. Nearer things shift more, so a smooth random map scales the
shift. Every path has zero mean: the blurred picture stays where the sharp one is,
and PSNR measures blur, not a shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Motion", "average_frames", "draw_motions", "path_length_px"]

PATH_STEPS = 64
"""Time steps of a path; sub-frames are interpolated between them."""
LENGTH_MEDIAN_PX = 12.0
LENGTH_SPREAD = 0.75
LENGTH_RANGE_PX = (1.0, 60.0)
"""Path length is log-normal (median, sigma of the logarithm), clipped: 3 to 41 px for nine
frames in ten. Measured in real 720p pairs: 20 px (GoPro), 8 to 29 px (REDS); still cameras
expose for less time than those averaged videos, hence the lower median."""
INERTIA = (0.7, 8.0)
"""Correlation time of the velocity in exposures, log-uniform: from a tremor that turns
once or twice to a straight, even pan. Real kernels are nearly straight: their width is
a twelfth of their length."""
JERK_PROBABILITY = 0.10
JERK_SIZE = 1.0
"""Sudden pushes (a step, a pressed shutter), in units of the velocity's deviation."""
ROLL_SIGMA_DEGREES = 0.3
ZOOM_SIGMA = 0.006
"""Extent of roll and zoom over one exposure: 3 and 4 px at the corner of a 720p frame."""
CENTRE_SIGMA_PX = 350.0
"""Roll and zoom turn about a point this far from the crop's middle: crops are cut from
anywhere in a 1280x720 frame."""
DEPTH_CELLS = 9
DEPTH_CELL_PX = 160.0
"""The depth map is interpolated from this many values a side, this far apart."""
DEPTH_SPREAD = 0.15
"""Standard deviation of the logarithm of the shift's scale, the smooth part: ground, walls."""
DEPTH_STEP = (0.0, 0.5)
"""Half the step of that logarithm between near and far things, uniform. Together they make
blur 1.5 to 3 times longer in one part of a frame than in another, as in real frames."""
DEPTH_EDGE = 12.0
"""Steepness of that step: 2 / DEPTH_EDGE of a cell, about 27 px, from near to far."""
FRAME_SPACING_PX = 2.0
"""Largest step between sub-frames. Measured on a photograph: 58 to 68 dB from the limit of
ever finer steps, which is less than the rounding of an 8-bit file (59 dB)."""
FRAME_COUNTS = (1, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sub-frame counts in use; images with equal counts are averaged together."""
MARGIN_PX = 32
"""Border reflected before sampling, so that edges smear with plausible content."""
CHUNK_SAMPLES = 1 << 22
"""Sub-frame pixels sampled at once: bounds memory at about 200 MB."""


@dataclass(frozen=True)
class Motion:
    """One image's motion during the exposure.

    Attributes:
        path: (PATH_STEPS, 4) float64, zero mean: right and down in pixels, roll in
            radians, zoom as a fraction.
        centre: (2,) point about which roll and zoom act, x and y in pixels from the
            image's middle.
        depth: (2, DEPTH_CELLS, DEPTH_CELLS) smooth depth, and the field whose sign
            tells near from far.
        step: half the near-far step of the logarithm of the shift's scale.
    """

    path: NDArray[np.float64]
    centre: NDArray[np.float64]
    depth: NDArray[np.float64]
    step: float


def path_length_px(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the arc length of the shift, pixels, of paths (..., PATH_STEPS, 4)."""
    steps = np.diff(path[..., :2], axis=-2)
    length: NDArray[np.float64] = np.sqrt((steps**2).sum(-1)).sum(-1)
    return length


def _walks(rngs: Sequence[Generator]) -> NDArray[np.float64]:
    """Return (N, PATH_STEPS, 4) unscaled paths: velocity decays, is kicked, is integrated."""
    count = len(rngs)
    inertia = np.exp([rng.uniform(*np.log(INERTIA)) for rng in rngs])
    kicks = np.stack([rng.standard_normal((PATH_STEPS, 4)) for rng in rngs])
    keep = np.exp(-1 / (inertia * PATH_STEPS))[:, None]
    velocity = np.empty((count, PATH_STEPS, 4))
    velocity[:, 0] = kicks[:, 0]
    jerks = np.zeros_like(kicks)
    for i, rng in enumerate(rngs):
        happens, step = rng.random() < JERK_PROBABILITY, int(rng.integers(1, PATH_STEPS))
        jerk = JERK_SIZE * rng.standard_normal(4)
        jerks[i, step] = jerk if happens else 0.0
    for t in range(1, PATH_STEPS):
        velocity[:, t] = keep * velocity[:, t - 1] + np.sqrt(1 - keep**2) * kicks[:, t]
        velocity[:, t] += jerks[:, t]
    path = velocity.cumsum(axis=1)
    path -= path.mean(axis=1, keepdims=True)
    return path


def draw_motions(rngs: Sequence[Generator], length_scale: float = 1.0) -> list[Motion]:
    """Draw one motion per generator; ``length_scale`` multiplies every extent."""
    paths = _walks(rngs)
    lengths = path_length_px(paths)
    motions = []
    for rng, path, length in zip(rngs, paths, lengths, strict=True):
        wanted = LENGTH_MEDIAN_PX * np.exp(LENGTH_SPREAD * rng.standard_normal())
        extent = np.ptp(path[:, 2:], axis=0)
        turn = np.abs(rng.standard_normal(2)) * (np.deg2rad(ROLL_SIGMA_DEGREES), ZOOM_SIGMA)
        scale = np.empty(4)
        scale[:2] = np.clip(wanted, *LENGTH_RANGE_PX) / length
        scale[2:] = turn / extent
        centre = CENTRE_SIGMA_PX * rng.standard_normal(2)
        depth = rng.standard_normal((2, DEPTH_CELLS, DEPTH_CELLS))
        step = float(rng.uniform(*DEPTH_STEP))
        motions.append(Motion(path * scale * length_scale, centre, depth, step))
    return motions


def _reach_px(motion: Motion, height: int, width: int) -> float:
    """Return about the longest distance any pixel travels, for the sub-frame count."""
    radius = np.hypot(width, height) / 2 + np.hypot(*motion.centre)
    turns = np.abs(np.diff(motion.path[:, 2:], axis=0)).sum(0)
    shift = path_length_px(motion.path) * np.exp(DEPTH_SPREAD + motion.step)
    return float(shift + radius * np.hypot(*turns))


def _frame_count(motion: Motion, height: int, width: int) -> int:
    wanted = 1 + _reach_px(motion, height, width) / FRAME_SPACING_PX
    return min((c for c in FRAME_COUNTS if c >= wanted - 1e-9), default=FRAME_COUNTS[-1])


def _positions(path: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Return (frames, 4) positions at the middles of equal time slots, zero mean."""
    when = (np.arange(frames) + 0.5) / frames * (PATH_STEPS - 1)
    steps = np.arange(PATH_STEPS)
    positions = np.stack([np.interp(when, steps, path[:, i]) for i in range(4)], 1)
    positions -= positions.mean(axis=0)
    return positions


def _depth(motions: Sequence[Motion], x: Tensor, y: Tensor) -> Tensor:
    """Return (N, H, W): the local scale of the shift, about 1, at pixels (x, y)."""
    fields = torch.tensor(np.stack([m.depth for m in motions])).to(x)
    half = DEPTH_CELL_PX * (DEPTH_CELLS - 1) / 2
    places = (torch.stack([x, y], -1) / half).expand(len(motions), *x.shape, 2)
    smooth, side = F.grid_sample(fields, places, "bicubic", "border", align_corners=True).unbind(1)
    steps = torch.tensor([m.step for m in motions]).to(x).view(-1, 1, 1)
    return (DEPTH_SPREAD * smooth + steps * torch.tanh(DEPTH_EDGE * side)).exp()


def _basis(motions: Sequence[Motion], height: int, width: int, like: Tensor) -> Tensor:
    """Return (N, 5, H, W, 2): where a pixel looks, as a linear function of (1, position).

    In pixels from the middle of the image. Plane 0 is the pixel itself; the others
    are its displacement per unit of right, down, roll and zoom.
    """
    y = torch.arange(height).to(like) - (height - 1) / 2
    x = torch.arange(width).to(like) - (width - 1) / 2
    y, x = torch.meshgrid(y, x, indexing="ij")
    depth = _depth(motions, x, y)
    centres = torch.tensor(np.stack([m.centre for m in motions])).to(like)
    dx = x - centres[:, 0].view(-1, 1, 1)
    dy = y - centres[:, 1].view(-1, 1, 1)
    zero, itself = torch.zeros_like(dx), torch.stack([x, y], -1).expand(*dx.shape, 2)
    right, down = torch.stack([depth, zero], -1), torch.stack([zero, depth], -1)
    roll, zoom = torch.stack([-dy, dx], -1), torch.stack([dx, dy], -1)
    return torch.stack([itself, right, down, roll, zoom], 1)


def _doubled(images: Tensor, dim: int) -> Tensor:
    """Return ``images`` (NCHW) with a sample between every two along ``dim`` (2 or 3).

    Original samples stay exactly as they are; the new ones use H.264's six-tap half-sample
    filter (1, -5, 20, 20, -5, 1) / 32.
    """
    length = images.shape[dim]
    pad = (0, 0, 2, 3) if dim == 2 else (2, 3, 0, 0)
    wide = F.pad(images, pad, mode="replicate")
    taps = [wide.narrow(dim, i, length) for i in range(6)]
    between = (taps[2] + taps[3]).mul_(20 / 32)
    between.add_(taps[1] + taps[4], alpha=-5 / 32).add_(taps[0] + taps[5], alpha=1 / 32)
    doubled = torch.stack([images, between], dim + 1).flatten(dim, dim + 1)
    return doubled.narrow(dim, 0, 2 * length - 1)


def _average_group(images: Tensor, motions: Sequence[Motion], frames: int) -> Tensor:
    """Average ``frames`` warped copies of each image.

    Bilinear sampling of the doubled image costs about 5 % of contrast at half the Nyquist
    frequency, and a third of the time of bicubic sampling.
    """
    count, channels, height, width = images.shape
    pads = (min(MARGIN_PX, width - 1), min(MARGIN_PX, height - 1))
    padded = F.pad(images, (pads[0], pads[0], pads[1], pads[1]), mode="reflect")
    padded = _doubled(_doubled(padded, 2), 3)
    positions = np.stack([_positions(m.path, frames) for m in motions])
    ones = np.ones((count, frames, 1))
    coefficients = torch.tensor(np.concatenate([ones, positions], 2)).to(images)
    # grid_sample's coordinates put the outermost samples' centres at -1 and 1.
    steps = max(1, width + 2 * pads[0] - 1), max(1, height + 2 * pads[1] - 1)
    span = torch.tensor([2 / steps[0], 2 / steps[1]])
    basis = (_basis(motions, height, width, images) * span.to(images)).view(count, 5, -1)
    total = torch.zeros_like(images)
    step = max(1, CHUNK_SAMPLES // (count * height * width))
    for begin in range(0, frames, step):
        part = coefficients[:, begin : begin + step]
        looks = torch.bmm(part, basis).view(count, -1, width, 2)
        sampled = F.grid_sample(padded, looks, "bilinear", "border", align_corners=True)
        total += sampled.view(count, channels, -1, height, width).sum(2)
    return total / frames


def average_frames(images: Tensor, motions: Sequence[Motion]) -> Tensor:
    """Return the mean of each image's sub-frames along its motion.

    Args:
        images: (N, C, H, W) float in any light, any number of channels.
        motions: one per image.

    Returns:
        Tensor of the same shape. A still camera returns the image to 1e-4.
    """
    height, width = images.shape[-2:]
    counts = [_frame_count(m, height, width) for m in motions]
    result = torch.empty_like(images)
    for frames in sorted(set(counts)):
        members = [i for i, count in enumerate(counts) if count == frames]
        index = torch.tensor(members, device=images.device)
        result[index] = _average_group(images[index], [motions[i] for i in members], frames)
    return result
