"""WebP, BMP, GIF and odd TIFFs, and Pillow's images as pictures: what Pillow does faithfully."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from whet.errors import ImageError, Kind
from whet.image.exif import without_prefix
from whet.image.metadata import (
    Metadata,
    Picture,
    animated,
    check_size,
    from_array,
    from_floats,
    to_array,
)
from whet.image.notes import SEALED

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["encode_bmp", "encode_webp", "opened", "picture_of", "reader"]


def _webp_chunks(stream: BinaryIO) -> set[bytes]:
    """Walk the RIFF chunks of a WebP file, whose names tell its coding and what is in it."""
    stream.seek(12)
    kinds = set()
    while len(head := stream.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        kinds.add(kind)
        stream.seek(length + length % 2, 1)
    return kinds


def _cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, str]:
    """Convert by the file's profile to sRGB; without one, by plain arithmetic."""
    from PIL import ImageCms

    if icc is None:
        return image.convert("RGB"), None, "CMYK without a profile was converted to RGB roughly"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        note = "CMYK with an unusable profile was converted to RGB roughly"
        return image.convert("RGB"), None, note
    assert converted is not None
    return converted, srgb.tobytes(), "CMYK was converted to sRGB by its colour profile"


def picture_of(image: Image.Image, metadata: Metadata) -> Picture:
    """Return one of Pillow's images as a picture, of 8 bits, of 16, or of floats.

    Palettes become the colours they stand for and CMYK is converted by its profile, which a
    note says; ``metadata`` is that of the image.

    Raises:
        ImageError: the mode has no faithful form.
    """
    image.load()
    mode = image.mode
    if mode == "CMYK":
        image, icc, note = _cmyk_to_rgb(image, metadata.icc)
        metadata = replace(metadata, icc=icc, notes=(*metadata.notes, note))
    elif mode == "F":
        return from_floats(np.asarray(image), metadata)
    elif mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("pixels of the kind 'I' beyond 0 to 65535 cannot be restored; "
                             "scale them to 16 bits first", Kind.UNSUPPORTED)  # fmt: skip
        return from_array(values.astype(np.uint16), metadata)
    return from_array(np.asarray(_flat(image)), metadata)


def _flat(image: Image.Image) -> Image.Image:
    """Expand palettes and odd modes to L, LA, RGB or RGBA.

    Raises:
        ImageError: the mode has no faithful 8-bit form.
    """
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        if image.has_transparency_data and image.mode in ("L", "RGB"):
            return image.convert("LA" if image.mode == "L" else "RGBA")
        return image
    if image.mode in ("P", "PA", "RGBa"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("1", "La", "RGBX", "YCbCr", "HSV"):
        return image.convert({"1": "L", "La": "LA"}.get(image.mode, "RGB"))
    raise ImageError(
        f"pixels of the kind {image.mode!r} cannot be restored; "
        "convert the picture to 8 or 16 bit gray or RGB first"
    )


def reader(name: str) -> Callable[[BinaryIO, int], Picture]:
    """Return the reader for Pillow's format ``name``."""

    def decode(stream: BinaryIO, max_pixels: int) -> Picture:
        image = opened(name, stream, max_pixels)
        notes = [SEALED] if name == "WEBP" and b"C2PA" in _webp_chunks(stream) else []
        if name == "GIF" and image.info.get("comment"):
            notes.append("the comment in the GIF was left out")
        metadata = Metadata(
            name,
            icc=image.info.get("icc_profile"),
            exif=without_prefix(image.info.get("exif")),
            xmp=image.info.get("xmp"),
            dpi=_plausible_dpi(image.info.get("dpi")),
            lossless=name == "WEBP" and b"VP8L" in _webp_chunks(stream),
            notes=tuple(notes),
        )
        return picture_of(image, metadata)

    return decode


def opened(name: str, stream: BinaryIO, max_pixels: int) -> Image.Image:
    """Open a still picture with Pillow's reader ``name``, without decoding it.

    Raises:
        ImageError: it is too large, or an animation.
    """
    from PIL import Image

    Image.init()
    stream.seek(0)
    # The plugin is called directly: Image.open applies a limit that is global
    # to the process, and guesses formats that we do not want.
    image: Image.Image = Image.OPEN[name][0](stream, "")
    check_size(image.width, image.height, max_pixels)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise animated(frames)
    return image


def _plausible_dpi(dpi: Any) -> tuple[float, float] | None:
    return (float(dpi[0]), float(dpi[1])) if dpi and dpi[0] > 0 and dpi[1] > 0 else None


def _save(name: str, picture: Picture, stream: BinaryIO, **options: Any) -> None:
    """Encode with Pillow; metadata that the format cannot hold is Pillow's to ignore."""
    from PIL import Image

    metadata = picture.metadata
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    # Into memory first: Pillow's own file writing loses the reason of a failure.
    buffer = io.BytesIO()
    Image.fromarray(to_array(picture)).save(buffer, name, **options)
    stream.write(buffer.getbuffer())


def encode_webp(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    lossless = quality is None and picture.metadata.lossless and picture.metadata.format == "WEBP"
    # "exact" keeps the colour of transparent pixels.
    _save("WEBP", picture, stream, quality=quality or 95, lossless=lossless, exact=True)


def encode_bmp(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    del quality
    _save("BMP", picture, stream)
