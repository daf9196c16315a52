"""Every format keeps every bit it can hold: depth, gray, alpha, colour."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from pictures import SRGB, noise, roundtrip, saved, smooth
from PIL import Image, ImageCms

from whet.errors import ImageError
from whet.image import Metadata, Picture, read, write

# --- Bit depth, gray and alpha -----------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_lossless_formats_keep_every_bit(suffix, dtype, gray, with_alpha, tmp_path):
    pixels = noise(37, 53, dtype)
    if gray:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    alpha = noise(37, 53, dtype)[..., :1] if with_alpha else None
    write(Picture(pixels, alpha, Metadata(gray=gray)), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.metadata.gray == gray
    if with_alpha:
        np.testing.assert_array_equal(back.alpha, alpha)
    else:
        assert back.alpha is None


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint16, 3), (np.uint16, 4)])
def test_a_tiff_of_many_strips_is_read_by_another_library(dtype, channels, compressed, tmp_path):
    pixels = np.tile(smooth(100, 300, dtype), (15, 1, 1))
    alpha = pixels[..., :1] if channels == 4 else None
    write(Picture(pixels, alpha, Metadata(compressed=compressed)), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages.first.dataoffsets) > 1
        stored = file.asarray()
    np.testing.assert_array_equal(stored[..., :3], pixels)
    assert stored.shape == (1500, 300, channels)
    if dtype == np.uint8:
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tif")), stored)


def test_a_gray_tiff_of_many_strips_stays_gray(tmp_path):
    pixels = np.repeat(np.tile(noise(100, 1000)[..., :1], (15, 1, 1)), 3, axis=2)
    write(Picture(pixels, metadata=Metadata(gray=True)), tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels[..., 0])


def test_16_bit_png_written_by_another_library_is_not_reduced_to_8():
    pixels = noise(20, 30, np.uint16)
    data = imagecodecs.png_encode(pixels)
    with Image.open(io.BytesIO(data)) as reduced:
        assert np.asarray(reduced).dtype == np.uint8, "Pillow reads 16 bits now; simplify png.py"
    np.testing.assert_array_equal(read(data).pixels, pixels)


@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32)}, {"rowsperstrip": 7}])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_tiff_of_any_layout_is_read_exactly(compression, layout, byteorder, tmp_path):
    pixels = noise(75, 90, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb",
        compression=compression,
        byteorder=byteorder,
        **layout,
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, pixels)


def test_planar_tiff_is_read_exactly(tmp_path):
    pixels = noise(40, 50, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, pixels)


def test_tiff_that_stores_white_as_zero_is_inverted(tmp_path):
    gray = noise(9, 11)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", gray, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels[..., 1], 255 - gray)


def test_tiff_with_multiplied_alpha_becomes_straight(tmp_path):
    stored = np.array([[[50, 100, 25, 100], [0, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels[0, 0], [128, 255, 64])
    np.testing.assert_array_equal(picture.alpha[..., 0], [[100, 0]])


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_netpbm_keeps_every_bit(channels):
    pixels = (
        np.repeat(noise(9, 12, np.uint16, 1), 3, axis=2)
        if channels == 1
        else noise(9, 12, np.uint16)
    )
    back = roundtrip(Picture(pixels, metadata=Metadata(gray=channels == 1)), ".ppm")
    np.testing.assert_array_equal(back.pixels, pixels)


def test_netpbm_with_a_peak_below_65535_fills_the_range():
    data = b"P6\n# a comment\n2 1\n1023\n" + np.array([0, 1023, 512] * 2, ">u2").tobytes()
    np.testing.assert_array_equal(read(data).pixels[0, 0], [0, 65535, round(512 * 65535 / 1023)])


MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"],
    "WEBP": ["L", "P", "RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
}


@pytest.mark.parametrize(("format", "mode"), [(f, m) for f, modes in MODES.items() for m in modes])
def test_every_pillow_mode_is_read_as_pillow_shows_it(format, mode):
    rgba = Image.fromarray(np.dstack([smooth(24, 31), noise(24, 31)[..., :1]]))
    image = rgba.quantize(64) if mode == "P" else rgba.convert(mode)
    data = saved(image, format, **({"lossless": True} if format == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGBA"))
        transparent = opened.has_transparency_data
    picture = read(data)
    visible = expected[..., 3] > 0
    np.testing.assert_array_equal(picture.pixels[visible], expected[..., :3][visible])
    assert (picture.alpha is not None) == transparent
    if transparent:
        np.testing.assert_array_equal(picture.alpha[..., 0], expected[..., 3])


def test_deep_pixels_are_rounded_not_cut_for_an_8_bit_format():
    values = np.array([0, 128, 129, 385, 386, 65406, 65407, 65535], np.uint16)
    pixels = np.repeat(values[None, :, None], 3, axis=2)
    buffer = io.BytesIO()
    notes = write(Picture(pixels), buffer, ".bmp")
    assert "16 were reduced to 8" in notes[0]
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read(buffer.getvalue()).pixels[0, :, 0], expected)


def test_transparency_is_refused_where_it_would_be_lost(tmp_path):
    alpha = np.full((5, 5, 1), 255, np.uint8)
    write(Picture(smooth(5, 5), alpha), tmp_path / "opaque.jpg")
    alpha[0, 0] = 254
    with pytest.raises(ImageError, match=r"holds no transparency; write a \.png"):
        write(Picture(smooth(5, 5), alpha), tmp_path / "a.jpg")
    assert not (tmp_path / "a.jpg").exists()


def test_webp_keeps_the_colour_of_transparent_pixels_and_losslessness():
    pixels = noise(16, 16)
    alpha = np.zeros((16, 16, 1), np.uint8)
    data = saved(Image.fromarray(np.dstack([pixels, alpha])), "WEBP", lossless=True, exact=True)
    picture = read(data)
    assert picture.metadata.lossless
    back = roundtrip(picture, ".webp")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert not read(saved(Image.fromarray(smooth(16, 16)), "WEBP")).metadata.lossless


@pytest.mark.parametrize("bits", [10, 12])
def test_a_deep_avif_keeps_its_depth(bits):
    pixels = smooth(32, 32, np.uint16) >> (16 - bits)
    picture = read(imagecodecs.avif_encode(pixels, bitspersample=bits, level=95))
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels.astype(float) / 65535 - pixels / (2**bits - 1)).mean() < 0.01
    back = roundtrip(picture, ".avif")
    assert back.metadata.bits == bits
    assert np.abs(back.pixels.astype(float) - picture.pixels).mean() / 65535 < 0.01
    assert read(saved(Image.fromarray(smooth(32, 32)), "AVIF")).metadata.notes == ()


def test_a_phone_photograph_with_a_second_picture_is_no_animation():
    first, second = Image.fromarray(smooth(24, 24)), Image.fromarray(noise(24, 24))
    picture = read(saved(first, "MPO", save_all=True, append_images=[second], quality=95))
    assert np.abs(picture.pixels.astype(int) - smooth(24, 24)).mean() < 6
    assert "the other pictures behind the photograph" in picture.metadata.notes[0]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_formats_stay_close(suffix):
    pixels = smooth(64, 96)
    back = roundtrip(Picture(pixels), suffix)
    assert back.pixels.shape == pixels.shape
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 2.5


# --- JPEG --------------------------------------------------------------------------------


@pytest.mark.parametrize(("quality", "written"), [(97, 97), (88, 88), (40, 85), (None, 95)])
def test_jpeg_keeps_the_source_quality_but_not_below_85(quality, written):
    picture = Picture(smooth(32, 32))
    if quality is not None:
        picture = read(saved(Image.fromarray(picture.pixels), "JPEG", quality=quality))
        assert abs(picture.metadata.quality - quality) <= 1
    buffer = io.BytesIO()
    write(picture, buffer, ".jpg")
    expected = Image.open(io.BytesIO(saved(Image.new("RGB", (8, 8)), "JPEG", quality=written)))
    result = Image.open(buffer)
    difference = np.abs(
        np.array(result.quantization[0], int) - np.array(expected.quantization[0], int)
    )
    assert difference.max() <= 1


def test_jpeg_chroma_is_not_halved():
    buffer = io.BytesIO()
    write(Picture(smooth(32, 32)), buffer, "JPEG")
    assert [component[1:3] for component in Image.open(buffer).layer] == [(1, 1)] * 3


def test_gray_jpeg_stays_gray():
    picture = read(saved(Image.fromarray(smooth(20, 20)).convert("L"), "JPEG"))
    buffer = io.BytesIO()
    write(picture, buffer, ".jpg")
    assert Image.open(buffer).mode == "L"


def test_cmyk_jpeg_without_profile_is_converted_with_a_note():
    image = Image.fromarray(smooth(24, 24)).convert("CMYK")
    picture = read(saved(image, "JPEG", quality=100))
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 3
    assert "CMYK" in picture.metadata.notes[0]


@pytest.mark.parametrize("profile", [SRGB, b"rubbish"])
def test_cmyk_jpeg_with_an_unusable_profile_is_converted_with_a_note(profile):
    picture = read(saved(Image.new("CMYK", (8, 8)), "JPEG", icc_profile=profile))
    assert (picture.pixels > 250).all()
    assert "unusable profile" in picture.metadata.notes[0]
    assert picture.metadata.icc is None


def gray_ink_profile() -> bytes:
    """A minimal ICC 2.1 printer profile in which every ink, cyan too, is a gray of L* 75.

    One lut8 tag (ICC.1:1998, 6.5.7) with 2 grid points per ink; each ink takes
    25 of the 100 units of lightness.
    """
    ramp = bytes(range(256))
    clut = b"".join(
        bytes([round(255 * (1 - bin(corner).count("1") / 4)), 128, 128]) for corner in range(16)
    )
    identity = struct.pack(">9I", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + clut + ramp * 3
    lut += bytes(-len(lut) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4s", 128 + 16 + len(lut), b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ",
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0), b"acsp", b"\0\0\0\0",
    )  # fmt: skip
    header = (header + bytes(24) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)).ljust(128, b"\0")
    return header + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


def test_cmyk_jpeg_is_converted_by_its_profile():
    """Plain arithmetic would make full cyan (0, 255, 255); this profile says light gray."""
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = read(saved(image, "JPEG", icc_profile=gray_ink_profile()))
    light_gray = 185  # sRGB of L* 75, from CIE 15 and IEC 61966-2-1
    assert np.abs(picture.pixels.astype(int) - light_gray).max() <= 3
    assert "by its colour profile" in picture.metadata.notes[0]
    assert ImageCms.ImageCmsProfile(io.BytesIO(picture.metadata.icc)).profile.xcolor_space == "RGB "
