"""What a user would pick instead of a network: nothing, unsharp mask, CAS.

Each is a restorer, uint8 HWC RGB to the same, and each gets its best chance: the
free constants of the classical filters were tuned on training photographs
(:func:`tune_unsharp`), never on what they are scored on.

A new baseline is one callable here and one line in :data:`BASELINES`. :data:`ORACLES` look at the
sharp pictures to choose: nobody can use them, and they say what a row has to beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFilter

from whet.errors import InputError
from whet.evaluate.gaussian import gaussian
from whet.metrics import psnr

__all__ = [
    "BASELINES",
    "BEST_MASK",
    "MASKS",
    "ORACLES",
    "ContrastAdaptiveSharpening",
    "Oracle",
    "PillowMask",
    "Restorer",
    "UnsharpMask",
    "best_mask",
    "identity",
    "tune_unsharp",
]

Pixels = NDArray[np.uint8]
Image = NDArray[np.float32]
Restorer = Callable[[Pixels], Pixels]
Pairs = Iterable[tuple[Pixels, Pixels]]
Oracle = Callable[[Pairs], Restorer]

RADII_PX = (0.6, 1.0, 1.5, 2.2, 3.2, 4.5)
AMOUNTS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)


def identity(degraded: Pixels) -> Pixels:
    """Return the picture as it is: the row that every other one is measured against."""
    return degraded.copy()


@dataclass(frozen=True)
class UnsharpMask:
    """``x + amount * (x - gaussian(x, radius_px))`` in sRGB, as photo editors do it.

    Attributes:
        amount: strength; 1 adds the whole difference.
        radius_px: standard deviation of the Gaussian.
    """

    amount: float
    radius_px: float

    def __call__(self, degraded: Pixels) -> Pixels:
        """Return the sharpened picture, uint8 HWC of the same shape."""
        picture = degraded.astype(np.float32)
        return _quantise(picture + self.amount * _detail(picture, self.radius_px))


@dataclass(frozen=True)
class ContrastAdaptiveSharpening:
    """AMD FidelityFX CAS without scaling (T. Lottes 2019), in linear light.

    Every pixel gets a negative 4-neighbour lobe whose weight falls to zero where
    the 3 x 3 neighbourhood already spans the whole range: edges that are high in
    contrast are left alone. As in AMD's fast path green decides for all colours.

    Attributes:
        sharpness: 0 to 1, AMD's slider; the lobe is -1/8 to -1/5 at its strongest.
    """

    sharpness: float

    def __call__(self, degraded: Pixels) -> Pixels:
        """Return the sharpened picture, uint8 HWC of the same shape."""
        linear = _TO_LINEAR[degraded]
        around = np.pad(linear, ((1, 1), (1, 1), (0, 0)), "edge")
        height, width = degraded.shape[:2]

        def at(row: int, column: int) -> Image:
            return around[row : row + height, column : column + width]

        cross = (at(0, 1), at(1, 0), at(1, 2), at(2, 1))
        weight = self._weight([linear, *cross], [at(r, c) for r in (0, 2) for c in (0, 2)])
        summed = weight * (cross[0] + cross[1] + cross[2] + cross[3])
        return _quantise(255 * _to_srgb((summed + linear) / (1 + 4 * weight)))

    def _weight(self, plus: Sequence[Image], corners: Sequence[Image]) -> Image:
        """Return the weight of the four neighbours, (H, W, 1), at most zero."""
        plus_green = np.stack([pixels[..., 1] for pixels in plus])
        corner_green = np.stack([pixels[..., 1] for pixels in corners])
        low, high = plus_green.min(0), plus_green.max(0)
        # The extremes of the plus and of the square, summed, reach from 0 to 2: rounder
        # contours on diagonals than those of either alone.
        low = low + np.minimum(low, corner_green.min(0))
        high = high + np.maximum(high, corner_green.max(0))
        room = np.minimum(low, 2 - high) / np.maximum(high, np.float32(1e-6))
        peak = -1 / (8 + (5 - 8) * min(max(self.sharpness, 0.0), 1.0))
        weight: Image = (np.sqrt(np.clip(room, 0, 1)) * peak)[..., None].astype(np.float32)
        return weight


def tune_unsharp(
    pairs: Iterable[tuple[Pixels, Pixels]],
    radii_px: Sequence[float] = RADII_PX,
    amounts: Sequence[float] = AMOUNTS,
) -> UnsharpMask:
    """Return the unsharp mask with the highest mean PSNR over ``pairs``.

    Args:
        pairs: (degraded, sharp), uint8 HWC; never pictures that are scored later.
        radii_px: standard deviations to try.
        amounts: strengths to try.

    Raises:
        InputError: there are no pairs, or nothing to try.
    """
    totals = np.zeros((len(radii_px), len(amounts)))
    count = 0
    for degraded, sharp in pairs:
        count += 1
        picture = degraded.astype(np.float32)
        for row, radius_px in enumerate(radii_px):
            detail = _detail(picture, radius_px)
            for column, amount in enumerate(amounts):
                totals[row, column] += psnr(_quantise(picture + amount * detail), sharp)
    if not count or not totals.size:
        raise InputError("tuning needs pairs of pictures, radii and amounts to try")
    best_radius, best_amount = divmod(int(totals.argmax()), len(amounts))
    return UnsharpMask(amounts[best_amount], radii_px[best_radius])


BASELINES: Mapping[str, Restorer] = {
    "identity": identity,
    "unsharp": UnsharpMask(amount=0.1, radius_px=3.2),
    "cas": ContrastAdaptiveSharpening(sharpness=0.0),
}
"""Name -> restorer. The constants have the highest mean PSNR over ten training photographs
under each of nine degradations (every synthetic suite but "sharp"): +0.03 dB for the unsharp
mask, -0.14 dB for CAS. Stronger settings gain on bicubic and defocus (up to +0.5 dB with
amount .75, radius 1) and lose more on shake and moving objects; one setting must serve all,
since a user does not know what happened to the picture."""


@dataclass(frozen=True)
class PillowMask:
    """Pillow's ``UnsharpMask`` with threshold 0, as a line of Python sharpens pictures.

    Attributes:
        radius_px: of Pillow's Gaussian, which three box filters approach.
        percent: strength.
    """

    radius_px: float
    percent: int

    def __call__(self, degraded: Pixels) -> Pixels:
        """Return the sharpened picture, uint8 HWC of the same shape."""
        mask = ImageFilter.UnsharpMask(self.radius_px, self.percent, 0)
        return np.array(PillowImage.fromarray(degraded).filter(mask))

    def __str__(self) -> str:
        return f"unsharp mask of {self.radius_px:g} px, {self.percent}%"


MASKS = tuple(
    PillowMask(radius_px, percent)
    for radius_px, percents in (
        (0.6, (100, 200)),
        (1.0, (50, 100, 150)),
        (1.5, (80, 150)),
        (2.0, (60, 120)),
        (3.0, (50, 100)),
    )
    for percent in percents
)


def best_mask(pairs: Pairs) -> PillowMask:
    """Return the mask of :data:`MASKS` with the highest mean PSNR over ``pairs``.

    Args:
        pairs: (degraded, sharp), uint8 HWC: the very pictures that are scored.
    """
    totals = np.zeros(len(MASKS))
    for degraded, sharp in pairs:
        totals += [min(psnr(mask(degraded), sharp), 100.0) for mask in MASKS]
    return MASKS[int(totals.argmax())]


BEST_MASK = "best-mask"
ORACLES: Mapping[str, Oracle] = {BEST_MASK: best_mask}
"""Name -> what picks a restorer for the pictures of one suite, knowing their sharp versions."""


def _detail(picture: Image, radius_px: float) -> Image:
    """Return ``picture - gaussian(picture)`` for (H, W, C), edges replicated."""
    return picture - gaussian(picture, radius_px, math.ceil(3 * radius_px), "edge")


def _quantise(picture: NDArray[np.floating]) -> Pixels:
    levels: Pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return levels


def _linear_levels() -> Image:
    """Return the linear light of each of the 256 sRGB levels (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def _to_srgb(linear: Image) -> Image:
    light = np.clip(linear, 0, 1)
    curve = 1.055 * light ** np.float32(1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, curve)


_TO_LINEAR = _linear_levels()
