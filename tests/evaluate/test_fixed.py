"""Fixed degradations are what they say, checked against other libraries where there are some."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from commandline import MakePicture
from whet.degrade.codecs.programs import jpeg_round_trip
from whet.evaluate.gaussian import gaussian
from whet.evaluate.suites import pages
from whet.evaluate.suites.catalogue import FAMILIES, SUITES, named
from whet.evaluate.suites.fixed import half_spoilt, message, oversharpened, soft, zoomed
from whet.metrics import psnr

Pixels = NDArray[np.uint8]


@pytest.mark.parametrize("sigma_px", [0.6, 0.9, 1.3, 1.8, 2.6])
def test_the_gaussian_is_scipys(sigma_px: float, picture: MakePicture) -> None:
    # Narrower than the kernel reaches, so that the mirrored edges are mirrored again.
    image = picture(40, 9, 1).astype(np.float64)
    expected = ndimage.gaussian_filter(image, (sigma_px, sigma_px, 0))
    assert np.abs(gaussian(image, sigma_px) - expected).max() < 1e-10
    assert gaussian(image.astype(np.float32), sigma_px).dtype == np.float32


def test_a_soft_lens_blurs_then_adds_noise_then_rounds(picture: MakePicture) -> None:
    sharp = picture(48, 56, 2)
    blurred = ndimage.gaussian_filter(sharp.astype(float), (1.3, 1.3, 0))
    assert (soft(sharp, 7, sigma_px=1.3) == np.rint(blurred).clip(0, 255)).all()
    noise = soft(sharp, 7, sigma_px=1.3, noise=5) - blurred
    inside = (blurred > 25) & (blurred < 230)
    assert noise[inside].std() == pytest.approx(5, rel=0.1)
    assert (soft(sharp, 7, sigma_px=1.3, noise=5) == soft(sharp, 7, sigma_px=1.3, noise=5)).all()
    assert (soft(sharp, 7, sigma_px=1.3, noise=5) != soft(sharp, 8, sigma_px=1.3, noise=5)).any()


def test_jpeg_is_what_pillow_writes(picture: MakePicture) -> None:
    sharp = picture(48, 56, 3)
    file = io.BytesIO()
    Image.fromarray(sharp).save(file, "JPEG", quality=80)
    with Image.open(file) as decoded:
        assert (jpeg_round_trip(sharp, 80) == np.asarray(decoded)).all()
    assert (soft(sharp, 0, sigma_px=1.8, quality=80) != soft(sharp, 0, sigma_px=1.8)).any()


def test_sent_pictures_are_compressed_small_and_zoomed_ones_large(picture: MakePicture) -> None:
    sharp = picture(48, 64, 4)
    image = Image.fromarray(sharp).resize((32, 24), Image.Resampling.BICUBIC)

    def enlarged(pixels: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC))

    small = np.asarray(image)
    assert (message(sharp, 2, 60) == enlarged(jpeg_round_trip(small, 60))).all()
    assert (zoomed(sharp, 2, 75) == jpeg_round_trip(enlarged(small), 75)).all()
    assert zoomed(picture(31, 47, 1), 2.5).shape == (31, 47, 3)


def test_oversharpened_pictures_overshoot(picture: MakePicture) -> None:
    edge = np.full((20, 20, 3), 60, np.uint8)
    edge[:, 10:] = 180
    halo = oversharpened(edge, 1.5, 150)
    assert halo.min() < 40
    assert halo.max() > 200


def test_half_a_picture_is_spoilt(picture: MakePicture) -> None:
    sharp = picture(20, 31, 5)
    both = half_spoilt(sharp, 255 - sharp)
    assert (both[:, :15] == sharp[:, :15]).all()
    assert (both[:, 15:] == 255 - sharp[:, 15:]).all()


def test_pages_are_full_of_text_and_always_the_same() -> None:
    shown = [pages.page(index) for index in range(pages.COUNT)]
    assert {page.shape for page in shown} == {(480, 640, 3)}
    assert len({page.tobytes() for page in shown}) == pages.COUNT
    assert (pages.page(3) == shown[3]).all()
    for page in shown:
        paper = page[0, 0].astype(int)
        inked = (np.abs(page - paper).sum(2) > 200).any(1)
        assert 0.05 < (np.abs(page - paper).sum(2) > 200).mean() < 0.4
        assert inked[20:460].mean() > 0.5


def test_families_name_the_grid_of_softness() -> None:
    assert len(FAMILIES["soft"]) == 15
    assert named(["soft"])[:3] == ("soft-0.6", "soft-0.6-n2-q92", "soft-0.6-n5-q80")
    assert set(named(["all"])) == set(SUITES)
    assert named(["jpeg", "jpeg-30", "rain"]) == ("jpeg-30", "jpeg-75", "jpeg-90", "rain")
    assert sum(map(len, FAMILIES.values())) == len(SUITES)


def test_milder_softness_is_nearer(picture: MakePicture) -> None:
    sharp = picture(64, 64, 6)
    near = [psnr(soft(sharp, 0, sigma_px=s), sharp) for s in (0.6, 0.9, 1.3, 1.8, 2.6)]
    assert near == sorted(near, reverse=True)
