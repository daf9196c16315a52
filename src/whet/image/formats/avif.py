"""AVIF of 8, 10 and 12 bits: pixels by imagecodecs, metadata by Pillow and as boxes."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from whet.image.exif import without_prefix
from whet.image.formats import pillow
from whet.image.isobmff import beside, cicp_of, depth_of, light_of, read_boxes
from whet.image.isobmff_items import with_items
from whet.image.metadata import Cicp, Metadata, Picture, from_array, to_array

__all__ = ["decode", "encode"]

_SRGB = Cicp(1, 13)
_UNKNOWN = Cicp(2, 2)


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    import imagecodecs

    image = pillow.opened("AVIF", stream, max_pixels)
    boxes = read_boxes(stream)
    bits = depth_of(boxes)
    mastering, light_level = light_of(boxes)
    metadata = Metadata(
        "AVIF",
        icc=image.info.get("icc_profile"),
        cicp=cicp_of(boxes),
        exif=without_prefix(image.info.get("exif")),
        xmp=image.info.get("xmp"),
        bits=bits if bits > 8 else None,
        mastering=mastering,
        light_level=light_level,
        notes=beside(boxes),
    )
    if bits == 8:
        return pillow.picture_of(image, metadata)
    stream.seek(0)
    array = np.asarray(imagecodecs.avif_decode(stream.read()))
    deep = np.rint(array.astype(np.float64) * (65535 / (2**bits - 1)))
    return from_array(deep.astype(np.uint16), metadata)


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    import imagecodecs

    metadata, array = picture.metadata, to_array(picture)
    bits = 8
    if array.dtype == np.uint16:
        bits = metadata.bits if metadata.bits in (10, 12) else 10
        array = np.rint(array.astype(np.float64) * ((2**bits - 1) / 65535)).astype(np.uint16)
    cicp = metadata.cicp or (_UNKNOWN if metadata.icc else _SRGB)
    encoded = imagecodecs.avif_encode(
        array,
        level=quality or 90,
        speed=6,
        bitspersample=bits,
        pixelformat="400" if array.ndim == 2 else "444",
        primaries=cicp.primaries,
        transfer=cicp.transfer,
        # H.273 has no matrix 3; 0 would store RGB itself, which takes far more bytes.
        matrix=9 if cicp.primaries == 9 else 6,
    )
    stream.write(_with_metadata(bytes(encoded), metadata))


def _with_metadata(encoded: bytes, metadata: Metadata) -> bytes:
    items, properties = [], []
    if metadata.exif:
        items.append((b"Exif", b"", bytes(4) + metadata.exif))
    if metadata.xmp:
        items.append((b"mime", b"application/rdf+xml", metadata.xmp))
    if metadata.icc:
        properties.append((b"colr", b"prof" + metadata.icc))
    if metadata.light_level:
        levels = (min(round(level), 65535) for level in metadata.light_level)
        properties.append((b"clli", b"".join(level.to_bytes(2, "big") for level in levels)))
    return with_items(encoded, items, properties)
