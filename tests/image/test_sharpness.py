"""A picture blurred along one direction is told from one that is sharp, or soft all around."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.conftest import photograph_like

from whet.image.sharpness import looks_motion_blurred, sharpness


def shapes(seed: int) -> np.ndarray:
    """Shapes of many sizes with hard edges in all directions."""
    rng = np.random.default_rng(seed)
    picture = photograph_like(384, 512, seed).astype(np.float32) / 2
    y, x = np.mgrid[0:384, 0:512]
    for _ in range(120):
        cy, cx, r = rng.integers(0, 384), rng.integers(0, 512), rng.integers(4, 40)
        picture[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.integers(0, 256, 3)
    return picture.astype(np.uint8)


def moved(picture: np.ndarray, length: int, axis: int) -> np.ndarray:
    shifted = [np.roll(picture.astype(np.float32), s, axis) for s in range(length)]
    return np.rint(np.mean(shifted, axis=0)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_motion_is_told_from_softness(seed: int) -> None:
    picture = shapes(seed)
    soft = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))
    assert not looks_motion_blurred(picture)
    assert not looks_motion_blurred(soft)
    for axis in (0, 1):
        assert looks_motion_blurred(moved(picture, 12, axis))
        assert looks_motion_blurred(moved(picture, 12, axis).astype(np.uint16) * 257)


def test_flat_and_tiny_pictures_are_not_judged() -> None:
    assert not looks_motion_blurred(np.full((200, 200, 3), 90, np.uint8))
    assert not looks_motion_blurred(np.zeros((3, 3, 3), np.uint8))
    assert sharpness(np.zeros((3, 3, 3), np.uint8)) is None
