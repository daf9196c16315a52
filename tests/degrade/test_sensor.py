"""Lens, light and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.degrade.blur import convolve
from whet.degrade.registry import degrade
from whet.degrade.sensor import (
    Noise,
    add_noise,
    boost_highlights,
    counter_normal,
    to_linear,
    to_srgb,
)


def test_convolution_equals_naive_loops_with_mirrored_edges() -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.random((9, 7)), rng.random((5, 5))
    padded = np.pad(image, 2, mode="symmetric")
    expected = np.zeros_like(image)
    for dy in range(5):
        for dx in range(5):
            expected += kernel[dy, dx] * padded[4 - dy : 13 - dy, 4 - dx : 11 - dx]
    result = convolve(torch.tensor(image)[None, None], torch.tensor(kernel)[None])
    assert result[0, 0].numpy() == pytest.approx(expected, abs=1e-10)


@pytest.mark.usefixtures("pure_optics")
def test_defocus_spreads_a_point_over_a_disc_of_equal_energy() -> None:
    sharp = torch.zeros(8, 3, 65, 65)
    sharp[..., 32, 32] = 1
    light = to_linear(degrade("defocus", sharp, range(8)))
    assert light.sum((1, 2, 3)) / 3 == pytest.approx(torch.ones(8), abs=1e-3)
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    spread = (light[:, 0] * (x**2 + y**2)).sum((1, 2)).sqrt()
    # A disc of radius r has a root mean square radius of r / sqrt(2): 0.5 to 4.2, plus lens.
    assert spread.min() > 0.5
    assert spread.max() < 4.5


def test_srgb_and_linear_light_are_inverse_and_known() -> None:
    levels = torch.linspace(0, 1, 256)
    assert to_srgb(to_linear(levels)) == pytest.approx(levels, abs=1e-6)
    # IEC 61966-2-1: middle grey of 18 % light is encoded as 118 of 255.
    assert float(to_srgb(torch.tensor(0.18)) * 255) == pytest.approx(117.6, abs=0.1)


def test_highlights_exceed_white_and_nothing_else_changes() -> None:
    light = torch.tensor([1.0, 0.9, 0.5, 0.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4).clone()
    light[:, 2, :, 0] = 1.0
    boosted = boost_highlights(light, [4.0])
    assert boosted[0, 0, 0].tolist() == pytest.approx([4.0, 0.9, 0.5, 0.0])
    yellow = torch.tensor([1.0, 1.0, 0.1]).view(1, 3, 1, 1)
    assert torch.equal(boost_highlights(yellow, [4.0]), yellow)


def test_noise_is_white_normal_and_keyed() -> None:
    like = torch.zeros(1)
    noise = counter_normal([1, 2, 2**31 - 1], (3, 128, 128), like)
    assert noise.mean((1, 2, 3)).abs().max() < 0.02
    assert noise.std((1, 2, 3)) == pytest.approx(torch.ones(3), abs=0.02)
    # Kurtosis of four summed uniforms is 3 - 6/20; 3 is normal.
    assert float((noise**4).mean()) == pytest.approx(2.7, abs=0.1)
    for other in (noise.roll(1, -1), noise.roll(1, -2), noise.roll(1, 1), noise.roll(1, 0)):
        assert abs(float((noise * other).mean())) < 0.01
    again = counter_normal([2], (3, 128, 128), like)[0]
    assert torch.equal(again, noise[1])


def test_noise_variance_grows_with_light() -> None:
    light = torch.tensor([0.0, 0.2, 0.8]).view(3, 1, 1, 1).expand(3, 3, 96, 96)
    noise = Noise(shot=4e-4, read=2e-3, blur=0.0, key=5)
    variance = (add_noise(light, [noise] * 3) - light).var((1, 2, 3))
    expected = torch.tensor([4e-6, 8.4e-5, 3.24e-4])
    assert variance / expected == pytest.approx(torch.ones(3), abs=0.05)
    assert torch.equal(add_noise(light, [None] * 3), light)
