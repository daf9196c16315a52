"""Pictures to test with."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from whet.image import Picture, read, write

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="1" rdf:about=""/>'
    b"</rdf:RDF></x:xmpmeta>"
)


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
