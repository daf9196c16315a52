"""A frame of a video call: shrunk, coded by H.264 at a call's bit rate, enlarged.

The codec is the real one (x264 through PyAV), on the CPU. A frame of a call is
predicted from those before it, so a few frames with a hand's tremor are coded and
the last is kept.

A call seconds old looks better than its bit rate spread over single pictures, because
what stands still is paid once. So the quality is not searched to meet a number of bits:
it is that of real clips coded as calls at that rate, once they have settled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from whet.conditions import Condition
from whet.degrade.resize import equal_blur_px, imresize
from whet.degrade.sensor import (
    add_noise,
    draw_noise,
    noise_levels,
    quantise,
    to_linear,
    to_srgb,
)

__all__ = ["call", "code_clip", "describe_call"]

FRAMES_PER_SECOND = 30
REFERENCE_PIXELS = 1280 * 720
"""Bit rates are those of a 1280x720 call at 30 frames a second; other sizes get their share."""
CLIP_FRAMES = 4
CRF_CENTRE, CRF_DEVIATION = 32.0, 3.0
BITS_CENTRE, CRF_PER_HALVING = 0.05, 5.75
"""x264's rate factor of a settled call: normal about CRF_CENTRE at BITS_CENTRE bits per coded
pixel and frame, higher by CRF_PER_HALVING for every halving of them. Measured: three clips
coded at 150k, 400k and 1000k with a one-second buffer; the rate factor at which a clip made
here has the same PSNR as their third second is 29 to 32 at the centre for hands at a table
and a running dog, 36 to 41 for a bird before a moving camera; the slope on 25 photographs."""
CRF_RANGE = (12.0, 48.0)
TREMOR_PX = 0.6
"""Standard deviation of the shift from frame to frame, at full resolution."""
SHRINK = {150: (1.6, 3.2), 400: (1.2, 2.4), 1000: (1.0, 1.6)}
"""Range of the shrink factor for each bit rate in kbit/s: calls send 240-450 lines at
150k, 300-600 at 400k, 450-720 at 1000k."""
SMOOTH_PROBABILITY = 0.5
"""Half the receivers enlarge bilinearly (graphics hardware), half bicubically."""


@dataclass(frozen=True)
class _Clip:
    """What the seed decides about one image's call."""

    crf: float
    shrink: float
    smooth: bool
    shifts: NDArray[np.float64]


def _draw(rng: Generator, kilobits: int) -> _Clip:
    shifts = TREMOR_PX * rng.standard_normal((CLIP_FRAMES, 2)).cumsum(0)
    shrink = float(np.exp(rng.uniform(*np.log(SHRINK[kilobits]))))
    centre = settled_crf(kilobits, shrink)
    return _Clip(
        float(np.clip(rng.normal(centre, CRF_DEVIATION), *CRF_RANGE)),
        shrink,
        bool(rng.random() < SMOOTH_PROBABILITY),
        shifts - shifts[-1],
    )


def settled_crf(kilobits: float, shrink: float) -> float:
    """Return the usual rate factor of a 720p call at ``kilobits`` per second, sent shrunk."""
    pixels = REFERENCE_PIXELS / shrink**2
    bits = kilobits * 1000 / FRAMES_PER_SECOND / pixels
    return float(CRF_CENTRE + CRF_PER_HALVING * np.log2(BITS_CENTRE / bits))


def _picture_bits(packet: bytes) -> int:
    """Count slices only: parameter sets and x264's banner are sent once in a call."""
    units = packet.split(b"\x00\x00\x01")
    return sum(8 * (len(unit) + 3) for unit in units if unit and unit[0] & 31 in (1, 5))


def code_clip(frames: NDArray[np.uint8], crf: float) -> tuple[NDArray[np.uint8], list[int]]:
    """Code and decode ``frames`` (T, H, W, 3) RGB, H and W even, by H.264 for live use.

    Args:
        frames: consecutive pictures, H and W even and >= 16.
        crf: x264's constant rate factor, 0 (best) to 51.

    Returns:
        The decoded frames, same shape, and the bits of each frame's slices.
    """
    import av

    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt, encoder.framerate = "yuv420p", FRAMES_PER_SECOND
    encoder.time_base = Fraction(1, FRAMES_PER_SECOND)
    encoder.thread_count = 1
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "crf": f"{crf:.2f}",
        "x264-params": "keyint=infinite:scenecut=0:log-level=none",
    }
    packets = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    return pictures, [_picture_bits(bytes(packet)) for packet in packets]


def _shifted(image: Tensor, shifts: NDArray[np.float64], size: tuple[int, int]) -> Tensor:
    """Return (T, 3, *size): ``image`` (3, H, W) moved by whole pixels, then shrunk."""
    moves = np.rint(shifts).astype(int)
    reach = int(np.abs(moves).max()) if moves.size else 0
    reach = min(reach, min(image.shape[-2:]) - 1)
    padded = torch.nn.functional.pad(image[None], (reach,) * 4, mode="reflect")[0]
    height, width = image.shape[-2:]
    views = []
    for dx, dy in np.clip(moves, -reach, reach):
        top, left = reach + int(dy), reach + int(dx)
        views.append(padded[:, top : top + height, left : left + width])
    return imresize(torch.stack(views), size)


def _code_one(image: Tensor, clip: _Clip) -> Tensor:
    """Send one image (3, H, W), on the CPU, through the call."""
    height, width = image.shape[-2:]
    even = [max(16, 2 * round(side / clip.shrink / 2)) for side in (height, width)]
    small = quantise(_shifted(image, clip.shifts, (even[0], even[1])))
    levels = (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    frames = np.ascontiguousarray(levels.numpy())
    coded, _ = code_clip(frames, clip.crf)
    last = torch.tensor(coded[-1]).permute(2, 0, 1)[None].to(image) / 255
    if clip.smooth:
        return torch.nn.functional.interpolate(
            last, size=(height, width), mode="bilinear", align_corners=False
        )[0]
    return quantise(imresize(last, (height, width)))[0]


LARGEST_CRF = 51


def _draw_rate(rng: Generator, kilobits: int | None) -> int:
    rates = sorted(SHRINK)
    return kilobits or rates[int(rng.integers(len(rates)))]


def describe_call(rng: Generator, *, kilobits: int | None) -> Condition:
    """Return what :func:`call` does with this generator."""
    rate = _draw_rate(rng, kilobits)
    clip = _draw(rng, rate)
    noise = noise_levels(draw_noise(rng))
    blur = equal_blur_px(clip.shrink)
    return Condition(f"call-{rate}k", blur, noise, clip.crf / LARGEST_CRF, 0.0)


def call(sharp: Tensor, rngs: Sequence[Generator], *, kilobits: int | None) -> Tensor:
    """Degrade as a video call at ``kilobits`` per second does; None draws a rate per image.

    The last frame of the clip is the sharp image itself, unmoved, plus webcam noise.
    Runs on the CPU whatever the device of ``sharp``; the result returns there.
    """
    chosen = [_draw_rate(rng, kilobits) for rng in rngs]
    clips = [_draw(rng, rate) for rng, rate in zip(rngs, chosen, strict=True)]
    noises = [draw_noise(rng) for rng in rngs]
    noisy = to_srgb(add_noise(to_linear(sharp.cpu()), noises).clamp(0, 1))
    # The codec holds no lock while it works, so threads do run side by side.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        coded = list(pool.map(_code_one, noisy, clips))
    return torch.stack(coded).to(sharp)
