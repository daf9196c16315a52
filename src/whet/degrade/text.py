"""Pages and screens as people have them: photographed, scanned at a low resolution, compressed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image

from whet.conditions import Condition
from whet.degrade.codecs.programs import Pixels, in_bytes, resized
from whet.degrade.lens import blurred, disc_kernel, gaussian_kernel, noisy
from whet.degrade.one_by_one import KERNELS, jpeg_coding, log_uniform, saved_as_jpeg
from whet.degrade.resize import equal_blur_px

__all__ = ["Text"]

SIGMA_PX = (0.4, 2.2)
"""More, and a letter of ordinary size cannot be told from another."""
DISC_PROBABILITY = 0.3
SCAN_PROBABILITY, SCAN_FACTOR = 0.35, (1.1, 2.2)
"""Scanned at fewer dots, then shown at the page's size."""
NOISELESS, NOISE_LEVELS = 0.4, (0.5, 6.0)
JPEG_PROBABILITY, JPEG_QUALITY = 0.75, (40, 95)


@dataclass(frozen=True)
class Text:
    """Attributes:
    sigma_px: of the blur; a disc of twice that radius is as wide.
    disc: the blur is a lens's, not a Gaussian.
    factor: by which a scan is smaller than the page; 1 is no scan.
    up: how it is enlarged.
    noise_levels: standard deviation.
    quality: of the JPEG file, or None.
    """

    sigma_px: float
    disc: bool
    factor: float
    up: Image.Resampling
    noise_levels: float
    quality: int | None

    @classmethod
    def draw(cls, rng: Generator) -> Text:
        scanned, factor = rng.random() < SCAN_PROBABILITY, log_uniform(rng, *SCAN_FACTOR)
        noiseless, noise = rng.random() < NOISELESS, log_uniform(rng, *NOISE_LEVELS)
        present = rng.random() < JPEG_PROBABILITY
        quality = int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))
        return cls(
            log_uniform(rng, *SIGMA_PX),
            bool(rng.random() < DISC_PROBABILITY),
            factor if scanned else 1.0,
            KERNELS[int(rng.integers(3))],
            0.0 if noiseless else noise,
            quality if present else None,
        )

    @property
    def condition(self) -> Condition:
        blur = float(np.hypot(self.sigma_px, equal_blur_px(self.factor)))
        kind = "lens" if self.factor == 1 else "zoom"
        return Condition(kind, blur, self.noise_levels, jpeg_coding(self.quality), 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        height, width = sharp.shape[:2]
        sigma = self.sigma_px
        kernel = disc_kernel(2 * sigma) if self.disc else gaussian_kernel(sigma, sigma)
        soft = in_bytes(blurred(sharp, kernel))
        if self.factor > 1:
            size = (round(height / self.factor), round(width / self.factor))
            soft = resized(resized(soft, size, KERNELS[3]), (height, width), self.up)
        out = in_bytes(noisy(soft.astype(np.float32), self.noise_levels, rng))
        return out if self.quality is None else saved_as_jpeg(out, self.quality, rng)
