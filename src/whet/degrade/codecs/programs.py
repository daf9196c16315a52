"""What programs do to pictures: rounding to bytes, scaling, JPEG. Pillow and numpy, no PyTorch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["HALF_COLOUR", "Pixels", "in_bytes", "jpeg_round_trip", "resized"]

Pixels = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

HALF_COLOUR = 2
"""Pillow's number for 4:2:0, a colour for every four pixels: what it does unasked."""


def in_bytes(levels: NDArray[np.floating]) -> Pixels:
    """Round levels 0..255 to bytes."""
    rounded: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return rounded


def jpeg_round_trip(pixels: Pixels, quality: int, subsampling: int = HALF_COLOUR) -> Pixels:
    """Return ``pixels`` as a reader of their JPEG file sees them."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def resized(pixels: Pixels, size: tuple[int, int], kernel: Image.Resampling) -> Pixels:
    """Return ``pixels`` scaled to ``size`` = (height, width), at least one pixel each."""
    width, height = max(1, size[1]), max(1, size[0])
    return np.asarray(Image.fromarray(pixels).resize((width, height), kernel))
