"""PNG chunks: kept, converted, or named; damage to one of them does not cost the picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from pictures import noise, roundtrip, saved, smooth
from PIL import Image

from whet.image import Picture, read, write


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Insert behind the header, or behind the palette where there is one."""
    at = 33
    if data[37:41] == b"PLTE":
        at += 12 + int.from_bytes(data[33:37], "big")
    added = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return data[:at] + added + data[at:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return with_chunks(saved(Image.fromarray(smooth(24, 32)), "PNG"), *chunks)


def chunks(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found[kind] = data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def rewritten(data: bytes) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    buffer, picture = io.BytesIO(), read(data)
    notes = write(picture, buffer, ".png")
    return chunks(buffer.getvalue()), picture.metadata.notes + notes


TIME = struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5)


def test_time_background_and_what_may_be_copied_stay():
    result, notes = rewritten(
        png((b"tIME", TIME), (b"bKGD", struct.pack(">3H", 1, 2, 3)), (b"prVt", b"private"))
    )
    assert result[b"tIME"] == TIME
    assert result[b"bKGD"] == struct.pack(">3H", 1, 2, 3)
    assert result[b"prVt"] == b"private"
    assert notes == ()


def test_significant_bits_unknown_chunks_and_seals_go_with_a_note():
    result, notes = rewritten(png((b"sBIT", b"\5\6\5"), (b"prVT", b"x"), (b"caBX", b"manifest")))
    assert not {b"sBIT", b"prVT", b"caBX"} & set(result)
    assert ["sBIT" in notes[0], "Content Credentials" in notes[1], "prVT" in notes[2]] == [True] * 3


def test_the_background_of_a_palette_becomes_its_colour():
    image = Image.fromarray(smooth(24, 32)).quantize(16)
    colour = image.getpalette()[9:12]
    result, _ = rewritten(with_chunks(saved(image, "PNG"), (b"bKGD", b"\3")))
    assert struct.unpack(">3H", result[b"bKGD"]) == tuple(colour)


@pytest.mark.parametrize(
    "text", [b"\0\0", b"\0\0\0\0<x:xmpmeta", b"\1\0\0\0not deflated", b"\0\0\0\0" + b"<!DOCTYPE x>"]
)
def test_bad_xmp_does_not_cost_the_picture(text, capfd):
    data = png((b"iTXt", b"XML:com.adobe.xmp\0" + text))
    result, notes = rewritten(data)
    assert notes == ("the XMP is damaged and was left out; the picture is not",)
    assert b"iTXt" not in result
    assert capfd.readouterr() == ("", "")


def test_a_chunk_with_a_wrong_checksum_is_left_out_with_a_note():
    data = bytearray(png((b"tEXt", b"Comment\0hello")))
    data[data.index(b"hello")] ^= 1
    result, notes = rewritten(bytes(data))
    assert b"tEXt" not in result
    assert "the chunk tEXt is damaged" in notes[0]


@pytest.mark.parametrize("shape", [(300, 1), (5000, 2), (1, 3000), (2000, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gray", [False, True])
def test_thin_pictures_of_any_content_are_written(shape, dtype, gray):
    pixels = noise(*shape, dtype)
    if gray:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(roundtrip(Picture(pixels), ".png").pixels, pixels)


@pytest.mark.parametrize("mode", ["LA", "I;16"])
def test_gray_with_alpha_and_16_bits_stay_what_they_are(mode):
    pixels = np.repeat(noise(20, 30, np.uint16, 1), 3, axis=2)
    alpha = noise(20, 30, np.uint16)[..., 1:2] if mode == "LA" else None
    buffer = io.BytesIO()
    write(Picture(pixels, alpha), buffer, ".png")
    back = roundtrip(read(buffer.getvalue()), ".png")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (alpha is None)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "L"])
def test_interlaced_pictures_are_read_without_a_word_on_the_screen(kind, capfd):
    image = Image.fromarray(smooth(19, 23)).convert(kind)
    picture = read(interlaced(np.asarray(image.convert("RGB" if kind == "P" else kind))))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(picture.pixels, expected)
    assert capfd.readouterr() == ("", "")


def interlaced(array: np.ndarray) -> bytes:
    """Write Adam7 by hand (PNG specification, 8.2)."""
    array = array.reshape(*array.shape[:2], -1)
    height, width, channels = array.shape
    rows = []
    for left, top, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):  # fmt: skip
        rows += [b"\0" + row.tobytes() for row in array[top::down, left::across] if row.size]
    colour = {1: 0, 3: 2, 4: 6}[channels]
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 1)),
        (b"IDAT", zlib.compress(b"".join(rows))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
