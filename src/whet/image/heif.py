"""HEIC and HEIF, 8 and 10 bit, by the optional package pillow-heif (extra ``heif``)."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from whet.errors import MissingExtraError
from whet.image.metadata import (
    Metadata,
    Picture,
    check_size,
    from_array,
    marked_upright,
    to_array,
    without_prefix,
)

__all__ = ["decode", "encode"]


def _heif() -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise MissingExtraError("pillow-heif, which reads HEIC,", "heif") from None
    return pillow_heif


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    stream.seek(0)
    image = _heif().open_heif(stream, convert_hdr_to_8bit=False)
    width, height = image.size
    check_size(width, height, max_pixels)
    exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    metadata = Metadata(
        "HEIF",
        icc=icc,
        exif=without_prefix(exif),
        xmp=image.info.get("xmp"),
        notes=("the file's primary picture was taken",) if len(image) > 1 else (),
    )
    return from_array(np.asarray(image), marked_upright(metadata))  # the decoder has turned it


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    array = to_array(picture)
    mode = {2: "L", 3: "RGB", 4: "RGBA"}[array.shape[-1] if array.ndim == 3 else 2]
    options: dict[str, Any] = {"quality": quality or 90, "chroma": 444}
    if picture.metadata.icc:
        options["icc_profile"] = picture.metadata.icc
    if picture.metadata.exif:
        options["exif"] = b"Exif\0\0" + picture.metadata.exif
    if picture.metadata.xmp:
        options["xmp"] = picture.metadata.xmp
    if array.dtype == np.uint16:
        mode += ";16"
    buffer = io.BytesIO()
    _heif().encode(mode, array.shape[1::-1], array.tobytes(), buffer, **options)
    stream.write(buffer.getbuffer())
