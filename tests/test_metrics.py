"""PSNR, both SSIMs and intervals against independent implementations."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from whet.errors import InputError
from whet.metrics import (
    METRICS,
    Accumulator,
    psnr,
    ssim,
    ssim_matlab,
)

Picture = NDArray[np.uint8]


def scene(height: int, width: int, seed: int = 0) -> Picture:
    """Return smooth structure, hard edges, saturated flats and coloured texture."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 90, (height, width, 3))
    base = 128 + 4 * ndimage.gaussian_filter(noise, (2, 2, 0.6))
    base[: height // 3, width // 2 :] = 255
    base[height // 2 :, : width // 4] = 3
    base[:, width // 3] = [250, 20, 90]
    return np.clip(base + generator.normal(0, 4, base.shape), 0, 255).astype(np.uint8)


def blurred(picture: Picture, sigma: float = 1.7) -> Picture:
    smooth = ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0))
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)


def similarity_of_volumes(a: Picture, b: Picture) -> float:
    """MATLAB's ssim of H x W x 3, spelled out in float64 with scipy's filter."""
    x, y = a.astype(float), b.astype(float)

    def local_mean(volume: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.gaussian_filter(volume, sigma=1.5, radius=5, mode="nearest")

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = local_mean(x * x) - mean_x**2
    var_y = local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
    structure = (2 * covariance + 58.5225) / (var_x + var_y + 58.5225)
    return float((luminance * structure).mean())


def voxel_similarity(a: Picture, b: Picture, row: int, column: int, channel: int) -> float:
    """One voxel of MATLAB's SSIM map by explicit loops over 11 x 11 x 11 clamped neighbours."""
    weights, left, right = [], [], []
    for i in range(-5, 6):
        for j in range(-5, 6):
            for k in range(-5, 6):
                at = (
                    min(max(row + i, 0), a.shape[0] - 1),
                    min(max(column + j, 0), a.shape[1] - 1),
                    min(max(channel + k, 0), 2),
                )
                weights.append(math.exp(-(i * i + j * j + k * k) / (2 * 1.5**2)))
                left.append(float(a[at]))
                right.append(float(b[at]))
    w = np.array(weights) / sum(weights)
    x, y = np.array(left), np.array(right)
    mean_x, mean_y = w @ x, w @ y
    var_x, var_y = w @ (x - mean_x) ** 2, w @ (y - mean_y) ** 2
    covariance = w @ ((x - mean_x) * (y - mean_y))
    return float(
        (2 * mean_x * mean_y + 6.5025)
        * (2 * covariance + 58.5225)
        / ((mean_x**2 + mean_y**2 + 6.5025) * (var_x + var_y + 58.5225))
    )


SIZES = [(11, 11), (12, 200), (97, 64), (130, 149)]


@pytest.mark.parametrize("size", SIZES)
def test_psnr_equals_scikit_image(size: tuple[int, int]) -> None:
    sharp = scene(*size)
    degraded = blurred(sharp)
    assert psnr(degraded, sharp) == pytest.approx(
        peak_signal_noise_ratio(sharp, degraded, data_range=255), abs=1e-9
    )


def test_psnr_of_a_constant_offset_is_the_textbook_value() -> None:
    dark = np.full((20, 30, 3), 100, np.uint8)
    assert psnr(dark, dark + 10) == pytest.approx(20 * math.log10(255 / 10), abs=1e-12)


def test_psnr_of_16_bit_pictures_takes_their_peak() -> None:
    dark = np.full((8, 8, 3), 1000, np.uint16)
    assert psnr(dark, dark + 257, peak=65535) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_psnr_of_identical_pictures_is_infinite() -> None:
    assert psnr(scene(16, 16), scene(16, 16)) == math.inf


@pytest.mark.parametrize("size", SIZES)
def test_ssim_equals_scikit_image(size: tuple[int, int]) -> None:
    sharp = scene(*size)
    degraded = blurred(sharp)
    expected = structural_similarity(
        degraded,
        sharp,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )
    assert ssim(degraded, sharp) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [(3, 5), *SIZES])
def test_ssim_matlab_equals_a_volume_filtered_by_scipy(size: tuple[int, int]) -> None:
    sharp = scene(*size)
    degraded = blurred(sharp)
    expected = similarity_of_volumes(degraded, sharp)
    assert ssim_matlab(degraded, sharp) == pytest.approx(expected, abs=1e-6)


def test_ssim_matlab_equals_explicit_loops_over_every_voxel() -> None:
    sharp = scene(4, 6)
    degraded = blurred(sharp)
    voxels = [
        voxel_similarity(degraded, sharp, row, column, channel)
        for row in range(4)
        for column in range(6)
        for channel in range(3)
    ]
    assert ssim_matlab(degraded, sharp) == pytest.approx(float(np.mean(voxels)), abs=1e-6)


def test_the_two_ssims_differ_and_the_matlab_value_is_the_higher_on_blur() -> None:
    sharp = scene(97, 64)
    degraded = blurred(sharp)
    assert ssim_matlab(degraded, sharp) > ssim(degraded, sharp) + 0.005


@pytest.mark.parametrize("metric", [ssim, ssim_matlab])
def test_ssim_is_exactly_one_for_identical_bright_pictures(metric: object) -> None:
    assert callable(metric)
    for picture in (scene(40, 50), np.full((40, 50, 3), 255, np.uint8)):
        assert metric(picture, picture) == 1.0


@pytest.mark.parametrize("metric", [ssim, ssim_matlab])
def test_ssim_of_inverted_texture_is_negative(metric: object) -> None:
    assert callable(metric)
    board = (np.indices((40, 40)).sum(0) % 2 * 255).astype(np.uint8)
    picture = np.repeat(board[..., None], 3, axis=2)
    assert metric(picture, 255 - picture) < -0.9


def test_ssim_tells_small_pictures_from_those_it_can_score() -> None:
    with pytest.raises(InputError, match="at least 11 pixels"):
        ssim(scene(40, 10), scene(40, 10))


@pytest.mark.parametrize("metric", [metric.function for metric in METRICS.values()])
def test_metrics_refuse_unequal_sizes(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(InputError, match="one size"):
        metric(scene(20, 20), scene(20, 21))


def test_ssim_refuses_pictures_that_are_not_8_bit() -> None:
    with pytest.raises(InputError, match="8 bits"):
        ssim(scene(20, 20).astype(np.uint16), scene(20, 20).astype(np.uint16))  # type: ignore[arg-type]


def test_scores_of_a_720p_frame_take_well_below_a_second() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    started = time.process_time()
    ssim(sharp, sharp[::-1])
    ssim_matlab(sharp, sharp[::-1])
    # Processor time, so that other work on the machine does not fail the test.
    assert time.process_time() - started < 2.0


def test_accumulator_returns_means_and_merges_other_processes() -> None:
    sharp = scene(30, 30)
    whole, left, right = Accumulator(), Accumulator(), Accumulator()
    for part, sigma in ((left, 0.8), (left, 1.5), (right, 2.5)):
        scores = part.add(blurred(sharp, sigma), sharp)
        assert scores["psnr"] == psnr(blurred(sharp, sigma), sharp)
        whole.add(blurred(sharp, sigma), sharp)
    left.merge(right)
    assert len(left) == 3
    assert left.means() == whole.means()


def test_accumulator_computes_what_it_is_given_and_refuses_empty_means() -> None:
    total = Accumulator({"psnr": METRICS["psnr"]})
    assert set(total.add(scene(20, 20), scene(20, 20) // 2)) == {"psnr"}
    with pytest.raises(InputError, match="nothing was scored"):
        Accumulator().means()


def test_every_metric_improves_towards_the_sharp_picture() -> None:
    sharp = scene(60, 60)
    for metric in METRICS.values():
        near = metric.function(blurred(sharp, 0.6), sharp)
        far = metric.function(blurred(sharp, 3.0), sharp)
        assert (near > far) == metric.higher_is_better
