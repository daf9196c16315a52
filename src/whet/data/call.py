"""A frame of a video call: shrunk, coded by H.264 at a call's bit rate, enlarged.

The codec is the real one (x264 through PyAV), on the CPU. A call's frame is a
predicted one, so a few frames with a hand's tremor are coded and the last is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from whet.data.resize import imresize
from whet.data.sensor import add_noise, draw_noise, quantise, to_linear, to_srgb

__all__ = ["call", "code_clip"]

FRAMES_PER_SECOND = 30
REFERENCE_PIXELS = 1280 * 720
"""Bit rates are those of a 1280x720 call at 30 frames a second; a crop gets its share."""
CLIP_FRAMES = 6
OVERHEAD_BITS = 120
"""Bits a frame costs whatever its size (NAL and slice headers, measured on flat frames),
added to a crop's share: a full frame pays them once, a small crop would be starved."""
TREMOR_PX = 0.6
"""Standard deviation of the shift from frame to frame, at full resolution."""
SHRINK = {150: (1.6, 3.2), 400: (1.2, 2.4), 1000: (1.0, 1.6)}
"""Range of the shrink factor for each bit rate in kbit/s: calls send 240-450 lines at
150k, 300-600 at 400k, 450-720 at 1000k."""
SMOOTH_PROBABILITY = 0.5
"""Half the receivers enlarge bilinearly (graphics hardware), half bicubically."""


@dataclass(frozen=True)
class _Clip:
    kilobits: int
    shrink: float
    smooth: bool
    shifts: NDArray[np.float64]


def _draw(rng: Generator, kilobits: int) -> _Clip:
    shifts = TREMOR_PX * rng.standard_normal((CLIP_FRAMES, 2)).cumsum(0)
    return _Clip(
        kilobits,
        float(np.exp(rng.uniform(*np.log(SHRINK[kilobits])))),
        bool(rng.random() < SMOOTH_PROBABILITY),
        shifts - shifts[-1],
    )


def code_clip(frames: NDArray[np.uint8], bits_per_second: float) -> tuple[NDArray[np.uint8], int]:
    """Code and decode ``frames`` (T, H, W, 3) RGB, H and W even, by H.264 for live use.

    Returns:
        The decoded frames, same shape, and the number of bits they took.
    """
    import av

    count, height, width, _ = frames.shape
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAMES_PER_SECOND), FRAMES_PER_SECOND
    encoder.bit_rate = max(1000, round(bits_per_second))
    encoder.thread_count = 1
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": "keyint=infinite:scenecut=0:log-level=none",
    }
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    assert len(pictures) == count
    return pictures, 8 * sum(packet.size for packet in packets)


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
    frames = (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    share = clip.kilobits * 1000 * height * width / REFERENCE_PIXELS
    coded, _ = code_clip(np.ascontiguousarray(frames), share + OVERHEAD_BITS * FRAMES_PER_SECOND)
    last = torch.tensor(coded[-1]).permute(2, 0, 1)[None].to(image) / 255
    if clip.smooth:
        return torch.nn.functional.interpolate(
            last, size=(height, width), mode="bilinear", align_corners=False
        )[0]
    return quantise(imresize(last, (height, width)))[0]


def call(sharp: Tensor, rngs: Sequence[Generator], *, kilobits: int | None) -> Tensor:
    """Degrade as a video call at ``kilobits`` per second does; None draws a rate per image.

    The last frame of the clip is the sharp image itself, unmoved, plus webcam noise.
    Runs on the CPU whatever the device of ``sharp``; the result returns there.
    """
    rates = sorted(SHRINK)
    chosen = [kilobits or rates[int(rng.integers(len(rates)))] for rng in rngs]
    clips = [_draw(rng, rate) for rng, rate in zip(rngs, chosen, strict=True)]
    noises = [draw_noise(rng) for rng in rngs]
    noisy = to_srgb(add_noise(to_linear(sharp.cpu()), noises).clamp(0, 1))
    coded = [_code_one(image, clip) for image, clip in zip(noisy, clips, strict=True)]
    return torch.stack(coded).to(sharp)
