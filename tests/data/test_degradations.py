"""What every degradation promises, and what each one alone does."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from whet.data import blur, call, sensor
from whet.data.blur import convolve, fill_behind
from whet.data.codec import jpeg
from whet.data.degradations import DEGRADATIONS, MIXED, degrade, degrade_mix, draw
from whet.data.motion import (
    DEPTH_CELLS,
    FRAME_COUNTS,
    PATH_STEPS,
    Motion,
    average_frames,
    draw_motions,
    path_length_px,
)
from whet.data.sensor import Noise, add_noise, boost_highlights, counter_normal, to_linear, to_srgb
from whet.errors import InputError

NAMES = [*DEGRADATIONS, "mixed"]
SHAKES = ["shake-srgb", "shake-linear"]


def picture(height: int, width: int, seed: int = 0, count: int = 1) -> Tensor:
    """Return photograph-like images: noise with a photograph's spectrum, pale colours, edges."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    spectrum = np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** -1.4
    noise = rng.standard_normal((count, 1, height, width)) * 0.9
    noise = noise + 0.3 * rng.standard_normal((count, 3, height, width))
    image = np.fft.ifft2(np.fft.fft2(noise) * spectrum).real
    image = 0.5 + 0.16 * image / image.std()
    image[:, :, height // 3 : height // 2, width // 4 : width // 2] *= 0.4
    return torch.tensor(image.clip(0, 1), dtype=torch.float32)


def straight(right: float, down: float = 0.0) -> Motion:
    """Return an even, straight motion over a flat scene."""
    path = np.zeros((PATH_STEPS, 4))
    path[:, 0] = np.linspace(-right / 2, right / 2, PATH_STEPS)
    path[:, 1] = np.linspace(-down / 2, down / 2, PATH_STEPS)
    return Motion(path, np.zeros(2), np.zeros((2, DEPTH_CELLS, DEPTH_CELLS)), 0.0)


@pytest.fixture
def pure_optics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off noise, clipping gain and JPEG, so that the blur stands alone."""
    monkeypatch.setattr(sensor, "NOISE_PROBABILITY", 0.0)
    monkeypatch.setattr(blur, "BOOST_PROBABILITY", 0.0)
    monkeypatch.setattr(blur, "JPEG_PROBABILITY", 0.0)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2).mean()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 48), (37, 21), (1, 5)])
def test_shape_type_and_range_are_kept(name: str, size: tuple[int, int]) -> None:
    sharp = picture(*size, count=2)
    before = sharp.clone()
    degraded = degrade(name, sharp, [1, 2])
    assert degraded.shape == sharp.shape
    assert degraded.dtype == torch.float32
    assert degraded.min() >= 0
    assert degraded.max() <= 1
    assert torch.equal(sharp, before)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_pixels(name: str) -> None:
    sharp = picture(48, 64)
    assert torch.equal(degrade(name, sharp, [7]), degrade(name, sharp, [7]))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"clean"} - {n for n in NAMES if "bic" in n}))
def test_other_seed_other_pixels(name: str) -> None:
    sharp = picture(48, 64)
    assert not torch.equal(degrade(name, sharp, [7]), degrade(name, sharp, [8]))


@pytest.mark.parametrize("name", NAMES)
def test_result_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    sharp = picture(48, 56, count=4)
    seeds = [11, 12, 13, 14]
    together = degrade(name, sharp, seeds)
    for i in (0, 3):
        alone = degrade(name, sharp[i : i + 1], seeds[i : i + 1])[0]
        # A codec may round a float difference of 1e-7 to another level; not often.
        assert ((alone - together[i]).abs() > 1e-5).float().mean() < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_devices_agree(name: str) -> None:
    sharp = picture(64, 48, count=3)
    there = degrade(name, sharp.cuda(), [1, 2, 3])
    assert there.device.type == "cuda"
    difference = (degrade(name, sharp, [1, 2, 3]) - there.cpu()).abs()
    assert (difference > 1e-4).float().mean() < 1e-3


def test_clean_is_the_identity() -> None:
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


# --- mixes -----------------------------------------------------------------------------


def test_mix_is_drawn_in_proportion_to_its_weights() -> None:
    names = [draw({"clean": 3.0, "defocus": 1.0, "object": 0.0}, seed) for seed in range(2000)]
    # Binomial: mean 1500, deviation 19.
    assert abs(names.count("clean") - 1500) < 80
    assert names.count("object") == 0


def test_mix_gives_each_image_the_degradation_of_its_seed() -> None:
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


# --- motion ----------------------------------------------------------------------------


def test_motion_without_length_returns_the_image() -> None:
    sharp = picture(61, 94, count=2)
    assert (average_frames(sharp, [straight(0), straight(0)]) - sharp).abs().max() < 1e-3


@pytest.mark.parametrize("name", SHAKES)
@pytest.mark.usefixtures("pure_optics")
def test_shake_without_length_returns_the_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blur, "draw_motions", lambda rngs: [straight(0) for _ in rngs])
    sharp = picture(45, 64)
    assert (degrade(name, sharp, [1]) - sharp).abs().max() < 1e-3


def test_fast_motion_equals_a_naive_box_filter() -> None:
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
    monkeypatch.setattr("whet.data.motion.FRAME_COUNTS", (4,))
    sharp = torch.zeros(1, 3, 24, 64)
    sharp[..., 32:] = 1
    # By hand: 1.055 * 0.25 ** (1 / 2.4) - 0.055 = 0.5371, and 0.75 likewise 0.8808.
    bright = bright or 0.8808
    row = degrade(f"shake-{name}", sharp, [0])[0, 1, 12]
    assert row[30] == pytest.approx(dark, abs=2e-3)
    assert row[33] == pytest.approx(bright, abs=2e-3)


@pytest.mark.parametrize("name", SHAKES)
@pytest.mark.usefixtures("pure_optics")
def test_shake_keeps_the_mean_in_the_light_it_averages(name: str) -> None:
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
    monkeypatch.setattr("whet.data.motion.DEPTH_STEP", (0.0, 0.0))
    monkeypatch.setattr("whet.data.motion.DEPTH_SPREAD", 0.0)
    y, x = torch.meshgrid(torch.arange(97.0) - 48, torch.arange(97.0) - 48, indexing="ij")
    spot = (-(x**2 + y**2) / (2 * 2.0**2)).exp()
    trail = degrade(name, spot.expand(4, 3, 97, 97), range(4))[:, 0]
    trail = to_linear(trail) if name == "shake-linear" else trail
    weight = trail.sum((1, 2))
    shift = torch.hypot((trail * x).sum((1, 2)) / weight, (trail * y).sum((1, 2)) / weight)
    assert shift.max() < 0.1


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"clean", "call"}))
def test_phase_correlation_finds_no_shift(name: str) -> None:
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


def test_frame_counts_grow_so_that_grouping_works() -> None:
    assert list(FRAME_COUNTS) == sorted(set(FRAME_COUNTS))


@pytest.mark.usefixtures("pure_optics")
def test_moving_object_leaves_part_of_the_picture_alone() -> None:
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


# --- lens, sensor ----------------------------------------------------------------------


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


# --- codecs ----------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 98])
@pytest.mark.parametrize("size", [(64, 80), (51, 77)])
def test_jpeg_agrees_with_pillow(quality: int, size: tuple[int, int]) -> None:
    levels = (picture(*size) * 255).round().byte()[0].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = torch.tensor(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255
    sharp = torch.tensor(levels).permute(2, 0, 1)[None] / 255
    ours = jpeg(sharp, [quality])
    assert psnr(ours, decoded) > 45
    # Not by leaving the picture alone: the loss itself is reproduced.
    assert psnr(ours, sharp) == pytest.approx(psnr(decoded, sharp), abs=0.15)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_equals_shrinking_and_enlarging_by_hand(factor: int) -> None:
    from whet.data.resize import imresize

    sharp = picture(48, 60)
    small = (imresize(sharp, (48 // factor, 60 // factor)).clamp(0, 1) * 255).round() / 255
    expected = imresize(small, (48, 60)).clamp(0, 1)
    assert torch.equal(degrade(f"bicubic-x{factor}", sharp, [0]), expected)


def test_h264_decodes_every_frame_and_worsens_with_crf() -> None:
    levels = (picture(64, 96, count=3) * 255).round().byte().permute(0, 2, 3, 1)
    frames = np.ascontiguousarray(levels.numpy())
    errors, sizes = [], []
    for crf in (16.0, 30.0, 44.0):
        decoded, bits = call.code_clip(frames, crf)
        assert decoded.shape == frames.shape
        assert decoded.dtype == np.uint8
        assert len(bits) == 3
        errors.append(float(((decoded.astype(float) - frames) ** 2).mean()))
        sizes.append(sum(bits))
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kilobits", [150, 400, 1000])
def test_h264_meets_the_bits_of_a_frame(kilobits: int) -> None:
    # What a 720p frame becomes at half size: six frames' worth of its bits, see SETTLED_SHARES.
    levels = (picture(360, 640, seed=4) * 255).round().byte()[0].permute(1, 2, 0)
    frame = np.ascontiguousarray(levels.numpy())
    budget = 6 * kilobits * 1000 / 30
    spent = call.code_clip(frame[None], call.crf_for(frame, budget))[1][0]
    assert spent == pytest.approx(budget, rel=0.2)


def test_call_gets_better_with_its_bit_rate() -> None:
    sharp = picture(96, 128, count=4)
    scores = [psnr(degrade(f"call-{k}k", sharp, range(4)), sharp) for k in (150, 400, 1000)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 1
