"""Suites of which less is scored than the whole picture; their names say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from whet.degrade.codecs.programs import Pixels
from whet.evaluate.suites.opening import Item, Suite

__all__ = ["centred", "resized"]


def resized(suite: Suite, width: int, height: int) -> Suite:
    """Return ``suite`` with every picture squashed to one size, as the founding run did.

    The name, and with it every table, says so: such scores are far higher than
    full-resolution ones and compare with nothing else. Bilinear with antialiasing.
    """

    def squash(pixels: Pixels) -> Pixels:
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        return np.array(image)

    def columns(item: Item) -> tuple[int, int] | None:
        if item.columns is None:
            return None
        first, end = (round(c * width / item.sharp.shape[1]) for c in item.columns)
        return first, end

    def load() -> Iterator[Item]:
        for item in suite:
            degraded, sharp = squash(item.degraded), squash(item.sharp)
            yield replace(item, degraded=degraded, sharp=sharp, columns=columns(item), small=None)

    name = f"{suite.name}, RESIZED to {width} x {height}"
    return replace(suite, name=name, load=load, resized_to=(width, height), scale=1)


def centred(suite: Suite, width: int, height: int) -> Suite:
    """Return ``suite`` with the middle ``width x height`` window of every picture, unscaled.

    For restorers that take minutes for a whole picture; the name says so. Pictures that
    are smaller stay whole.
    """

    def window(pixels: Pixels) -> Pixels:
        top = max(0, pixels.shape[0] - height) // 2
        left = max(0, pixels.shape[1] - width) // 2
        return pixels[top : top + height, left : left + width].copy()

    def columns(item: Item) -> tuple[int, int] | None:
        if item.columns is None:
            return None
        left = max(0, item.sharp.shape[1] - width) // 2
        first, end = (min(max(c - left, 0), width) for c in item.columns)
        return first, end

    def load() -> Iterator[Item]:
        for item in suite:
            degraded, sharp = window(item.degraded), window(item.sharp)
            yield replace(item, degraded=degraded, sharp=sharp, columns=columns(item), small=None)

    return replace(suite, name=f"{suite.name}, middle {width} x {height}", load=load, scale=1)
