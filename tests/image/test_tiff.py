"""TIFFs of every kind: restored at their depth, or refused by their true name."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from pictures import exif_with, noise, roundtrip, saved, smooth
from PIL import Image

from whet.errors import ImageError
from whet.image import read, write
from whet.image.exif import built, read_directories


def tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, software=False, **options)
    return buffer.getvalue()


def rewritten(data: bytes, suffix: str = ".tif") -> tuple[bytes, tuple[str, ...]]:
    buffer, picture = io.BytesIO(), read(data)
    notes = write(picture, buffer, suffix)
    return buffer.getvalue(), picture.metadata.notes + notes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("gray", [False, True])
def test_floats_come_back_exactly_those_beyond_white_too(dtype, gray):
    values = (smooth(40, 50, np.uint16) / 65535).astype(dtype)
    values[:4, :4] = (3.5, -0.25, 1.0)
    values[0, 0, 0] = np.nan
    values = np.ascontiguousarray(values[..., 0] if gray else values)
    result, notes = rewritten(tiff(values, photometric="minisblack" if gray else "rgb"))
    assert notes == ()
    back = tifffile.imread(io.BytesIO(result))
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, values)


def test_what_restoration_changes_is_added_to_floats():
    values = np.full((8, 8, 3), 0.5, np.float32)
    values[0] = 2.5
    picture = read(tiff(values, photometric="rgb"))
    brighter = picture.with_pixels(picture.pixels - 6554)
    buffer = io.BytesIO()
    write(brighter, buffer, ".tif")
    back = tifffile.imread(io.BytesIO(buffer.getvalue()))
    np.testing.assert_allclose(back, values - 0.1, atol=2e-5)


def test_floats_are_rounded_elsewhere_with_a_note():
    data, notes = rewritten(tiff(np.full((8, 8, 3), 0.5, np.float32), photometric="rgb"), ".png")
    assert (read(data).pixels == 32768).all()
    assert "no floating point numbers" in notes[0]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_depths_between_are_read_exactly_and_written_in_16_bits(bits):
    stored = noise(20, 31, np.uint16) >> (16 - bits)
    packed = np.unpackbits(stored.astype(">u2").view(np.uint8).reshape(20, 31, 3, 2), axis=3)
    rows = np.packbits(packed.reshape(20, 31 * 3, 16)[..., 16 - bits :].reshape(20, -1), axis=1)
    picture = read(_packed_tiff(rows.tobytes(), 31, 20, bits))
    top = 2**bits - 1
    np.testing.assert_array_equal(picture.pixels, np.rint(stored * (65535 / top)))
    assert picture.metadata.notes == (f"{bits} bits per channel are written in 16",)
    assert roundtrip(picture, ".tif").pixels.dtype == np.uint16


def _packed_tiff(data: bytes, width: int, height: int, bits: int) -> bytes:
    """A TIFF of one strip with packed samples, made by hand (TIFF 6.0)."""
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 158), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 164), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)),
        (284, 3, 1, 1),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)
    return head.ljust(158, b"\0") + struct.pack("<3H", bits, bits, bits) + data


def test_a_fifth_channel_is_named_and_the_alpha_is_the_right_one():
    stored = noise(20, 30, channels=5)
    data = tiff(stored, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    picture = read(data)
    np.testing.assert_array_equal(picture.alpha, stored[..., 4:])
    assert "1 further channel" in picture.metadata.notes[0]


def test_text_of_any_encoding_and_fractions_come_back_byte_by_byte():
    text = "日本 Jörg".encode() + b"\0"
    tags = [(315, 2, len(text), text, True), (318, 5, 2, (3127, 10000, 329, 1000), True)]
    result, notes = rewritten(tiff(smooth(8, 8), photometric="rgb", extratags=tags))
    main = read_directories(io.BytesIO(result)).main
    assert main[315].data == text
    assert (main[318].count, main[318].data) == (2, struct.pack("<4I", 3127, 10000, 329, 1000))
    assert notes == ()
    assert text in rewritten(result, ".jpg")[0]


def test_private_tags_stay_and_are_named_where_they_cannot():
    tags = [(65000, 7, 5, b"alpha", True), (33550, 12, 3, (0.5, 0.5, 0.0), True)]
    data = tiff(smooth(8, 8), photometric="rgb", extratags=tags)
    main = read_directories(io.BytesIO(rewritten(data)[0])).main
    assert main[65000].data == b"alpha"
    assert main[33550].data == struct.pack("<3d", 0.5, 0.5, 0)
    assert "private TIFF tags" in rewritten(data, ".png")[1][0]


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_exif_of_every_form_of_tiff_reaches_other_formats(bigtiff, byteorder):
    block = exif_with(1)
    made = io.BytesIO()
    Image.fromarray(smooth(8, 8)).save(made, "TIFF", exif=block)
    directories = read_directories(io.BytesIO(made.getvalue()))
    source = tiff(smooth(8, 8), photometric="rgb", bigtiff=bigtiff, byteorder=byteorder)
    picture = read(source)
    held = replace(picture, metadata=replace(picture.metadata, exif=built(directories)))
    for suffix in (".tif", ".jpg", ".png"):
        found = read_directories(roundtrip(held, suffix).metadata.exif)
        assert found.main[0x010F].data == b"Brunel\0"
        assert found.below == directories.below


def test_a_palette_or_inks_keep_their_metadata():
    for mode in ("P", "CMYK", "1"):
        image = Image.fromarray(smooth(12, 12))
        image = image.quantize(32) if mode == "P" else image.convert(mode)
        made = saved(image, "TIFF", exif=exif_with(1), dpi=(300, 150))
        metadata = read(made).metadata
        assert read_directories(metadata.exif).main[0x010F].data == b"Brunel\0"
        assert metadata.dpi == (300, 150)


def test_endless_directories_are_refused_at_once():
    data = b"II*\0" + struct.pack("<I", 8)
    data += b"".join(struct.pack("<HI", 0, 8 + 6 * n) for n in range(1, 300_000))
    with pytest.raises(ImageError, match="more than 256 directories"):
        read(data)
    circle = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    with pytest.raises(ImageError, match="more than 256 directories"):
        read(circle)
