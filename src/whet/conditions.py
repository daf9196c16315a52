"""What a picture suffers from: the kinds and measures that a student is taught to tell apart.

One vocabulary for those who spoil pictures on purpose, for the networks that look at them and for
the words in which a person reads the finding. Trained weights know kinds and measures by their
position: new ones are appended, none is moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KINDS", "MEASURES", "Condition", "in_words", "scaled", "unscaled"]

KINDS = (
    "bicubic-x2",
    "bicubic-x3",
    "bicubic-x4",
    "defocus",
    "clean",
    "call-150k",
    "call-400k",
    "call-1000k",
    "shake",
    "call-native",
    "zoom",
    "message",
    "lens",
    "jpeg",
    "oversharpened",
    "archive",
)
"""What may have happened to a picture, in the order in which networks answer."""


@dataclass(frozen=True)
class Condition:
    """What happened to one picture; NaN where it is not known.

    Attributes:
        kind: one of :data:`KINDS`.
        blur_px: standard deviation of the Gaussian as wide as what softened it, in pixels.
        noise_levels: standard deviation of the noise, in levels of 1/255.
        coding: how hard it was compressed, 0 (not at all) to 1: for JPEG
            ``(100 - quality) / 100``, for video the quantiser over its largest.
        motion_px: length of the way that the picture moved while it was taken, in pixels.
    """

    kind: str
    blur_px: float = math.nan
    noise_levels: float = math.nan
    coding: float = math.nan
    motion_px: float = math.nan

    @property
    def measures(self) -> tuple[float, ...]:
        """The four measures in the order of :data:`MEASURES`."""
        return tuple(getattr(self, name) for name in MEASURES)


MEASURES = tuple(f.name for f in fields(Condition)[1:])
"""What is measured of a picture, in the order in which networks answer."""

_STARTS = np.array([0.5, 1.0, np.inf, np.inf])
"""Up to about here a measure is scaled linearly and beyond it by its logarithm: half a pixel more
is much for a picture that was sharp and little for one that was not."""

_LARGEST = np.array([6.0, 12.0, 1.0, 24.0])
"""What is scaled to 1, and all beyond."""


def scaled(measures: ArrayLike) -> NDArray[np.float32]:
    """Return measures (..., 4) on the scale that networks answer on.

    Returns:
        float32 in [0, 1] of the same shape; NaN stays NaN.
    """
    values = np.asarray(measures, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        curved = np.log1p(values / _STARTS) / np.log1p(_LARGEST / _STARTS)
    share = np.where(np.isinf(_STARTS), values / _LARGEST, curved)
    answers: NDArray[np.float32] = np.clip(share, 0, 1).astype(np.float32)
    return answers


def unscaled(answers: ArrayLike) -> NDArray[np.float32]:
    """Return the measures (..., 4) that answers in [0, 1] stand for: the inverse of `scaled`."""
    share = np.clip(np.asarray(answers, dtype=np.float64), 0, 1)
    finite = np.where(np.isinf(_STARTS), 1.0, _STARTS)
    curved = finite * np.expm1(share * np.log1p(_LARGEST / finite))
    measures: NDArray[np.float32] = np.where(np.isinf(_STARTS), share * _LARGEST, curved).astype(
        np.float32
    )
    return measures


SOFT_PX = 0.4
"""Less than this nobody sees."""

NOISY_LEVELS, VERY_NOISY_LEVELS = 0.5, 3.0
"""From these on noise is little, and much."""

CODED, HARD_CODED = 0.1, 0.4
"""From these on compression shows, and shows much: JPEG quality 90 and 60."""

MOVED_PX = 2.0


def in_words(condition: Condition) -> str:
    """Say a condition in English, such as ``"soft by 2.1 px, little noise"``.

    What is not known is not mentioned; a picture with no fault worth naming is ``"sharp"``.
    """
    blur, noise, coding, motion = (0.0 if math.isnan(v) else v for v in condition.measures)
    found = []
    if condition.kind == "shake":
        found.append(f"moved by {motion:.0f} px" if motion >= MOVED_PX else "moved")
    elif condition.kind == "oversharpened":
        found.append("oversharpened")
    elif blur >= SOFT_PX:
        found.append(f"soft by {blur:.1f} px")
    if noise >= NOISY_LEVELS:
        found.append("much noise" if noise >= VERY_NOISY_LEVELS else "little noise")
    if coding >= CODED:
        hard = "much" if coding >= HARD_CODED else "little"
        found.append(f"{hard} compression")
    return ", ".join(found) or "sharp"
