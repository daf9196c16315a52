"""A picture blurred along one direction is told from one that is sharp, or soft all around."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from photographs import moved, shapes
from whet.image.sharpness import looks_motion_blurred, sharpness


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
