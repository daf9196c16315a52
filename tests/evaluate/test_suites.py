"""Suites yield full-resolution pictures, the same on every run, and refuse what is broken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from whet.degrade.registry import DEGRADATIONS
from whet.errors import DataError, InputError, MissingExtraError
from whet.evaluate.suites import opening
from whet.evaluate.suites.opening import SUITES, open_pairs, open_suite
from whet.evaluate.windows import centred, resized
from whet.metrics import psnr, ssim


def picture(path: Path, size: tuple[int, int] = (64, 48), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, name in enumerate(("hill_01", "hill_02", "lake_07", "tree")):
        picture(tmp_path / "photos" / f"{name}.png", seed=i)
    return tmp_path / "photos"


def test_every_synthetic_suite_names_a_degradation_that_exists() -> None:
    assert {spec.degradation for spec in SUITES.values()} <= {*DEGRADATIONS, ""}


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_yields_uint8_pictures_of_the_sharp_size(name: str, photos: Path) -> None:
    suite = open_suite(name, photos, limit=1)
    items = list(suite)
    assert len(suite) == len(items) == (4 if SUITES[name].source == "clips" else 1)
    shape = {"photos": (48, 64, 3), "clips": (42, 56, 3), "pages": (480, 640, 3)}
    untouched = name in ("sharp", "half-1.6-sharp", "half-x2-sharp", "half-1.0-sharp")
    for item in items:
        assert item.degraded.shape == item.sharp.shape == shape[SUITES[name].source]
        assert item.degraded.dtype == item.sharp.dtype == np.uint8
        same = item.compared(item.degraded) == item.compared(item.sharp)
        assert same.all() == untouched


def test_halves_are_compared_on_one_side_whatever_is_cut(photos: Path) -> None:
    soft = open_suite("half-1.6-soft", photos, limit=1)
    for suite, columns in (
        (soft, (32, 64)),
        (centred(soft, 20, 10), (10, 20)),
        (resized(soft, 32, 24), (16, 32)),
    ):
        (item,) = suite
        assert item.columns == columns
        assert (item.compared(item.degraded) != item.compared(item.sharp)).any()
    (alone,) = open_suite("half-1.6-alone", photos, limit=1)
    (both,) = soft
    assert (alone.degraded[:, 32:] == both.degraded[:, 32:]).all()
    assert (both.degraded[:, :32] == both.sharp[:, :32]).all()
    assert (alone.degraded[:, :32] != both.degraded[:, :32]).any()


def test_a_suite_yields_the_same_pixels_on_every_pass_and_for_any_selection(photos: Path) -> None:
    suite = open_suite("defocus", photos)
    first = {item.name: item.degraded for item in suite}
    second = {item.name: item.degraded for item in suite}
    alone = {item.name: item.degraded for item in open_suite("defocus", photos, limit=1)}
    assert all((first[name] == second[name]).all() for name in first)
    assert all((first[name] == alone[name]).all() for name in alone)


def test_two_photographs_are_blurred_differently(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png", seed=5)
    a, b = open_suite("defocus", tmp_path)
    assert (a.sharp == b.sharp).all()
    assert (a.degraded != b.degraded).any()


def test_a_limit_takes_the_same_pictures_every_time(photos: Path) -> None:
    two = [item.name for item in open_suite("sharp", photos, limit=2)]
    assert two == sorted(two)
    assert two == [item.name for item in open_suite("sharp", photos, limit=2)]
    assert set(two) < {item.name for item in open_suite("sharp", photos)}
    with pytest.raises(InputError, match="at least one picture"):
        open_suite("sharp", photos, limit=0)


def test_groups_are_leading_words_or_folders(photos: Path) -> None:
    picture(photos / "people" / "x.png")
    groups = {item.name: item.group for item in open_suite("sharp", photos)}
    assert groups == {
        "hill_01": "hill",
        "hill_02": "hill",
        "lake_07": "lake",
        "tree": "tree",
        "people/x": "people",
    }


def test_real_pairs_come_as_they_are(tmp_path: Path) -> None:
    for sequence in ("one", "two"):
        picture(tmp_path / sequence / "blur" / "1.png", seed=1)
        picture(tmp_path / sequence / "sharp" / "1.png", seed=2)
    items = list(open_pairs(tmp_path))
    assert [(item.name, item.scene, item.group) for item in items] == [
        ("one/1", "one", "one"),
        ("two/1", "two", "two"),
    ]
    with Image.open(tmp_path / "one" / "blur" / "1.png") as expected:
        assert (items[0].degraded == np.asarray(expected)).all()


def test_small_degraded_files_are_enlarged_as_imresize_does(tmp_path: Path) -> None:
    high = tmp_path / "DIV2K_valid_HR" / "0801.png"
    picture(high, (64, 48))
    small = tmp_path / "DIV2K_valid_LR_bicubic" / "X2" / "0801x2.png"
    picture(small, (32, 24))
    (item,) = open_pairs(tmp_path, "div2k", "val")
    assert item.degraded.shape == (48, 64, 3)
    assert item.note == "enlarged by 2, bicubic"
    # Away from the border Pillow enlarges with the same cubic (a = -0.5).
    with Image.open(small) as source:
        expected = np.asarray(source.resize((64, 48), Image.Resampling.BICUBIC), dtype=int)
    inside = np.s_[6:-6, 6:-6]
    assert np.abs(item.degraded[inside].astype(int) - expected[inside]).max() <= 1


def test_sharp_only_data_sets_cannot_be_scored_as_pairs(tmp_path: Path) -> None:
    picture(tmp_path / "DIV2K_valid_HR" / "0801.png")
    with pytest.raises(DataError, match="sharp pictures only"):
        open_pairs(tmp_path, "div2k", "val")


def test_16_bit_pictures_are_rounded_to_8(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    levels = np.arange(48 * 64 * 3, dtype=np.uint16).reshape(48, 64, 3) * 7
    tifffile.imwrite(tmp_path / "deep.tif", levels, photometric="rgb")
    (item,) = open_suite("sharp", tmp_path)
    assert (item.sharp == np.rint(levels / 257)).all()


def test_resized_suites_say_so_in_their_name(photos: Path) -> None:
    suite = resized(open_suite("sharp", photos), 20, 10)
    assert suite.name == "sharp, RESIZED to 20 x 10"
    assert suite.resized_to == (20, 10)
    assert {item.sharp.shape for item in suite} == {(10, 20, 3)}
    assert len(list(suite)) == len(suite) == 4


def test_without_photographs_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HELD_OUT", Path("/nonexistent"))
    with pytest.raises(DataError, match="--photos"):
        open_suite("sharp")


def test_unknown_suites_are_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="choose one of: shake-srgb"):
        open_suite("rain", photos)


def test_without_pytorch_only_the_sharp_suite_opens(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    assert len(list(open_suite("sharp", photos))) == 4
    with pytest.raises(MissingExtraError, match="train"):
        open_suite("defocus", photos)


def test_a_broken_photograph_is_named(photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"bad\.png"):
        open_suite("sharp", photos)


@pytest.mark.skipif("WHET_SHARED" not in os.environ, reason="needs real blurred pairs")
def test_real_pairs_score_as_scikit_image_says() -> None:
    for item in open_pairs(Path(os.environ["WHET_SHARED"]) / "pairs", limit=3):
        assert psnr(item.degraded, item.sharp) == pytest.approx(
            peak_signal_noise_ratio(item.sharp, item.degraded, data_range=255), abs=1e-9
        )
        expected = structural_similarity(
            item.degraded,
            item.sharp,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
        assert ssim(item.degraded, item.sharp) == pytest.approx(expected, abs=1e-6)


def test_centred_keeps_the_pixels_of_the_middle_and_says_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    suite = centred(open_suite("sharp", tmp_path), 20, 10)
    (item,) = suite
    assert "middle 20 x 10" in suite.name
    assert np.array_equal(item.sharp, pixels[15:25, 20:40])
    assert np.array_equal(item.degraded, item.sharp)
