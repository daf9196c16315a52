"""JPEG, WebP, AVIF, BMP, GIF and odd TIFFs: what Pillow reads and writes faithfully."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from whet.errors import ImageError
from whet.image.metadata import (
    Metadata,
    Picture,
    animated,
    check_size,
    from_array,
    to_array,
    without_prefix,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["encode_avif", "encode_bmp", "encode_jpeg", "encode_webp", "reader"]

# Sum of the luminance quantisation table of ITU-T T.81, annex K, table K.1.
_JPEG_TABLE_SUM = 3688


def _jpeg_quality(tables: Mapping[int, Any] | None) -> int | None:
    """Estimate the libjpeg quality setting that made a file's luminance table."""
    if not tables:
        return None
    scale: float = 100 * sum(tables[min(tables)]) / _JPEG_TABLE_SUM
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return max(1, min(100, round(quality)))


def _webp_lossless(stream: BinaryIO) -> bool:
    """Walk the RIFF chunks of a WebP file to the one that names its coding."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"VP8L", b"VP8 "):
            return bool(kind == b"VP8L")
        stream.seek(length + length % 2, 1)
    return False


def _avif_deep(head: bytes) -> bool:
    """Whether an AVIF's configuration box (av1C) sets the high bit depth flag."""
    where = head.find(b"av1C")
    return 0 <= where < len(head) - 6 and bool(head[where + 6] & 0x40)


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
    if image.mode in ("1", "La", "RGBX", "YCbCr"):
        return image.convert({"1": "L", "La": "LA"}.get(image.mode, "RGB"))
    raise ImageError(
        f"pixels of the kind {image.mode!r} cannot be restored; "
        "convert the picture to 8 or 16 bit gray or RGB first"
    )


def reader(name: str) -> Callable[[BinaryIO, int], Picture]:
    """Return the reader for Pillow's format ``name``."""

    def decode(stream: BinaryIO, max_pixels: int) -> Picture:
        from PIL import Image

        Image.init()
        stream.seek(0)
        # The plugin is called directly: Image.open applies a limit that is global
        # to the process, and guesses formats that we do not want.
        image: Image.Image = Image.OPEN[name][0](stream, "")
        check_size(image.width, image.height, max_pixels)
        frames = getattr(image, "n_frames", 1)
        icc, notes = image.info.get("icc_profile"), []
        if frames > 1 and name != "JPEG":
            raise animated(frames)
        if frames > 1:  # a phone's extra views or gain map behind the photograph
            notes.append(f"the first of {frames} pictures in the file was taken")
        image.load()
        if image.mode == "CMYK":
            image, icc, note = _cmyk_to_rgb(image, icc)
            notes.append(note)
        if name == "AVIF":
            stream.seek(0)
            if _avif_deep(stream.read(4096)):
                notes.append("more than 8 bits per channel were reduced to 8")
        metadata = Metadata(
            name,
            icc=icc,
            exif=without_prefix(image.info.get("exif")),
            xmp=image.info.get("xmp"),
            dpi=_plausible_dpi(image.info.get("dpi")),
            quality=_jpeg_quality(getattr(image, "quantization", None)),
            lossless=name == "WEBP" and _webp_lossless(stream),
            notes=tuple(notes),
        )
        return from_array(np.asarray(_flat(image)), metadata)

    return decode


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


def encode_jpeg(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    if quality is None:
        quality = max(85, picture.metadata.quality or 95)
    _save("JPEG", picture, stream, quality=quality, subsampling="4:4:4")


def encode_webp(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    lossless = quality is None and picture.metadata.lossless
    # "exact" keeps the colour of transparent pixels.
    _save("WEBP", picture, stream, quality=quality or 95, lossless=lossless, exact=True)


def encode_avif(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    _save("AVIF", picture, stream, quality=quality or 90, subsampling="4:4:4")


def encode_bmp(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    del quality
    _save("BMP", picture, stream)
