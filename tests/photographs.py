"""Pictures that several tests share, made by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def photograph_like(height: int, width: int, seed: int = 0) -> Image:
    """Return uint8 HWC with a photograph's 1/f spectrum, a hard edge, black and white."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum = np.fft.fft2(rng.standard_normal((3, height, width)))
    picture = np.fft.ifft2(spectrum / (frequency + 1 / max(height, width))).real
    picture[:, : height // 3, width // 2 :] += 2 * picture.std()
    low, high = np.percentile(picture, (1, 99))
    scaled = (picture.transpose(1, 2, 0) - low) / (high - low)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def shapes(seed: int) -> Image:
    """Shapes of many sizes with hard edges in all directions."""
    rng = np.random.default_rng(seed)
    picture = photograph_like(384, 512, seed).astype(np.float32) / 2
    y, x = np.mgrid[0:384, 0:512]
    for _ in range(120):
        cy, cx, r = rng.integers(0, 384), rng.integers(0, 512), rng.integers(4, 40)
        picture[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.integers(0, 256, 3)
    return picture.astype(np.uint8)


def moved(picture: Image, length: int, axis: int) -> Image:
    shifted = [np.roll(picture.astype(np.float32), s, axis) for s in range(length)]
    return np.rint(np.mean(shifted, axis=0)).astype(np.uint8)
