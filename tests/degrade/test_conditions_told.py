"""What a degradation says it does is what it does."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from whet.conditions import KINDS
from whet.degrade import lens, text
from whet.degrade.codecs import resaved
from whet.degrade.registry import DEGRADATIONS, ORDINARY, degrade, describe
from whet.errors import InputError

Picture = Callable[..., Tensor]


def as_bytes(image: Tensor) -> NDArray[np.uint8]:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def saved(pixels: NDArray[np.uint8], quality: int, subsampling: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", [*DEGRADATIONS, "mixed"])
def test_every_degradation_tells_a_known_kind_with_measures_in_range(name: str) -> None:
    told = describe(name, range(40))
    assert told == describe(name, range(40)) or any(math.isnan(m) for m in told[0].measures)
    for condition in told:
        assert condition.kind in KINDS
        known = [m for m in condition.measures if not math.isnan(m)]
        assert all(m >= 0 for m in known)
        assert math.isnan(condition.coding) or condition.coding <= 1


def test_everyday_mix_teaches_every_kind() -> None:
    told = {c.kind for name in ORDINARY for c in describe(name, range(60))}
    assert told == set(KINDS)
    assert sum(ORDINARY.values()) == pytest.approx(1)


def test_unknown_names_and_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of"):
        describe("haze", [0])
    with pytest.raises(InputError, match="integers"):
        describe("lens", [-1])


def test_lens_blurs_by_the_sigma_it_tells(
    picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lens, "ROUND", 1.0)
    monkeypatch.setattr(lens, "SAMPLED", 1.0)
    monkeypatch.setattr(lens, "LINEAR_PROBABILITY", 0.0)
    monkeypatch.setattr(lens, "NOISELESS", 1.0)
    monkeypatch.setattr(lens, "JPEG_PROBABILITY", 0.0)
    sharp = as_bytes(picture(96, 80)[0])
    image = torch.tensor(sharp).permute(2, 0, 1)[None] / 255
    for seed in range(6):
        (told,) = describe("lens", [seed])
        soft = as_bytes(degrade("lens", image, [seed])[0]).astype(int)
        # Mirrored edges as scipy's "reflect"; single levels where rounding decides.
        sigma = (told.blur_px, told.blur_px, 0)
        expected = gaussian_filter(sharp.astype(float), sigma, mode="reflect", truncate=6)
        assert np.abs(soft - expected).max() <= 1
        assert told.measures[1:] == (0, 0, 0)


@pytest.mark.parametrize("shape", ["round", "stretched", "disc"])
def test_kernels_are_as_wide_as_told(shape: str) -> None:
    for sigma in (0.8, 2.5):
        drawn = lens.Lens(sigma, shape, 1.5, 0.7, False, 0.0, None)
        kernel = drawn._kernel()
        at = np.arange(len(kernel)) - len(kernel) // 2
        across = (kernel * at[None, :] ** 2).sum()
        down = (kernel * at[:, None] ** 2).sum()
        # A stretched one has the area of the round one, and a somewhat larger mean variance.
        area = (across + down) / 2 if shape != "stretched" else (across + down) / (1.5 + 1 / 1.5)
        assert kernel.sum() == pytest.approx(1)
        assert math.sqrt(area) == pytest.approx(sigma, rel=0.08)


@pytest.mark.parametrize("name", ["lens", "defocus", "shake-srgb", "call-1000k", "archive", "text"])
def test_noise_is_as_strong_as_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.degrade import blur
    from whet.degrade.codecs import archive, video_call

    monkeypatch.setattr(blur, "JPEG_PROBABILITY", 0.0)
    monkeypatch.setattr(lens, "JPEG_PROBABILITY", 0.0)
    monkeypatch.setattr(text, "JPEG_PROBABILITY", 0.0)
    monkeypatch.setattr(video_call, "CRF_RANGE", (1.0, 2.0))
    monkeypatch.setattr(video_call, "SHRINK", {1000: (1.0, 1.0001)})
    monkeypatch.setattr(archive, "MPEG2_QUANTISER", (2, 2))
    monkeypatch.setattr(archive, "DV_PROBABILITY", 0.0)
    grey = torch.full((1, 3, 64, 64), 0.5)
    ratios = []
    for seed in range(40):
        (told,) = describe(name, [seed])
        if told.noise_levels > 1:
            found = degrade(name, grey, [seed])[0].mul(255).std(dim=(1, 2)).mean()
            ratios.append(float(found) / told.noise_levels)
    assert len(ratios) > 3
    # Colour is subsampled by the codecs and a deinterlacer averages lines: less is left of it.
    low = 0.5 if name in ("archive", "call-1000k") else 0.85
    assert low < np.median(ratios) < 1.15


def test_jpeg_is_a_file_of_the_quality_it_tells(picture: Picture) -> None:
    sharp = as_bytes(picture(64, 72)[0])
    image = torch.tensor(sharp).permute(2, 0, 1)[None] / 255
    qualities = set()
    for seed in range(12):
        (told,) = describe("jpeg", [seed])
        quality = round(100 - 100 * told.coding)
        found = as_bytes(degrade("jpeg", image, [seed])[0])
        assert any(np.array_equal(found, saved(sharp, quality, s)) for s in (0, 2))
        qualities.add(quality)
        assert told.blur_px == 0
    low, high = resaved.JPEG_QUALITY
    assert low <= min(qualities) < 50 < max(qualities) <= high


@pytest.mark.parametrize("name", ["lens", "defocus", "bicubic-x2", "zoom", "text"])
def test_more_blur_told_is_more_detail_lost(
    name: str, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zoom has kernels of all sorts, so ranks need only agree on the whole."""
    from scipy.stats import spearmanr

    if name == "bicubic-x2":
        names = [(f"bicubic-x{factor}", 0) for factor in (2, 3, 4)]
    else:
        names = [(name, seed) for seed in range(24)]
    sharp = picture(96, 96)
    told = [describe(n, [s])[0].blur_px for n, s in names]
    energy = [
        float(
            torch.nn.functional.avg_pool2d(degrade(n, sharp, [s]), 3, 1)
            .diff(dim=-1)
            .square()
            .mean()
        )
        for n, s in names
    ]
    assert spearmanr(told, energy).statistic < -0.8


def test_oversharpened_pictures_have_more_contrast_at_edges(picture: Picture) -> None:
    sharp = picture(96, 96)
    before = float(sharp.diff(dim=-1).square().mean())
    after = [
        float(degrade("oversharpened", sharp, [s]).diff(dim=-1).square().mean()) for s in range(8)
    ]
    assert np.median(after) > 1.3 * before
    assert all(math.isnan(c.blur_px) for c in describe("oversharpened", range(8)))


def test_motion_told_is_the_length_of_the_path(pure_optics: None) -> None:
    dot = torch.zeros(1, 3, 129, 129)
    dot[..., 64, 64] = 1
    lengths, extents = [], []
    for seed in range(16):
        y, x = (degrade("shake-srgb", dot, [seed])[0, 1] > 1e-4).nonzero().numpy().T
        extents.append(float(np.hypot(np.ptp(y), np.ptp(x))))
        lengths.append(describe("shake-srgb", [seed])[0].motion_px)
    # Depth, roll and zoom make some of it longer and some shorter.
    assert np.corrcoef(np.log(lengths), np.log1p(extents))[0, 1] > 0.7
