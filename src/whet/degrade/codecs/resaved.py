"""Pictures that programs have handled: scaled, sent by message, saved again, oversharpened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from whet.conditions import Condition
from whet.degrade.codecs.programs import Pixels, in_bytes, resized
from whet.degrade.lens import blurred, gaussian_kernel
from whet.degrade.one_by_one import KERNELS, jpeg_coding, log_uniform, saved_as_jpeg
from whet.degrade.resize import equal_blur_px

__all__ = ["Jpeg", "Message", "Oversharpened", "Zoom"]

ZOOM_FACTOR = (1.1, 4.0)
ZOOM_QUALITY = (60, 96)
ZOOM_SMALL_JPEG, ZOOM_LARGE_JPEG = 0.3, 0.5
"""Shares that were saved as JPEG before they were enlarged, and after."""
MESSAGE_FACTOR = (1.2, 3.0)
MESSAGE_QUALITY = (45, 92)
MESSAGE_SAVED_AGAIN = 0.6
MESSAGE_LAST_QUALITY = (60, 95)
JPEG_QUALITY = (20, 95)
HALO_RADIUS_PX = (0.7, 2.5)
HALO_PERCENT = (70, 250)
HALO_SOFT = 0.4
"""Share that was a little soft before it was sharpened too much."""
HALO_SOFT_PX = (0.4, 0.9)
HALO_JPEG = 0.5
HALO_QUALITY = (70, 96)


def _quality(rng: Generator, limits: tuple[int, int], probability: float = 1.0) -> int | None:
    present, quality = rng.random() < probability, int(rng.integers(limits[0], limits[1] + 1))
    return quality if present else None


def _maybe_saved(pixels: Pixels, quality: int | None, rng: Generator) -> Pixels:
    return pixels if quality is None else saved_as_jpeg(pixels, quality, rng)


@dataclass(frozen=True)
class _Scaled:
    """Shrunk by ``factor`` and enlarged again, saved as JPEG while small, and after, or not."""

    factor: float
    down: Image.Resampling
    up: Image.Resampling
    small_quality: int | None
    large_quality: int | None

    @property
    def blur_px(self) -> float:
        return equal_blur_px(self.factor)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        height, width = sharp.shape[:2]
        size = (round(height / self.factor), round(width / self.factor))
        small = _maybe_saved(resized(sharp, size, self.down), self.small_quality, rng)
        return _maybe_saved(resized(small, (height, width), self.up), self.large_quality, rng)


def _kernels(rng: Generator) -> tuple[Image.Resampling, Image.Resampling]:
    return KERNELS[int(rng.integers(4))], KERNELS[int(rng.integers(3))]


class Zoom(_Scaled):
    """A picture enlarged by any factor."""

    @classmethod
    def draw(cls, rng: Generator) -> Zoom:
        return cls(
            log_uniform(rng, *ZOOM_FACTOR),
            *_kernels(rng),
            _quality(rng, ZOOM_QUALITY, ZOOM_SMALL_JPEG),
            _quality(rng, ZOOM_QUALITY, ZOOM_LARGE_JPEG),
        )

    @property
    def condition(self) -> Condition:
        coding = max(jpeg_coding(self.small_quality), jpeg_coding(self.large_quality))
        return Condition("zoom", self.blur_px, 0.0, coding, 0.0)


class Message(_Scaled):
    """A picture as a message app leaves it: shrunk and compressed, then shown large."""

    @classmethod
    def draw(cls, rng: Generator) -> Message:
        return cls(
            log_uniform(rng, *MESSAGE_FACTOR),
            *_kernels(rng),
            _quality(rng, MESSAGE_QUALITY),
            _quality(rng, MESSAGE_LAST_QUALITY, MESSAGE_SAVED_AGAIN),
        )

    @property
    def condition(self) -> Condition:
        return Condition("message", self.blur_px, 0.0, jpeg_coding(self.small_quality), 0.0)


@dataclass(frozen=True)
class Jpeg:
    """A sharp picture, compressed."""

    quality: int

    @classmethod
    def draw(cls, rng: Generator) -> Jpeg:
        return cls(int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1)))

    @property
    def condition(self) -> Condition:
        return Condition("jpeg", 0.0, 0.0, jpeg_coding(self.quality), 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        return saved_as_jpeg(sharp, self.quality, rng)


@dataclass(frozen=True)
class Oversharpened:
    """A picture with halos: it should come back softer, not sharper.

    Attributes:
        radius_px, percent: of the unsharp mask.
        soft_px: sigma of the blur before it, or 0.
        quality: of the JPEG file behind it, or None.
    """

    radius_px: float
    percent: int
    soft_px: float
    quality: int | None

    @classmethod
    def draw(cls, rng: Generator) -> Oversharpened:
        soft, sigma = rng.random() < HALO_SOFT, float(rng.uniform(*HALO_SOFT_PX))
        return cls(
            float(rng.uniform(*HALO_RADIUS_PX)),
            int(rng.uniform(*HALO_PERCENT)),
            sigma if soft else 0.0,
            _quality(rng, HALO_QUALITY, HALO_JPEG),
        )

    @property
    def condition(self) -> Condition:
        # How soft a picture is that was sharpened too much has no answer.
        return Condition("oversharpened", np.nan, 0.0, jpeg_coding(self.quality), 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        if self.soft_px:
            kernel = gaussian_kernel(self.soft_px, self.soft_px, fine=1)
            sharp = in_bytes(blurred(sharp, kernel))
        mask = ImageFilter.UnsharpMask(self.radius_px, self.percent, 0)
        halos = np.asarray(Image.fromarray(sharp).filter(mask))
        return _maybe_saved(halos, self.quality, rng)
