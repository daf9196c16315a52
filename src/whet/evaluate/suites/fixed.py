"""Pictures spoilt by parameters that stand fixed: what suites score, never what is trained on.

Every function takes and returns uint8 HWC RGB of one shape. Numpy and Pillow do the work, so
that the same pixels come out wherever these two are installed, without PyTorch.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from whet.degrade.codecs.programs import Pixels, in_bytes, jpeg_round_trip, resized
from whet.evaluate.gaussian import gaussian

__all__ = ["half_spoilt", "message", "oversharpened", "soft", "zoomed"]


def soft(
    sharp: Pixels, seed: int, *, sigma_px: float, noise: float = 0, quality: int | None = None
) -> Pixels:
    """Return ``sharp`` through a soft lens: Gaussian, then noise, then rounding, then JPEG.

    Args:
        seed: of the noise.
        sigma_px: standard deviation of the blur, above 0.
        noise: standard deviation in levels of 255, each channel on its own.
        quality: of the JPEG, None for none.
    """
    blurred = gaussian(sharp.astype(np.float64), sigma_px)
    if noise:
        blurred += noise * np.random.default_rng(seed).standard_normal(blurred.shape)
    levels = in_bytes(blurred)
    return levels if quality is None else jpeg_round_trip(levels, quality)


def zoomed(sharp: Pixels, factor: float, quality: int | None = None) -> Pixels:
    """Return ``sharp`` shrunk and enlarged, both bicubic, then saved as JPEG."""
    large = _resized(_shrunk(sharp, factor), sharp.shape[:2])
    return large if quality is None else jpeg_round_trip(large, quality)


def message(sharp: Pixels, factor: float, quality: int) -> Pixels:
    """Return what becomes of a picture in a messenger: shrunk, saved as JPEG, shown enlarged."""
    return _resized(jpeg_round_trip(_shrunk(sharp, factor), quality), sharp.shape[:2])


def oversharpened(sharp: Pixels, radius_px: float, percent: int) -> Pixels:
    """Return ``sharp`` with the halos of Pillow's unsharp mask."""
    mask = ImageFilter.UnsharpMask(radius_px, percent, 0)
    return np.array(Image.fromarray(sharp).filter(mask))


def half_spoilt(sharp: Pixels, spoilt: Pixels) -> Pixels:
    """Return the left half of ``sharp`` beside the right half of ``spoilt``."""
    middle = sharp.shape[1] // 2
    return np.concatenate((sharp[:, :middle], spoilt[:, middle:]), axis=1)


def _shrunk(sharp: Pixels, factor: float) -> Pixels:
    height, width = sharp.shape[:2]
    return _resized(sharp, (round(height / factor), round(width / factor)))


def _resized(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    return resized(pixels, (size[0], size[1]), Image.Resampling.BICUBIC)
