"""Bad input ends in one sentence that names the remedy."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import noise, saved, smooth
from PIL import Image

from whet.errors import ImageError
from whet.image import Picture, read, write

# Pillow comments on every oddity that the damage tests put into a file.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Corrupt EXIF",
    "ignore:Metadata Warning",
    "ignore:Truncated File",
    "ignore:Tag data larger",
)


def test_zero_bytes(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match=r"a\.jpg is empty"):
        read(tmp_path / "a.jpg")


def test_text_named_jpg(tmp_path):
    (tmp_path / "a.jpg").write_text("dear diary")
    with pytest.raises(ImageError, match="is no picture that whet can read"):
        read(tmp_path / "a.jpg")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("keep", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".bmp", ".ppm"])
def test_truncated_files(suffix, keep, tmp_path):
    write(Picture(noise(80, 80)), tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    with pytest.raises(ImageError, match=r"incomplete|damaged"):
        read(data[: int(len(data) * keep)])


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_truncated_16_bit_tiff(compression, tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", noise(99, 80, np.uint16), photometric="rgb", compression=compression
    )
    data = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(ImageError, match=r"incomplete|damaged|missing"):
        read(data[: len(data) * 6 // 10])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF"]), st.data())
def test_damaged_bytes_end_in_a_picture_or_in_an_image_error(format, data):
    damaged = bytearray(saved(Image.fromarray(smooth(16, 16)), format))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ImageError):  # anything else is a crash
        assert read(bytes(damaged), max_pixels=10**6).pixels.size <= 3 * 10**6


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = [header, body, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


def test_20000_by_20000_is_refused_by_its_header_and_the_limit_is_named():
    with pytest.raises(ImageError, match=r"20000 x 20000 is 400 megapixels, the limit is 268"):
        read(png_header(20_000, 20_000))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "PPM"])
def test_the_pixel_limit_holds_for_every_format(format):
    data = saved(Image.fromarray(smooth(50, 40)), format)
    with pytest.raises(ImageError, match="limit"):
        read(data, max_pixels=1999)
    assert read(data, max_pixels=2000).pixels.shape == (50, 40, 3)


def test_the_limit_of_pillow_itself_is_neither_used_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read(saved(Image.fromarray(smooth(50, 40)), "JPEG")).pixels.shape == (50, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_name_the_remedy(format):
    frames = [Image.fromarray(noise(8, 8)), Image.fromarray(smooth(8, 8))]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"animation of 2 frames.*as a video"):
        read(data)


def test_multi_page_tiff_names_the_remedy_and_thumbnails_do_not_count(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise(20, 20), photometric="rgb")
        writer.write(noise(5, 5), photometric="rgb", subfiletype=1)
    assert read(tmp_path / "a.tif").pixels.shape == (20, 20, 3)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(noise(20, 20), photometric="rgb")
        writer.write(noise(20, 20), photometric="rgb")
    with pytest.raises(ImageError, match=r"2 pages.*split"):
        read(tmp_path / "b.tif")


def test_a_float_tiff_of_another_range_is_refused_with_a_remedy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", smooth(8, 8).astype(np.float32), photometric="rgb")
    with pytest.raises(ImageError, match=r"reach 255; .* divide them first"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.complex64])
def test_a_tiff_of_other_numbers_is_refused_by_its_true_name(dtype, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), dtype), photometric="minisblack")
    with pytest.raises(ImageError, match=rf"\({np.dtype(dtype).name}\) cannot be restored"):
        read(tmp_path / "a.tif")


def test_wrong_suffix_is_read_by_content_and_noted(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(Image.fromarray(smooth(8, 8)), "PNG"))
    picture = read(tmp_path / "a.jpg")
    assert picture.metadata.format == "PNG"
    assert "PNG in spite of its suffix .jpg" in picture.metadata.notes[0]


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_pixels_of_the_wrong_kind_are_refused(pixels):
    with pytest.raises(ImageError, match="pixels must be"):
        Picture(pixels)
