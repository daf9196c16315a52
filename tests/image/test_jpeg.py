"""JPEG: what stands beside the picture is kept or named, and damage is told from soundness."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from pictures import SRGB, exif_with, noise, roundtrip, saved, smooth
from PIL import Image

from whet.errors import ImageError
from whet.image import Picture, read, write
from whet.image.formats.jpeg import _taken_apart

RDF = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
END = b"</rdf:RDF></x:xmpmeta>"


def jpeg(**options: object) -> bytes:
    return saved(Image.fromarray(smooth(48, 64)), "JPEG", quality=90, **options)


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    added = b"".join(struct.pack(">BBH", 255, m, len(c) + 2) + c for m, c in segments)
    return data[:2] + added + data[2:]


def written(data: bytes, suffix: str = ".jpg") -> tuple[bytes, tuple[str, ...]]:
    buffer, picture = io.BytesIO(), read(data)
    notes = write(picture, buffer, suffix)
    return buffer.getvalue(), picture.metadata.notes + notes


def segments(data: bytes, marker: int) -> list[bytes]:
    return [content for kind, content in _taken_apart(data).segments if kind == marker]


def xmp(properties: bytes, body: bytes = b"") -> tuple[int, bytes]:
    packet = RDF + b'<rdf:Description rdf:about="" ' + properties + b">" + body
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet + b"</rdf:Description>" + END


def resource(number: int, content: bytes) -> bytes:
    padded = content + bytes(len(content) % 2)
    return struct.pack(">4sHHI", b"8BIM", number, 0, len(content)) + padded


# --- Kept ----------------------------------------------------------------------------------


def test_iptc_and_comment_stay_in_a_jpeg_and_the_thumbnail_goes():
    iptc = b"\x1c\x02\x19\x00\x04tree"
    block = b"Photoshop 3.0\0" + resource(0x0404, iptc) + resource(0x040C, b"old thumbnail")
    data = with_segments(jpeg(), (0xED, block), (0xFE, "Grüße".encode("latin-1")))
    result, notes = written(data)
    assert segments(result, 0xED) == [b"Photoshop 3.0\0" + resource(0x0404, iptc)]
    assert segments(result, 0xFE) == ["Grüße".encode("latin-1")]
    assert notes == ()
    as_png, notes = written(data, ".png")
    assert "IPTC" in notes[0]
    assert Image.open(io.BytesIO(as_png)).text["Comment"] == "Grüße"
    as_tiff, notes = written(data, ".tif")
    tags = Image.open(io.BytesIO(as_tiff)).tag_v2
    assert bytes(tags[33723]) == iptc
    assert "the comment" in notes[0]


def test_a_profile_in_several_segments_is_joined_and_split():
    icc = SRGB + bytes(200_000)
    icc = struct.pack(">I", len(icc)) + icc[4:]
    assert Image.open(io.BytesIO(written(jpeg(icc_profile=icc))[0])).info["icc_profile"] == icc


def test_long_xmp_is_split_in_a_jpeg_and_joined_elsewhere():
    text = b"x" * 150_000
    packet = RDF + b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    packet += b"<dc:rights>" + text + b"</dc:rights></rdf:Description>" + END
    info = Image.fromarray(smooth(8, 8))
    source = saved(info, "WEBP", xmp=packet, lossless=True)
    as_jpeg, notes = written(source, ".jpg")
    assert notes == ()
    parts = segments(as_jpeg, 0xE1)
    assert len(parts) == 4
    assert b"HasExtendedXMP" in parts[0]
    again = read(as_jpeg).metadata.xmp
    assert text in again
    assert b"HasExtendedXMP" not in again
    assert text in read(written(as_jpeg, ".png")[0]).metadata.xmp


# --- Left out with a note ------------------------------------------------------------------


def test_a_gain_map_goes_with_what_announces_it():
    hdrgm = xmp(b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"')
    data = with_segments(jpeg(), hdrgm, (0xE2, b"MPF\0" + bytes(40))) + jpeg()
    result, notes = written(data)
    assert "the gain map for HDR screens was left out" in notes[0]
    assert b"hdrgm:Version" not in result
    assert b"MPF\0" not in result
    assert _taken_apart(result).tail == b""


@pytest.mark.parametrize("announced", [False, True])
def test_a_motion_photo_loses_its_film_and_says_so(announced):
    camera = xmp(
        b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" '
        b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"'
    )
    film = b"\0\0\0\x18ftypmp42" + bytes(2000)
    result, notes = written((with_segments(jpeg(), camera) if announced else jpeg()) + film)
    assert notes == ("the short film behind the photograph was left out",)
    assert b"GCamera:MotionPhoto" not in result
    assert b"ftypmp42" not in result
    assert (b'xmp:Rating="4"' in result) == announced


def test_content_credentials_are_dropped_with_a_note():
    data = with_segments(
        jpeg(),
        (0xEB, b"JP\0\1\0\0\0\1" + bytes(60)),
        xmp(b'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="self#jumbf=c2pa"'),
    )
    result, notes = written(data)
    assert "Content Credentials" in notes[0]
    assert segments(result, 0xEB) == []
    assert b"jumbf" not in result


def test_damaged_exif_and_xmp_go_with_a_note_and_no_warning(recwarn, capfd):
    data = with_segments(
        jpeg(),
        (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x05"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),
    )
    result, notes = written(data)
    assert len(notes) == 2
    assert "EXIF is damaged" in notes[0]
    assert "XMP is damaged" in notes[1]
    assert segments(result, 0xE1) == []
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


# --- Damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_corrupt_scan_is_refused_or_restored_on_request(options):
    data = bytearray(saved(Image.fromarray(noise(120, 160)), "JPEG", quality=90, **options))
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    with pytest.raises(ImageError, match=r"damaged or incomplete"):
        read(bytes(data))
    picture = read(bytes(data), allow_damage=True)
    assert picture.pixels.shape == (120, 160, 3)
    assert "what could be read was restored" in picture.metadata.notes[0]


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_only_the_end_marker_may_lack(options):
    data = jpeg(**options)
    picture = read(data[:-2])
    np.testing.assert_array_equal(picture.pixels, read(data).pixels)
    assert picture.metadata.notes == ("the file lacks its end marker; its picture is complete",)
    for cut in (data[:-12], data[:-12] + b"\xff\xd9"):
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read(cut)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_sound_files_of_every_kind_are_accepted(mode, subsampling):
    image = Image.fromarray(smooth(61, 83)).convert(mode)
    for options in ({"optimize": True}, {"progressive": True}, {"restart_marker_rows": 1}):
        if mode != "L":
            options["subsampling"] = subsampling
        data = saved(image, "JPEG", **options)
        for behind in (b"", bytes(50)):
            assert not [n for n in read(data + behind).metadata.notes if "CMYK" not in n]


def test_a_large_file_is_checked_too(monkeypatch):
    monkeypatch.setattr("whet.image.formats.jpeg_scan._TRANSCODED_PX", 0)
    assert read(jpeg()).metadata.notes == ()
    assert "end marker" in read(jpeg()[:-2]).metadata.notes[0]
    for cut in (jpeg()[:-12] + b"\xff\xd9", jpeg()[:700] + b"\xff\xd9"):
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read(cut)


# --- More than 8 bits ----------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("gray", [False, True])
def test_lossless_jpeg_comes_back_exactly_at_its_depth(bits, gray):
    stored = noise(30, 41, np.uint16) >> (16 - bits)
    stored = np.ascontiguousarray(stored[..., 0] if gray else stored)
    stored = stored.astype(np.uint8 if bits == 8 else np.uint16)
    depth = {} if bits == 8 else {"bitspersample": bits}
    data = bytes(imagecodecs.jpeg8_encode(stored, lossless=True, **depth))
    result, notes = written(data)
    assert notes == ()
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(result), stored)


def test_12_bit_jpeg_keeps_its_depth_and_goes_into_16_bits_elsewhere():
    stored = smooth(40, 50, np.uint16) >> 4
    data = bytes(imagecodecs.jpeg8_encode(stored, bitspersample=12, level=95))
    back = imagecodecs.jpeg8_decode(written(data)[0])
    assert np.abs(back.astype(int) - stored).mean() < 40
    assert read(written(data, ".png")[0]).pixels.dtype == np.uint16


def test_exif_text_of_any_encoding_is_the_same_in_tiff():
    exif = exif_with(1)
    block = exif.tobytes().replace(b"Brunel", "Brünl".encode())
    result, _ = written(jpeg(exif=block), ".tif")
    assert "Brünl".encode() in result
    back = roundtrip(read(result), ".jpg")
    assert "Brünl".encode() in back.metadata.exif
    assert Picture(smooth(8, 8)).metadata.exif is None
