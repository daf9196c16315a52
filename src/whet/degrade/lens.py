"""Ordinary softness: a lens that is a little out of focus, with noise and a JPEG file behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from whet.conditions import Condition
from whet.degrade.codecs.programs import Pixels, in_bytes
from whet.degrade.one_by_one import jpeg_coding, log_uniform, saved_as_jpeg
from whet.degrade.sensor import to_linear

__all__ = [
    "Lens",
    "blurred",
    "convolved",
    "disc_kernel",
    "draw_noise_levels",
    "gaussian_kernel",
    "noisy",
]

SIGMA_PX = (0.4, 3.5)
"""Log-uniform: from softness that few would notice to a picture plainly out of focus."""
ROUND, ASTIGMATIC = 0.6, 0.2
"""Shares of kernels that are a Gaussian, and a stretched one; the rest are discs."""
SAMPLED = 0.7
"""Share of round Gaussians that are sampled at pixel centres, as programs blur; the others are
averaged over each pixel, as sensors do."""
STRETCH = (1.1, 2.0)
LINEAR_PROBABILITY = 0.35
"""Share blurred in linear light, as lenses do; the others in sRGB, as programs and tests do."""
NOISELESS, LITTLE_NOISE = 0.4, 0.4
LITTLE_LEVELS, MUCH_LEVELS = (0.5, 3.0), (3.0, 10.0)
GREY_NOISE_PROBABILITY = 0.3
"""Share of noise that is the same in all colours, as that of old film and of converted raws is."""
JPEG_PROBABILITY = 0.62
JPEG_QUALITY = (60, 98)


@dataclass(frozen=True)
class Lens:
    """Attributes:
    sigma_px: of the Gaussian; a disc has twice that as its radius, which is as wide.
    shape: ``"sampled"``, ``"round"``, ``"stretched"`` or ``"disc"``.
    stretch, turn: longer over shorter axis and its direction in radians, of a stretched one.
    linear: blurred in linear light.
    noise_levels: standard deviation.
    quality: of the JPEG file, or None.
    """

    sigma_px: float
    shape: str
    stretch: float
    turn: float
    linear: bool
    noise_levels: float
    quality: int | None

    @classmethod
    def draw(cls, rng: Generator) -> Lens:
        sigma, sort = log_uniform(rng, *SIGMA_PX), rng.random()
        gaussian = "sampled" if rng.random() < SAMPLED else "round"
        stretched = "stretched" if sort < ROUND + ASTIGMATIC else "disc"
        stretch, turn = float(rng.uniform(*STRETCH)), float(rng.uniform(0, np.pi))
        linear = bool(rng.random() < LINEAR_PROBABILITY)
        noise = draw_noise_levels(rng)
        present, quality = rng.random() < JPEG_PROBABILITY, _quality(rng, JPEG_QUALITY)
        shape = gaussian if sort < ROUND else stretched
        return cls(sigma, shape, stretch, turn, linear, noise, quality if present else None)

    @property
    def condition(self) -> Condition:
        return Condition("lens", self.sigma_px, self.noise_levels, jpeg_coding(self.quality), 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        soft = blurred(sharp, self._kernel(), linear=self.linear)
        out = in_bytes(noisy(soft, self.noise_levels, rng))
        return out if self.quality is None else saved_as_jpeg(out, self.quality, rng)

    def _kernel(self) -> NDArray[np.float64]:
        if self.shape == "disc":
            return disc_kernel(2 * self.sigma_px)
        if self.shape == "stretched":
            root = self.stretch**0.5
            return gaussian_kernel(self.sigma_px * root, self.sigma_px / root, self.turn)
        fine = 1 if self.shape == "sampled" else 4
        return gaussian_kernel(self.sigma_px, self.sigma_px, fine=fine)


def _quality(rng: Generator, limits: tuple[int, int]) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))


def _grid(reach: int, fine: int) -> NDArray[np.float64]:
    size = 2 * reach + 1
    return (np.arange(size * fine) + 0.5) / fine - size / 2


def gaussian_kernel(
    along_px: float, across_px: float, turn: float = 0.0, fine: int = 4
) -> NDArray[np.float64]:
    """Return a (K, K) Gaussian kernel summing to one, its long axis ``turn`` radians from right.

    Args:
        along_px, across_px: standard deviations.
        fine: samples per pixel and axis that are averaged; 1 samples at pixel centres.
    """
    at = _grid(int(np.ceil(4 * max(along_px, across_px))) + 1, fine)
    y, x = at[:, None], at[None, :]
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return _pixel_means(np.exp(-0.5 * ((u / along_px) ** 2 + (v / across_px) ** 2)), fine)


def disc_kernel(radius_px: float, fine: int = 4) -> NDArray[np.float64]:
    """Return a (K, K) disc summing to one: a lens out of focus."""
    at = _grid(int(np.ceil(radius_px)) + 1, fine)
    return _pixel_means((np.hypot(at[:, None], at[None, :]) <= radius_px).astype(float), fine)


def _pixel_means(values: NDArray[np.float64], fine: int) -> NDArray[np.float64]:
    size = len(values) // fine
    means = values.reshape(size, fine, size, fine).mean((1, 3))
    kernel: NDArray[np.float64] = means / means.sum()
    return kernel


def blurred(
    sharp: Pixels, kernel: NDArray[np.float64], *, linear: bool = False
) -> NDArray[np.float32]:
    """Return ``sharp`` blurred by ``kernel``, as float levels, in sRGB or in linear light."""
    if not linear:
        return convolved(sharp.astype(np.float32), kernel)
    light = convolved(_LIGHT[sharp], kernel)
    # The curve between two levels is as good as straight.
    return np.interp(light, _LIGHT, np.arange(256)).astype(np.float32)


_LIGHT: NDArray[np.float32] = to_linear(torch.arange(256) / 255).numpy()
"""Linear light of each of the 256 levels."""


def convolved(values: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Convolve (H, W, C) with a (K, K) kernel, K odd, by Fourier transform; edges are mirrored.

    In numpy and on one thread: pictures are degraded side by side.
    """
    height, width = values.shape[:2]
    reach = kernel.shape[0] // 2
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    # Multiples of 16 transform faster than the odd sizes that padding makes.
    size = [side + -side % 16 for side in padded.shape[:2]]
    product = np.fft.rfft2(padded, s=size, axes=(0, 1))
    product *= np.fft.rfft2(kernel.astype(np.float32), s=size)[..., None]
    whole = np.fft.irfft2(product, s=size, axes=(0, 1))
    return whole[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width].astype(np.float32)


def draw_noise_levels(rng: Generator) -> float:
    """Draw the noise of a picture: none, a little or much, standard deviation in levels."""
    sort = rng.random()
    little, much = (log_uniform(rng, *limits) for limits in (LITTLE_LEVELS, MUCH_LEVELS))
    if sort < NOISELESS:
        return 0.0
    return little if sort < NOISELESS + LITTLE_NOISE else much


def noisy(levels: NDArray[np.floating], sigma: float, rng: Generator) -> NDArray[np.floating]:
    """Return float levels (H, W, 3) with Gaussian noise of standard deviation ``sigma``."""
    if not sigma:
        return levels
    grey = rng.random() < GREY_NOISE_PROBABILITY
    shape = (*levels.shape[:2], 1 if grey else 3)
    return levels + sigma * rng.standard_normal(shape, dtype=np.float32)
