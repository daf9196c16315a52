"""Degradations that take one picture at a time, as the bytes of its file.

What a seed decides and what it does to pixels are kept apart: a drawing can be asked what it will
do, and so teach a network to see it, without a picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from whet.conditions import Condition
from whet.degrade.codecs.programs import HALF_COLOUR, Pixels, jpeg_round_trip

__all__ = [
    "KERNELS",
    "Draw",
    "Drawn",
    "jpeg_coding",
    "log_uniform",
    "one_by_one",
    "saved_as_jpeg",
]

KERNELS = (
    Image.Resampling.BICUBIC,
    Image.Resampling.BILINEAR,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)
"""What programs shrink by; all but the last also enlarge."""

FULL_COLOUR_PROBABILITY = 0.3
"""Share of JPEG files that keep a colour for every pixel (4:4:4) instead of every four."""


class Drawn(Protocol):
    """What a seed decided about one picture."""

    @property
    def condition(self) -> Condition:
        """What the picture will suffer from."""
        ...

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        """Return ``sharp`` spoilt, same shape; ``rng`` goes on where drawing ended."""
        ...


Draw = Callable[[Generator], Drawn]


def one_by_one(sharp: Tensor, rngs: Sequence[Generator], *, draw: Draw) -> Tensor:
    """Degrade images (N, 3, H, W) in [0, 1] one by one, on the CPU; the result returns.

    What is handed on is rounded to 8 bits, as every file is.
    """
    levels = (sharp.clamp(0, 1) * 255).round().to(torch.uint8).cpu().permute(0, 2, 3, 1)
    pictures = [np.ascontiguousarray(picture) for picture in levels.numpy()]
    # Codecs hold no lock while they work, so threads do run side by side.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        spoilt = list(pool.map(lambda pixels, rng: draw(rng).spoil(pixels, rng), pictures, rngs))
    stacked = torch.from_numpy(np.stack(spoilt)).permute(0, 3, 1, 2)
    return stacked.to(sharp.device, sharp.dtype) / 255


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draw from ``low`` to ``high`` so that every octave is equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def saved_as_jpeg(pixels: Pixels, quality: int, rng: Generator) -> Pixels:
    """Return ``pixels`` as a reader of their JPEG file sees them."""
    full_colour = rng.random() < FULL_COLOUR_PROBABILITY
    return jpeg_round_trip(pixels, quality, 0 if full_colour else HALF_COLOUR)


def jpeg_coding(quality: int | None) -> float:
    """Return the measure ``coding`` of a JPEG file; None is no file."""
    return 0.0 if quality is None else (100 - quality) / 100
