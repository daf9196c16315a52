"""What travels beside the pixels survives, and orientation is applied once."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SRGB, XMP, exif_with, noise, roundtrip, saved, smooth
from PIL import Image, ImageOps

from whet import image as whet_image
from whet.errors import MissingExtraError
from whet.image import Metadata, Picture, read, write
from whet.image.exif import EXIF, read_directories

# Pillow comments on every oddity that the damage tests put into a file.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Corrupt EXIF", "ignore:Metadata Warning", "ignore:Truncated File"
)


# --- Metadata ----------------------------------------------------------------------------

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


def turnable_block(order: str, kind: int) -> bytes:
    """EXIF of a picture of 40 x 24 that lies on its side, its orientation a SHORT or a LONG."""
    value = {3: "H2x", 4: "I"}[kind]
    main = [
        struct.pack(order + "HHI" + value, 0x0112, kind, 1, 6),
        struct.pack(order + "HHII", 0x011A, 5, 1, 100),
        struct.pack(order + "HHII", 0x011B, 5, 1, 108),
        struct.pack(order + "HHII", 0x8769, 4, 1, 116),
    ]
    below = [
        struct.pack(order + "HHIHH", 0x9214, 3, 2, 10, 5),
        struct.pack(order + "HHII", 0xA002, 4, 1, 40),
        struct.pack(order + "HHII", 0xA003, 4, 1, 24),
    ]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    block = head + struct.pack(order + "H", len(main)) + b"".join(main) + bytes(4)
    block = block.ljust(100, b"\0") + struct.pack(order + "4I", 300, 1, 150, 1)
    return block + struct.pack(order + "H", len(below)) + b"".join(below) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_sizes_resolutions_and_places_turn_with_the_picture(order, kind):
    xmp = XMP.replace(
        b'tiff:Orientation="1"', b'tiff:Orientation="6" tiff:ImageWidth="40" tiff:ImageLength="24"'
    )
    data = saved(Image.fromarray(smooth(24, 40)), "PNG")
    picture = read(data)
    metadata = Metadata("PNG", exif=turnable_block(order, kind), xmp=xmp, dpi=(300.0, 150.0))
    buffer = io.BytesIO()
    write(Picture(picture.pixels, metadata=metadata), buffer, ".png")
    turned = read(buffer.getvalue())
    assert turned.pixels.shape == (40, 24, 3)
    assert [round(value) for value in turned.metadata.dpi] == [150, 300]
    found = read_directories(turned.metadata.exif)
    assert found.main[0x0112].number() == 1
    assert found.main[0x011A].data == struct.pack("<2I", 150, 1)
    assert found.main[0x011B].data == struct.pack("<2I", 300, 1)
    assert [found.below[EXIF][tag].number() for tag in (0xA002, 0xA003)] == [24, 40]
    # Stored at (10, 5) of 40 x 24; upright it lies 5 from the right and 10 from the top.
    assert found.below[EXIF][0x9214].data == struct.pack("<2H", 23 - 5, 10)
    assert b'tiff:ImageWidth="24" tiff:ImageLength="40"' in turned.metadata.xmp
    assert b'tiff:Orientation="1"' in turned.metadata.xmp


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


# --- HEIC --------------------------------------------------------------------------------


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
    with pytest.raises(MissingExtraError, match=r"\[heif\]"):
        read(b"\0\0\0\x18ftypheic" + bytes(40))
