"""What every degradation promises, and how mixes are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from whet.degrade.registry import DEGRADATIONS, MIXED, degrade, degrade_mix, draw
from whet.degrade.resize import imresize
from whet.errors import InputError

NAMES = [*DEGRADATIONS, "mixed"]
Picture = Callable[..., Tensor]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 48), (37, 21), (1, 5)])
def test_shape_type_and_range_are_kept(picture: Picture, name: str, size: tuple[int, int]) -> None:
    sharp = picture(*size, count=2)
    before = sharp.clone()
    degraded = degrade(name, sharp, [1, 2])
    assert degraded.shape == sharp.shape
    assert degraded.dtype == torch.float32
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert torch.equal(sharp, before)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_pixels(picture: Picture, name: str) -> None:
    sharp = picture(48, 64)
    assert torch.equal(degrade(name, sharp, [7]), degrade(name, sharp, [7]))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"clean"} - {n for n in NAMES if "bic" in n}))
def test_other_seed_other_pixels(picture: Picture, name: str) -> None:
    sharp = picture(48, 64)
    assert not torch.equal(degrade(name, sharp, [7]), degrade(name, sharp, [8]))


@pytest.mark.parametrize("name", NAMES)
def test_result_does_not_depend_on_the_rest_of_the_batch(picture: Picture, name: str) -> None:
    sharp = picture(48, 56, count=4)
    seeds = [11, 12, 13, 14]
    together = degrade(name, sharp, seeds)
    for i in (0, 3):
        alone = degrade(name, sharp[i : i + 1], seeds[i : i + 1])[0]
        # A codec may round a float difference of 1e-7 to another level; not often.
        assert ((alone - together[i]).abs() > 1e-5).float().mean() < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_devices_agree(picture: Picture, name: str) -> None:
    sharp = picture(64, 48, count=3)
    there = degrade(name, sharp.cuda(), [1, 2, 3])
    assert there.device.type == "cuda"
    difference = (degrade(name, sharp, [1, 2, 3]) - there.cpu()).abs()
    assert (difference > 1e-4).float().mean() < 1e-3


def test_clean_is_the_identity(picture: Picture) -> None:
    sharp = picture(32, 32)
    assert torch.equal(degrade("clean", sharp, [3]), sharp)


@pytest.mark.parametrize(
    ("name", "shape", "seeds"),
    [
        ("unsharp", (1, 3, 8, 8), [1]),
        ("defocus", (2, 3, 8, 8), [1]),
        ("defocus", (1, 1, 8, 8), [1]),
        ("defocus", (1, 3, 8, 8), [-1]),
    ],
)
def test_wrong_use_is_named(name: str, shape: tuple[int, ...], seeds: Sequence[int]) -> None:
    with pytest.raises(InputError):
        degrade(name, torch.zeros(shape), seeds)


def test_mix_is_drawn_in_proportion_to_its_weights() -> None:
    names = [draw({"clean": 3.0, "defocus": 1.0, "object": 0.0}, seed) for seed in range(2000)]
    # Binomial: mean 1500, deviation 19.
    assert abs(names.count("clean") - 1500) < 80
    assert names.count("object") == 0


def test_mix_gives_each_image_the_degradation_of_its_seed(picture: Picture) -> None:
    sharp = picture(32, 40, count=6)
    mix = {"clean": 1.0, "bicubic-x2": 1.0, "defocus": 1.0}
    mixed = degrade_mix(mix, sharp, range(6))
    assert len({draw(mix, seed) for seed in range(6)}) > 1
    for i in range(6):
        expected = degrade(draw(mix, i), sharp[i : i + 1], [i])[0]
        assert mixed[i] == pytest.approx(expected, abs=1e-5)


def test_default_mix_names_degradations_only() -> None:
    assert set(MIXED) <= set(DEGRADATIONS)


@pytest.mark.parametrize("mix", [{}, {"clean": 0.0}, {"clean": 2.0, "object": -1.0}, {"haze": 1.0}])
def test_bad_mix_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(InputError):
        draw(mix, 0)


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"clean", "call"}))
def test_phase_correlation_finds_no_shift(picture: Picture, name: str) -> None:
    registration = pytest.importorskip("skimage.registration")
    sharp = picture(80, 80, count=6)
    shifts = [
        registration.phase_cross_correlation(
            a.mean(0).numpy(), b.mean(0).numpy(), upsample_factor=10, normalization=None
        )[0]
        for a, b in zip(sharp, degrade(name, sharp, range(20, 26)), strict=True)
    ]
    # The median, since the peak of a long bent trail is not its centre.
    assert np.abs(np.median(shifts, axis=0)).max() < 0.5


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_equals_shrinking_and_enlarging_by_hand(picture: Picture, factor: int) -> None:
    sharp = picture(48, 60)
    small = (imresize(sharp, (48 // factor, 60 // factor)).clamp(0, 1) * 255).round() / 255
    expected = imresize(small, (48, 60)).clamp(0, 1)
    assert torch.equal(degrade(f"bicubic-x{factor}", sharp, [0]), expected)
