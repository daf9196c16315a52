"""Studies of few small pictures, for the tests of their pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from whet.study.build import Settings, Stimulus, build
from whet.study.plan import Plan

Pixels = NDArray[np.uint8]
BLUR_PX = {"degraded": 3.0, "weakling": 1.5, "champion": 0.7, "sharp": 0.0}
"""Blur of each condition: the order in which people should like them."""


def blurred(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def build_study(
    folder: Path,
    picture: Callable[..., Pixels],
    *,
    scenes: int = 3,
    size: tuple[int, int] = (90, 120),
    **settings: Any,
) -> Plan:
    """Build a study of two methods, of which one is plainly better.

    Args:
        folder: new; folders above it are created.
        picture: the fixture of that name.
        scenes: how many, one of which is for practice.
        size: height and width of the pictures.
        settings: of :class:`whet.study.build.Settings`.
    """

    def stimuli() -> Any:
        for i in range(scenes):
            sharp = picture(*size, seed=i)
            versions = {name: blurred(sharp, radius) for name, radius in BLUR_PX.items()}
            degraded, original = versions.pop("degraded"), versions.pop("sharp")
            yield Stimulus(f"landscape{i}", degraded, original, versions)

    folder.parent.mkdir(parents=True, exist_ok=True)
    few = {"practice": 2, "repeats": 1, "gold": 2, "break_every": 6}
    return build(stimuli(), folder, Settings(title="Which is nicer?", **{**few, **settings}))
