"""The meaning of colours is carried, converted, or refused; HDR never becomes sRGB silently."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from pictures import SRGB, roundtrip, saved, smooth
from PIL import Image, ImageCms

from whet.errors import ImageError
from whet.image import Metadata, Picture, read, write
from whet.image.metadata import Cicp


def pq_avif() -> bytes:
    deep = smooth(40, 60, np.uint16) >> 6
    return bytes(
        imagecodecs.avif_encode(
            deep, bitspersample=10, level=95, primaries=9, transfer=16, matrix=9
        )
    )


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    added = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return data[:33] + added + data[33:]


def png(*chunks: tuple[bytes, bytes], mode: str = "RGB") -> bytes:
    return with_chunks(saved(Image.fromarray(smooth(40, 60)).convert(mode), "PNG"), *chunks)


def as_srgb(data: bytes) -> np.ndarray:
    """What a colour-managed viewer shows."""
    image = Image.open(io.BytesIO(data))
    icc = image.info.get("icc_profile")
    if icc is None:
        return np.asarray(image.convert("RGB"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    shown = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.asarray(shown)


def written(picture: Picture, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    buffer = io.BytesIO()
    notes = write(picture, buffer, suffix, quality=97 if suffix in (".jpg", ".webp") else None)
    return buffer.getvalue(), notes


@pytest.mark.parametrize("suffix", [".avif", ".png", ".heic"])
def test_hdr_keeps_its_code_points_where_they_can_be_said(suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    back = roundtrip(read(pq_avif()), suffix)
    assert (back.metadata.cicp.primaries, back.metadata.cicp.transfer) == (9, 16)
    assert back.pixels.dtype == np.uint16


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp", ".ppm"])
@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_elsewhere(suffix, transfer):
    picture = Picture(smooth(8, 8), metadata=Metadata(cicp=Cicp(9, transfer)))
    with pytest.raises(ImageError, match=r"high dynamic range.*write a \.png"):
        write(picture, io.BytesIO(), suffix)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp", ".ppm"])
def test_wide_colours_look_the_same_in_every_format(suffix):
    """Display P3 (200, 80, 70) is sRGB (216, 69, 60), by the matrices of both."""
    pixels = np.full((16, 16, 3), (200, 80, 70), np.uint8)
    data, notes = written(Picture(pixels, metadata=Metadata(cicp=Cicp(12, 13))), suffix)
    assert len(notes) == 1
    shown = as_srgb(data)
    assert np.abs(shown.astype(int) - display_p3_in_srgb(pixels)).max() <= 3


def display_p3_in_srgb(pixels: np.ndarray) -> np.ndarray:
    """Convert by the definitions of both spaces (SMPTE EG 432-1, IEC 61966-2-1)."""

    def to_xyz(primaries):
        xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        return xyz * np.linalg.solve(xyz, white)

    p3 = to_xyz([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)])
    srgb = to_xyz([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])
    v = pixels / 255
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ (np.linalg.inv(srgb) @ p3).T, 0, 1)
    v = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * v).astype(int)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp", ".avif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_png_of_linear_light_looks_the_same_in_every_format(suffix, mode):
    picture = read(png((b"gAMA", struct.pack(">I", 100000)), mode=mode))
    flat = picture.with_pixels(np.full_like(picture.pixels, 128))
    shown = as_srgb(written(flat, suffix)[0])
    assert np.abs(shown.astype(int) - 188).max() <= 2  # sRGB of a light of 128 / 255


def test_a_png_keeps_gamma_and_primaries_beside_a_profile():
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    icc = b"ICC\0\0" + zlib.compress(SRGB)
    data = png((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", primaries), (b"iCCP", icc))
    back = roundtrip(read(data), ".png")
    assert dict(back.metadata.chunks) == {b"gAMA": struct.pack(">I", 45455), b"cHRM": primaries}
    assert back.metadata.icc == SRGB
    as_jpeg, notes = written(read(data), ".jpg")
    assert Image.open(io.BytesIO(as_jpeg)).info["icc_profile"] == SRGB
    assert notes == ()


def test_the_usual_gamma_needs_no_profile():
    for chunk in ((b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0")):
        data, notes = written(read(png(chunk)), ".jpg")
        assert "icc_profile" not in Image.open(io.BytesIO(data)).info
        assert notes == ()


@pytest.mark.parametrize("space", [b"CMYK", b"Lab "])
def test_a_profile_of_the_wrong_kind_is_left_out_with_a_note(space):
    icc = SRGB[:16] + space + SRGB[20:]
    picture = read(saved(Image.fromarray(smooth(8, 8)), "JPEG", icc_profile=icc))
    assert picture.metadata.icc is None
    assert "does not describe such pixels" in picture.metadata.notes[0]


def test_an_srgb_profile_goes_where_it_says_nothing_and_no_pixel_changes():
    picture = Picture(smooth(20, 20), metadata=Metadata(icc=SRGB))
    data, notes = written(picture, ".bmp")
    np.testing.assert_array_equal(read(data).pixels, picture.pixels)
    assert notes == ()


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_heic_keeps_the_chroma_sampling_of_its_source(chroma):
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(smooth(64, 64))).save(buffer, chroma=chroma, quality=90)
    picture = read(buffer.getvalue())
    assert picture.metadata.chroma == chroma
    assert roundtrip(picture, ".heic").metadata.chroma == chroma


def test_light_levels_and_mastering_display_travel_between_png_and_heic():
    pytest.importorskip("pillow_heif")
    mastering = struct.pack(">8HII", 35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 10**7, 50)
    levels = struct.pack(">II", 1000 * 10**4, 400 * 10**4)
    data = png((b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", mastering), (b"cLLI", levels))
    picture = read(data)
    assert picture.metadata.light_level == (1000, 400)
    for suffix in (".png", ".heic"):
        metadata = roundtrip(picture, suffix).metadata
        assert metadata.mastering == picture.metadata.mastering, suffix
        assert metadata.light_level == (1000, 400), suffix
    as_avif, notes = written(picture, ".avif")
    assert read(as_avif).metadata.light_level == (1000, 400)
    assert "the mastering display" in notes[0]
