"""Shake and moving objects: where the light goes, and in which light it is averaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from whet.degrade import blur
from whet.degrade.blur import fill_behind
from whet.degrade.motion import (
    DEPTH_CELLS,
    FRAME_COUNTS,
    PATH_STEPS,
    Motion,
    average_frames,
    draw_motions,
    path_length_px,
)
from whet.degrade.registry import degrade
from whet.degrade.sensor import to_linear

SHAKES = ["shake-srgb", "shake-linear"]
Picture = Callable[..., Tensor]


def straight(right: float, down: float = 0.0) -> Motion:
    """Return an even, straight motion over a flat scene."""
    path = np.zeros((PATH_STEPS, 4))
    path[:, 0] = np.linspace(-right / 2, right / 2, PATH_STEPS)
    path[:, 1] = np.linspace(-down / 2, down / 2, PATH_STEPS)
    return Motion(path, np.zeros(2), np.zeros((2, DEPTH_CELLS, DEPTH_CELLS)), 0.0)


def test_motion_without_length_returns_the_image(picture: Picture) -> None:
    sharp = picture(61, 94, count=2)
    assert (average_frames(sharp, [straight(0), straight(0)]) - sharp).abs().max() < 1e-3


@pytest.mark.parametrize("name", SHAKES)
@pytest.mark.usefixtures("pure_optics")
def test_shake_without_length_returns_the_image(
    picture: Picture, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blur, "draw_motions", lambda rngs: [straight(0) for _ in rngs])
    sharp = picture(45, 64)
    assert (degrade(name, sharp, [1]) - sharp).abs().max() < 1e-3


def test_fast_motion_equals_a_naive_box_filter(picture: Picture) -> None:
    # An even path over 12 px is, in the limit, a box of that width.
    image = picture(16, 128)[..., :1, :].expand(1, 3, 16, 128)
    fine = np.linspace(-6, 6, 401)
    line, at = image[0, 0, 0].double().numpy(), np.arange(40, 88)
    box = np.mean([np.interp(at + step, np.arange(128), line) for step in fine], axis=0)
    blurred = average_frames(image, [straight(12.0)])[0, 0, 8, 40:88]
    assert blurred.numpy() == pytest.approx(box, abs=0.01)


@pytest.mark.parametrize(("name", "dark", "bright"), [("srgb", 0.25, 0.75), ("linear", 0.5371, 0)])
@pytest.mark.usefixtures("pure_optics")
def test_edge_is_averaged_in_the_stated_light(
    name: str, dark: float, bright: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four frames at -3, -1, 1, 3 px: the second pixel left of a black-white edge sees
    # white in one frame of four, the second pixel right of it in three of four.
    monkeypatch.setattr(blur, "draw_motions", lambda rngs: [straight(8.0)])
    monkeypatch.setattr("whet.degrade.motion.FRAME_COUNTS", (4,))
    sharp = torch.zeros(1, 3, 24, 64)
    sharp[..., 32:] = 1
    # By hand: 1.055 * 0.25 ** (1 / 2.4) - 0.055 = 0.5371, and 0.75 likewise 0.8808.
    bright = bright or 0.8808
    row = degrade(f"shake-{name}", sharp, [0])[0, 1, 12]
    assert row[30] == pytest.approx(dark, abs=2e-3)
    assert row[33] == pytest.approx(bright, abs=2e-3)


@pytest.mark.parametrize("name", SHAKES)
@pytest.mark.usefixtures("pure_optics")
def test_shake_keeps_the_mean_in_the_light_it_averages(picture: Picture, name: str) -> None:
    sharp = torch.full((4, 3, 96, 96), 0.2)
    sharp[..., 40:56, 40:56] = picture(16, 16, count=4)
    degraded = degrade(name, sharp, [1, 2, 3, 4])
    if name == "shake-linear":
        sharp, degraded = to_linear(sharp), to_linear(degraded)
    ground = sharp[0, 0, 0, 0]
    before, after = ((image - ground).sum((1, 2, 3)) for image in (sharp, degraded))
    # Depth and zoom change areas a little; nothing else may change the sum.
    assert (after / before - 1).abs().max() < 0.05


def test_motions_have_zero_mean_and_realistic_length() -> None:
    motions = draw_motions([np.random.default_rng(seed) for seed in range(300)])
    assert max(np.abs(m.path.mean(axis=0)).max() for m in motions) < 1e-9
    lengths = [float(path_length_px(m.path)) for m in motions]
    low, median, high = np.percentile(lengths, [5, 50, 95])
    assert 2 < low < 5
    assert 10 < median < 14
    assert 30 < high < 55


@pytest.mark.parametrize("name", SHAKES)
@pytest.mark.usefixtures("pure_optics")
def test_shake_leaves_the_picture_where_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A bright spot in a flat scene: the centroid of its trail, in the light of the average,
    # stays put. A path of 12 px that began at the sharp frame would move it by 6.
    monkeypatch.setattr("whet.degrade.motion.DEPTH_STEP", (0.0, 0.0))
    monkeypatch.setattr("whet.degrade.motion.DEPTH_SPREAD", 0.0)
    y, x = torch.meshgrid(torch.arange(97.0) - 48, torch.arange(97.0) - 48, indexing="ij")
    spot = (-(x**2 + y**2) / (2 * 2.0**2)).exp()
    trail = degrade(name, spot.expand(4, 3, 97, 97), range(4))[:, 0]
    trail = to_linear(trail) if name == "shake-linear" else trail
    weight = trail.sum((1, 2))
    shift = torch.hypot((trail * x).sum((1, 2)) / weight, (trail * y).sum((1, 2)) / weight)
    assert shift.max() < 0.1


def test_frame_counts_grow_so_that_grouping_works() -> None:
    assert list(FRAME_COUNTS) == sorted(set(FRAME_COUNTS))


@pytest.mark.usefixtures("pure_optics")
def test_moving_object_leaves_part_of_the_picture_alone(picture: Picture) -> None:
    sharp = picture(80, 80, count=4)
    change = (degrade("object", sharp, range(4)) - sharp).abs().mean(1)
    untouched = (change < 0.002).float().mean((1, 2))
    moved = (change > 0.02).float().mean((1, 2))
    assert untouched.min() > 0.05
    assert moved.min() > 0.03


def test_background_is_continued_behind_a_mask() -> None:
    image = torch.full((1, 3, 41, 50), 0.3)
    mask = torch.zeros(1, 1, 41, 50)
    mask[..., 10:30, 12:40] = 1
    image = image * (1 - mask) + 0.9 * mask
    filled = fill_behind(image, mask)
    assert filled == pytest.approx(torch.full_like(filled, 0.3), abs=0.02)
