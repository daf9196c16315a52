"""HEIC and HEIF, 8 to 12 bit, by the optional package pillow-heif (extra ``heif``)."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from whet.errors import MissingExtraError
from whet.image.exif import without_prefix
from whet.image.exif_upright import orientation_of
from whet.image.isobmff import beside, chroma_of, cicp_of, depth_of, light_of, read_boxes
from whet.image.metadata import (
    Metadata,
    Picture,
    check_size,
    from_array,
    marked_upright,
    to_array,
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
    boxes = read_boxes(stream)
    bits = depth_of(boxes)
    mastering, light_level = light_of(boxes)
    metadata = Metadata(
        "HEIF",
        icc=image.info.get("icc_profile"),
        cicp=cicp_of(boxes),
        exif=without_prefix(image.info.get("exif")),
        xmp=image.info.get("xmp"),
        bits=bits if bits > 8 else None,
        chroma=chroma_of(boxes),
        mastering=mastering,
        light_level=light_level,
        notes=beside(boxes),
    )
    orientation = orientation_of(metadata.exif) or 1
    if orientation >= 5:
        width, height = height, width
    # The decoder has turned the pixels, as the file's own boxes say; EXIF says it again.
    metadata = marked_upright(metadata, orientation, width, height)
    return from_array(np.asarray(image), metadata)


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    array, metadata = to_array(picture), picture.metadata
    mode = {2: "L", 3: "RGB", 4: "RGBA"}[array.shape[-1] if array.ndim == 3 else 2]
    chroma = metadata.chroma if metadata.chroma in ("420", "422") else "444"
    options: dict[str, Any] = {"quality": quality or 90, "chroma": int(chroma)}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if metadata.cicp:
        options |= {
            "color_primaries": metadata.cicp.primaries,
            "transfer_characteristics": metadata.cicp.transfer,
            "matrix_coefficients": 9 if metadata.cicp.primaries == 9 else 6,
        }
    options |= _light(metadata)
    if array.dtype == np.uint16:
        mode += ";16"
    buffer = io.BytesIO()
    _heif().encode(mode, array.shape[1::-1], array.tobytes(), buffer, **options)
    stream.write(buffer.getbuffer())


def _light(metadata: Metadata) -> dict[str, Any]:
    """Return mastering display and light level as pillow-heif takes them."""
    options: dict[str, Any] = {}
    if metadata.light_level:
        most, average = (min(round(level), 65535) for level in metadata.light_level)
        options["content_light_level"] = {
            "max_content_light_level": most,
            "max_pic_average_light_level": average,
        }
    if metadata.mastering:
        red, green, blue = (metadata.mastering[at : at + 2] for at in (0, 2, 4))
        order = (green, blue, red)  # as the box holds them
        options["mastering_display_colour_volume"] = {
            "display_primaries_x": [x for x, _ in order],
            "display_primaries_y": [y for _, y in order],
            "white_point_x": metadata.mastering[6],
            "white_point_y": metadata.mastering[7],
            "max_display_mastering_luminance": metadata.mastering[8],
            "min_display_mastering_luminance": metadata.mastering[9],
        }
    return options
