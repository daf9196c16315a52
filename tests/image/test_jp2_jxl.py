"""JPEG 2000 and JPEG XL keep every bit, colour and metadata, or are refused by name."""

import io
import subprocess
from pathlib import Path
from shutil import which

import imagecodecs
import numpy as np
import pytest
from pictures import SRGB, XMP, exif_with, noise, roundtrip, saved, smooth
from PIL import Image

from whet.errors import ImageError
from whet.image import Metadata, Picture, read, write
from whet.image.colour import in_srgb
from whet.image.formats.jxl import _checked_header


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".jp2", np.uint8), (".jp2", np.uint16), (".jxl", np.uint8)]
)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_every_bit_and_all_metadata_come_back(suffix, dtype, gray, with_alpha):
    pixels = noise(37, 53, dtype)
    if gray:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    alpha = noise(37, 53, dtype)[..., :1] if with_alpha else None
    exif = exif_with(1).tobytes()[6:]
    picture = Picture(pixels, alpha, Metadata("PNG", gray=gray, exif=exif, xmp=XMP))
    back = roundtrip(picture, suffix)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.metadata.gray == gray
    assert (back.alpha is None) == (alpha is None)
    if with_alpha:
        np.testing.assert_array_equal(back.alpha, alpha)
    assert (back.metadata.exif, back.metadata.xmp) == (exif, XMP)


def test_pillow_reads_our_jpeg_2000_with_alpha_and_profile():
    pixels, alpha = smooth(40, 50), smooth(40, 50)[..., :1]
    buffer = io.BytesIO()
    write(Picture(pixels, alpha, Metadata(icc=SRGB)), buffer, ".jp2")
    image = Image.open(buffer)
    np.testing.assert_array_equal(np.asarray(image), np.concatenate([pixels, alpha], axis=2))
    assert read(buffer.getvalue()).metadata.icc == SRGB


@pytest.mark.parametrize("bits", [10, 12])
def test_jpeg_2000_of_other_depths_keeps_them(bits):
    stored = noise(20, 30, np.uint16) >> (16 - bits)
    data = bytes(imagecodecs.jpeg2k_encode(stored, codecformat="jp2", bitspersample=bits, level=0))
    buffer = io.BytesIO()
    write(read(data), buffer, ".jp2")
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(buffer.getvalue()), stored)


def test_lossy_quality_is_smaller_and_close():
    picture = Picture(smooth(64, 96))
    for suffix in (".jp2", ".jxl"):
        sizes = []
        for quality in (40, 90):
            buffer = io.BytesIO()
            write(picture, buffer, suffix, quality=quality)
            sizes.append(len(buffer.getvalue()))
            shown = read(buffer.getvalue()).pixels.astype(int)
            assert np.abs(shown - picture.pixels).mean() < 6
        assert sizes[0] < sizes[1]


def test_a_lossless_jpeg_xl_stays_lossless():
    pixels = noise(20, 30)
    data = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))
    np.testing.assert_array_equal(roundtrip(read(data), ".jxl").pixels, pixels)
    lossy = read(bytes(imagecodecs.jpegxl_encode(pixels, level=90)))
    assert not lossy.metadata.lossless


def test_jpeg_xl_of_linear_light_is_not_taken_for_srgb():
    """The encoder writes 16-bit numbers as linear light, whatever they mean."""
    data = imagecodecs.jpegxl_encode(np.full((8, 8, 3), 128 * 257, np.uint16), lossless=True)
    picture = read(bytes(data))
    assert picture.metadata.icc is not None
    shown = in_srgb(picture).pixels / 257
    assert np.abs(shown - 188).max() < 1  # sRGB of a light of 128 / 255
    deep = Picture(np.full((8, 8, 3), 128 * 257, np.uint16))
    assert np.abs(roundtrip(deep, ".jxl").pixels.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("suffix", [".jp2", ".jxl"])
def test_too_large_cut_and_foreign_files_are_refused(suffix):
    buffer = io.BytesIO()
    write(Picture(smooth(50, 40)), buffer, suffix)
    with pytest.raises(ImageError, match="limit"):
        read(buffer.getvalue(), max_pixels=1999)
    assert read(buffer.getvalue(), max_pixels=2000).pixels.shape == (50, 40, 3)
    with pytest.raises(ImageError, match=r"damaged|incomplete"):
        read(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def test_jpeg_2000_in_luma_and_chroma_is_refused_by_name():
    data = imagecodecs.jpeg2k_encode(smooth(20, 20), codecformat="jp2", level=0)
    with pytest.raises(ImageError, match="colour space 18 is not read"):
        read(bytes(data).replace(b"\x01\0\0\0\0\0\x10", b"\x01\0\0\0\0\0\x12", 1))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 256), (300, 400), (513, 77), (9, 9999)])
def test_sizes_in_the_header_of_jpeg_xl(height, width):
    data = imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8), lossless=True)
    assert _checked_header(bytes(data), 10**8)[:2] == (width, height)


@pytest.mark.skipif(which("cjxl") is None, reason="cjxl is not installed")
def test_jpeg_xl_in_other_colours_is_refused_by_name(tmp_path: Path):
    (tmp_path / "plain.png").write_bytes(saved(Image.fromarray(smooth(40, 60)), "PNG"))
    for space in ("RGB_D65_202_Rel_PeQ", "RGB_D65_DCI_Per_SRG"):
        target = tmp_path / f"{space}.jxl"
        words = ["cjxl", str(tmp_path / "plain.png"), str(target), "-x", f"color_space={space}"]
        subprocess.run(words, capture_output=True, check=True)
        with pytest.raises(ImageError, match="other colours than sRGB"):
            read(target)
    target = tmp_path / "plain.jxl"
    words = ["cjxl", str(tmp_path / "plain.png"), str(target), "-d", "1"]
    subprocess.run(words, capture_output=True, check=True)
    assert np.abs(read(target).pixels.astype(int) - smooth(40, 60)).mean() < 4
