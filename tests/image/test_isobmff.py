"""What HEIC and AVIF hold beside their primary picture is named, and not written."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from pictures import noise, smooth
from PIL import Image

from whet.image import read, write
from whet.image.isobmff import beside, boxes_in, read_boxes
from whet.image.isobmff_items import with_items

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def avif() -> bytes:
    return bytes(imagecodecs.avif_encode(smooth(40, 60), level=90))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (box(b"uuid", C2PA + bytes(40)), "Content Credentials"),
        (box(b"mpvd", bytes(40)), "the short film beside the photograph was left out"),
    ],
)
def test_seals_and_films_are_named_and_gone(behind, said):
    picture = read(avif() + behind)
    assert said in picture.metadata.notes[0]
    buffer = io.BytesIO()
    write(picture, buffer, ".avif")
    assert [kind for kind, _ in boxes_in(buffer.getvalue())][:2] == ["ftyp", "meta"]
    assert read(buffer.getvalue()).metadata.notes == ()


def test_items_and_properties_are_added_where_other_readers_find_them():
    exif = Image.Exif()
    exif[0x010F] = "Brunel"
    block = exif.tobytes()[6:]
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    data = with_items(
        avif(),
        [(b"Exif", b"", bytes(4) + block), (b"mime", b"application/rdf+xml", packet)],
        [(b"clli", struct.pack(">HH", 1000, 400))],
    )
    np.testing.assert_array_equal(imagecodecs.avif_decode(data), imagecodecs.avif_decode(avif()))
    image = Image.open(io.BytesIO(data))
    assert image.getexif()[0x010F] == "Brunel"
    assert image.info["xmp"] == packet
    assert read_boxes(io.BytesIO(data)).all("clli") == (struct.pack(">HH", 1000, 400),)


def test_a_second_picture_of_a_heic_is_named():
    heif = pytest.importorskip("pillow_heif")
    two = heif.from_pillow(Image.fromarray(smooth(64, 64)))
    two.add_from_pillow(Image.fromarray(noise(64, 64)))
    buffer = io.BytesIO()
    two.save(buffer, quality=90)
    picture = read(buffer.getvalue())
    assert np.abs(picture.pixels.astype(int) - smooth(64, 64)).mean() < 9
    assert picture.metadata.notes == ("the primary picture was taken; 1 more were left out",)


@pytest.mark.parametrize("cut", [20, 60, 150, 250])
def test_a_damaged_directory_ends_in_what_could_be_read(cut):
    boxes = read_boxes(io.BytesIO(avif()[:cut]))
    assert isinstance(beside(boxes), tuple)
