"""Reading and writing stills: nothing is lost, nothing is guessed, nothing is half written."""

import errno
import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from whet import image as whet_image
from whet.errors import ImageError, MissingExtraError
from whet.image import Metadata, Picture, read, replacing, write

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Pillow comments on every oddity that the damage tests put into a file.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Metadata Warning")

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="1" dc:title="knife"/></x:xmpmeta>'


def smooth(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    """A colourful, smooth picture that lossy codecs keep well; every channel differs."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [np.sin(x / 9) + y / height, np.cos(y / 7) + x / width, np.sin((x + y) / 11)]
    field = np.stack(channels, axis=-1)
    field = (field - field.min()) / (field.max() - field.min())
    return np.rint(field * np.iinfo(dtype).max).astype(dtype)


def noise(height: int, width: int, dtype: type = np.uint8, channels: int = 3) -> np.ndarray:
    top = np.iinfo(dtype).max + 1
    return np.random.default_rng(1).integers(0, top, (height, width, channels)).astype(dtype)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Brunel"
    exif[0x8769] = {0x829A: 0.004, 0x9003: "2026:11:03 10:00:00"}
    exif[0x8825] = {1: "N", 2: (51.0, 28.0, 38.0)}
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    return loaded


def roundtrip(picture: Picture, format: str, **options: object) -> Picture:
    buffer = io.BytesIO()
    write(picture, buffer, format, **options)
    return read(buffer.getvalue())


# --- Bit depth, gray and alpha -------------------------------------------------------------


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


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_formats_stay_close(suffix):
    pixels = smooth(64, 96)
    back = roundtrip(Picture(pixels), suffix)
    assert back.pixels.shape == pixels.shape
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 2.5


# --- JPEG ----------------------------------------------------------------------------------


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


# --- Metadata ------------------------------------------------------------------------------

CARRIERS = [".jpg", ".png", ".webp", ".avif", ".tif"]


@pytest.mark.parametrize("target", CARRIERS)
@pytest.mark.parametrize("source", CARRIERS)
def test_metadata_survives_from_every_format_to_every_other(source, target):
    formats = {".jpg": "JPEG", ".tif": "TIFF"}
    exif = exif_with(1)
    image = Image.fromarray(smooth(24, 40))
    if source == ".png":
        first = io.BytesIO()
        metadata = Metadata(icc=SRGB, exif=exif.tobytes()[6:], xmp=XMP, dpi=(300.0, 300.0))
        write(Picture(smooth(24, 40)), first, ".png")
        write(Picture(smooth(24, 40), metadata=metadata), first := io.BytesIO(), ".png")
        data = first.getvalue()
    else:
        options = {"icc_profile": SRGB, "exif": exif, "dpi": (300, 300)}
        if source == ".tif":
            exif[700] = XMP
        else:
            options["xmp"] = XMP
        data = saved(image, formats.get(source, source[1:].upper()), **options)
    buffer = io.BytesIO()
    write(read(data), buffer, target)
    result = Image.open(buffer)
    result.load()
    assert result.info["icc_profile"] == SRGB
    got = result.getexif()
    assert got[0x010F] == "Brunel"
    assert float(got.get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)
    assert got.get_ifd(0x8769)[0x9003] == "2026:11:03 10:00:00"
    assert [float(v) for v in got.get_ifd(0x8825)[2]] == [51, 28, 38]
    xmp = result.info.get("xmp") or got.get(700)
    assert xmp == XMP
    if target in (".jpg", ".png", ".tif") and source in (".jpg", ".png", ".tif"):
        assert result.info["dpi"][0] == pytest.approx(300, abs=0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_exactly_once(orientation, format):
    exif = exif_with(orientation)
    xmp = XMP.replace(b'Orientation="1"', f'Orientation="{orientation}"'.encode())
    options = {"quality": 95, "xmp": xmp} if format != "TIFF" else {}
    data = saved(Image.fromarray(smooth(24, 40)), format, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, expected)
    buffer = io.BytesIO()
    write(picture, buffer, ".png")
    result = Image.open(buffer)
    assert result.getexif()[0x0112] == 1
    assert result.getexif()[0x010F] == "Brunel"
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(result)), expected)
    if format == "JPEG":
        assert picture.metadata.xmp == XMP


def test_orientation_in_xmp_alone_is_applied():
    xmp = XMP.replace(b'Orientation="1"', b'Orientation="8"')
    buffer = io.BytesIO()
    write(Picture(smooth(24, 40), metadata=Metadata(xmp=xmp)), buffer, ".png")
    picture = read(buffer.getvalue())
    np.testing.assert_array_equal(picture.pixels, np.rot90(smooth(24, 40)))
    assert picture.metadata.xmp == XMP


def test_orientation_turns_alpha_and_resolution_too():
    rgba = np.dstack([smooth(6, 9), noise(6, 9)[..., :1]])
    data = saved(Image.fromarray(rgba), "PNG", exif=exif_with(6), dpi=(200, 100))
    picture = read(data)
    np.testing.assert_array_equal(picture.alpha[..., 0], np.rot90(rgba[..., 3], -1))
    assert [round(value) for value in picture.metadata.dpi] == [100, 200]


def test_stale_thumbnail_is_unlinked_and_maker_notes_survive():
    """IFD 1 shows the degraded picture; the bytes of the rest must not move."""
    note = b"MAKER\0\1\2\3 offsets 0x1234"
    ifd0 = struct.pack("<H", 2)
    ifd0 += struct.pack("<HHIHH", 0x0112, 3, 1, 3, 0)
    ifd0 += struct.pack("<HHII", 0x927C, 7, len(note), 8 + 2 + 24 + 4)
    block = b"II*\0" + struct.pack("<I", 8) + ifd0 + struct.pack("<I", 99) + note
    picture = read(saved(Image.fromarray(smooth(8, 8)), "JPEG", exif=b"Exif\0\0" + block))
    kept = picture.metadata.exif
    assert len(kept) == len(block)
    assert kept.endswith(note)
    assert struct.unpack_from("<I", kept, 8 + 2 + 24) == (0,)
    assert struct.unpack_from("<H", kept, 8 + 2 + 8) == (1,)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_may_pose_as_exif(block):
    metadata = Metadata(exif=b"II*\0\x08\0\0\0" + block)
    picture = whet_image.upright(Picture(smooth(4, 4), metadata=metadata))
    assert picture.pixels.shape == (4, 4, 3)
    write(picture, io.BytesIO(), ".tif")


def test_png_text_gamma_and_primaries_are_kept():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "taken at the works")
    info.add(b"gAMA", struct.pack(">I", 45455))
    picture = read(saved(Image.fromarray(smooth(8, 8)), "PNG", pnginfo=info))
    buffer = io.BytesIO()
    write(picture, buffer, ".png")
    result = Image.open(buffer)
    result.load()
    assert result.info["Comment"] == "taken at the works"
    assert result.info["gamma"] == pytest.approx(0.45455)


def test_tiff_tags_and_storage_are_kept(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise(20, 20, np.uint16),
        photometric="rgb",
        compression=None,
        description="plate 7",
        metadata=None,
        extratags=[(33550, 12, 3, (0.5, 0.5, 0.0), True)],
    )
    write(read(tmp_path / "a.tif"), tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        tags = file.pages.first.tags
        assert tags[270].value == "plate 7"
        assert tags[33550].value == (0.5, 0.5, 0.0)
        assert tags[259].value == 1


def test_a_gray_profile_does_not_describe_colour_channels():
    gray = Metadata(gray=True, icc=b"gray profile")
    assert roundtrip(Picture(smooth(8, 8), metadata=gray), ".webp").metadata.icc is None


def test_a_damaged_profile_is_left_out_and_said():
    data = bytearray(saved(Image.fromarray(smooth(8, 8)), "PNG", icc_profile=SRGB))
    where = data.index(b"iCCP") + 4 + len(b"ICC Profile\0\0")
    data[where : where + 20] = bytes(20)
    length = struct.unpack(">I", data[where - 17 - 4 : where - 17])[0]
    start = data.index(b"iCCP")
    data[start + 4 + length : start + 8 + length] = struct.pack(
        ">I", zlib.crc32(data[start : start + 4 + length])
    )
    picture = read(bytes(data))
    assert picture.metadata.icc is None
    assert "profile is damaged" in picture.metadata.notes[0]


# --- HEIC ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_heic_is_read_and_written_with_its_depth(dtype):
    pytest.importorskip("pillow_heif")
    pixels = smooth(64, 96, dtype)
    metadata = Metadata(icc=SRGB, exif=exif_with(1).tobytes()[6:], xmp=XMP)
    back = roundtrip(Picture(pixels, metadata=metadata), ".heic")
    assert back.pixels.dtype == dtype
    error = np.abs(back.pixels.astype(np.float64) - pixels).mean() / np.iinfo(dtype).max
    assert error < 0.01
    assert back.metadata.icc == SRGB
    assert back.metadata.xmp == XMP


def test_heic_rotation_is_applied_exactly_once():
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    image = Image.fromarray(smooth(64, 96))
    heif.from_pillow(image).save(buffer, quality=95, exif=exif_with(6).tobytes())
    picture = read(buffer.getvalue())
    expected = np.rot90(smooth(64, 96), -1)
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 4
    assert whet_image.metadata.orientation_of(picture.metadata) == 1


def test_heic_without_its_extra_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"whet\[heif\]"):
        read(b"\0\0\0\x18ftypheic" + bytes(40))


# --- Bad input -----------------------------------------------------------------------------


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
    with pytest.raises(ImageError, match=r"20000 x 20000 is 400 megapixels.*--max-pixels"):
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
    with pytest.raises(ImageError, match=r"animation of 2 frames.*whet video"):
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


def test_float_tiff_is_refused_with_a_remedy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(ImageError, match="convert the picture"):
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


# --- Streams -------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as stdin is."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer):
        return self._inner.readinto(buffer)


def test_a_pipe_is_read_and_written_in_the_format_it_came_in():
    data = saved(Image.fromarray(smooth(8, 8)), "BMP")
    picture = read(io.BufferedReader(Pipe(data)))
    buffer = io.BytesIO()
    write(picture, buffer)
    assert buffer.getvalue()[:2] == b"BM"


# --- Writing -------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    with pytest.raises(ImageError, match="--overwrite"):
        write(Picture(smooth(8, 8)), target)
    assert target.read_bytes() == b"precious"
    write(Picture(smooth(8, 8)), target, overwrite=True)
    assert read(target).pixels.shape == (8, 8, 3)
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, OSError(errno.EIO, "I/O")])
def test_an_interrupted_write_leaves_the_old_file_and_no_leftover(failure, tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    with pytest.raises((KeyboardInterrupt, MemoryError, ImageError)):  # noqa: PT012, SIM117
        with replacing(target, overwrite=True) as temporary:
            temporary.write_bytes(b"half")
            raise failure
    assert target.read_bytes() == b"precious"
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(suffix, tmp_path, monkeypatch):
    real = Path.open

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, mode="r", *args, **kwargs):
        if "w" in mode:
            real(path, "wb").close()
            return Full(path, "w+")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(ImageError, match="disk is full"):
        write(Picture(noise(40, 40)), tmp_path / f"a{suffix}")
    assert names(tmp_path) == []


def test_a_real_size_limit_of_the_system_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(ImageError, match="cannot be written"):
            write(Picture(noise(64, 64)), tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_names_the_remedy(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ImageError, match="permission denied; check the rights or choose"):
            write(Picture(smooth(8, 8)), tmp_path / "a.png")
    finally:
        tmp_path.chmod(0o700)


def test_a_refused_permission_names_the_remedy(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ImageError, match="permission denied; check the rights or choose"):
        write(Picture(smooth(8, 8)), tmp_path / "a.png")
    assert names(tmp_path) == []


def test_unknown_suffixes_and_folders_are_refused(tmp_path):
    picture = Picture(smooth(8, 8))
    with pytest.raises(ImageError, match=r"no '.xyz' pictures; use one of \.jpg"):
        write(picture, tmp_path / "a.xyz")
    with pytest.raises(ImageError, match=r"no '.gif' pictures"):
        write(picture, tmp_path / "a.gif")
    with pytest.raises(ImageError, match="no such folder; create it first"):
        write(picture, tmp_path / "nowhere" / "a.png")
    with pytest.raises(ImageError, match="choose 1 to 100"):
        write(picture, tmp_path / "a.jpg", quality=0)


def test_a_picture_too_large_for_the_format_names_others(tmp_path):
    with pytest.raises(ImageError, match=r"17000 x 1 pixels cannot be written as WEBP.*\.png"):
        write(Picture(np.zeros((1, 17000, 3), np.uint8)), tmp_path / "a.webp")
    assert names(tmp_path) == []
