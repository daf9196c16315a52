"""Classical sharpeners equal slow, literal implementations of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from whet.errors import InputError
from whet.evaluate.baselines import (
    BASELINES,
    MASKS,
    ContrastAdaptiveSharpening,
    PillowMask,
    UnsharpMask,
    best_mask,
    identity,
    tune_unsharp,
)
from whet.metrics import psnr

Pixels = NDArray[np.uint8]


def scene(height: int = 30, width: int = 41, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0.4))
    picture = 128 + 110 * smooth / np.abs(smooth).max()
    picture[:8, :8] = 0
    picture[-6:, -9:] = 255
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def blurred(picture: Pixels, sigma: float) -> Pixels:
    smooth = ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0), mode="nearest")
    return np.rint(smooth).clip(0, 255).astype(np.uint8)


def literal_cas(picture: Pixels, sharpness: float) -> NDArray[np.float64]:
    """AMD's CasFilter without scaling, one pixel after the other, in float64."""
    level = picture / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    height, width = picture.shape[:2]
    out = np.empty(picture.shape)
    for y in range(height):
        for x in range(width):
            near = {
                name: light[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                for name, (dy, dx) in zip(
                    "abcdefghi", [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)], strict=True
                )
            }
            green = {name: value[1] for name, value in near.items()}
            low = min(green[n] for n in "bdefh") + min(green.values())
            high = max(green[n] for n in "bdefh") + max(green.values())
            amount = np.sqrt(np.clip(min(low, 2 - high) / max(high, 1e-6), 0, 1))
            w = amount * -1 / (8 * (1 - sharpness) + 5 * sharpness)
            out[y, x] = ((near["b"] + near["d"] + near["f"] + near["h"]) * w + near["e"]) / (
                1 + 4 * w
            )
    out = np.clip(out, 0, 1)
    return 255 * np.where(out <= 0.0031308, 12.92 * out, 1.055 * out ** (1 / 2.4) - 0.055)


def test_identity_returns_an_equal_copy() -> None:
    picture = scene()
    assert (identity(picture) == picture).all()
    assert not np.shares_memory(identity(picture), picture)


@pytest.mark.parametrize(("amount", "radius_px"), [(0.5, 1.5), (2.0, 0.6), (0.1, 4.5)])
def test_unsharp_mask_equals_its_formula(amount: float, radius_px: float) -> None:
    picture = scene()
    x = picture.astype(float)
    smooth = ndimage.gaussian_filter(
        x,
        (radius_px, radius_px, 0),
        mode="nearest",
        radius=(int(np.ceil(3 * radius_px)),) * 2 + (0,),
    )
    expected = np.clip(x + amount * (x - smooth), 0, 255)
    assert np.abs(UnsharpMask(amount, radius_px)(picture) - expected).max() <= 0.501


@pytest.mark.parametrize("sharpness", [0.0, 0.4, 1.0])
def test_cas_equals_a_literal_pixel_loop(sharpness: float) -> None:
    picture = scene(20, 24)
    restored = ContrastAdaptiveSharpening(sharpness)(picture)
    assert np.abs(restored - literal_cas(picture, sharpness)).max() <= 0.51


def test_cas_sharpens_soft_texture_but_leaves_full_contrast_edges() -> None:
    board = np.zeros((16, 16, 3), np.uint8)
    board[:, 8:] = 255
    restore = ContrastAdaptiveSharpening(1.0)
    assert (restore(board) == board).all()
    soft = blurred(scene(), 1.0)
    assert restore(soft).astype(float).std() > soft.astype(float).std()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 9, 3), (33, 17, 3)])
def test_baselines_keep_shape_type_and_flat_pictures(
    name: str, shape: tuple[int, int, int]
) -> None:
    flat = np.full(shape, 77, np.uint8)
    restored = BASELINES[name](flat)
    assert restored.dtype == np.uint8
    assert (restored == flat).all()


def test_tuning_finds_the_best_setting_of_the_grid() -> None:
    pairs = [(blurred(scene(seed=s), 1.2), scene(seed=s)) for s in range(3)]
    radii, amounts = (0.6, 1.2, 3.0), (0.2, 1.0, 4.0)
    chosen = tune_unsharp(pairs, radii, amounts)
    scores = {
        UnsharpMask(amount, radius): np.mean(
            [psnr(UnsharpMask(amount, radius)(degraded), sharp) for degraded, sharp in pairs]
        )
        for radius in radii
        for amount in amounts
    }
    assert chosen == max(scores, key=lambda mask: scores[mask])
    assert scores[chosen] > np.mean([psnr(degraded, sharp) for degraded, sharp in pairs]) + 0.5


def test_tuning_without_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="tuning needs pairs"):
        tune_unsharp([])


def test_a_mask_is_the_line_of_pillow_that_it_stands_for() -> None:
    picture = blurred(scene(), 1)
    expected = Image.fromarray(picture).filter(ImageFilter.UnsharpMask(1.5, 80, 0))
    assert (PillowMask(1.5, 80)(picture) == np.asarray(expected)).all()
    assert str(PillowMask(1.5, 80)) == "unsharp mask of 1.5 px, 80%"
    assert {PillowMask(1.0, 100), PillowMask(1.5, 80), PillowMask(2.0, 120)} <= set(MASKS)


def test_the_best_mask_has_the_highest_mean_over_its_own_pictures() -> None:
    for sigma in (0.6, 2.2):
        pairs = [(blurred(scene(seed=s), sigma), scene(seed=s)) for s in range(2)]
        means = {m: np.mean([psnr(m(degraded), sharp) for degraded, sharp in pairs]) for m in MASKS}
        assert best_mask(iter(pairs)) == max(means, key=lambda mask: means[mask])
        assert means[best_mask(pairs)] > np.mean([psnr(*pair) for pair in pairs])
