"""TIFF written in bands of rows, in strips that no picture is too large for; floats as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from whet.image.exif import read_directories
from whet.image.formats.tiff_tags import append_directories, extra_tags
from whet.image.metadata import Metadata, Picture, Pixels, to_floats, to_gray

__all__ = ["encode", "regrouped", "write_bands"]

_BAND_ROWS = 256
_STRIP_BYTES = 2**20


def encode(picture: Picture, stream: BinaryIO, quality: int | None = None) -> None:
    """Write a whole TIFF; ``quality`` has no meaning here, as nothing is lost."""
    del quality
    height, width = picture.pixels.shape[:2]
    if picture.floats is not None:
        _write_floats(picture, stream)
        return

    def bands() -> Iterator[Pixels]:
        for row in range(0, height, _BAND_ROWS):
            band = picture.pixels[row : row + _BAND_ROWS]
            if picture.alpha is not None:
                alpha = picture.alpha[row : row + _BAND_ROWS]
                band = np.concatenate([band, alpha], axis=2)
            yield band

    channels = 3 if picture.alpha is None else 4
    shape = (height, width, channels)
    write_bands(stream, bands(), shape, picture.pixels.dtype, picture.metadata)


def regrouped(bands: Iterable[Pixels], rows: int) -> Iterator[Pixels]:
    """Cut bands of any height into bands of ``rows`` rows; the last may be shorter."""
    held: list[Pixels] = []
    count = 0
    for band in bands:
        held.append(band)
        count += len(band)
        if count < rows:
            continue
        joined = held[0] if len(held) == 1 else np.concatenate(held)
        whole = count - count % rows
        for row in range(0, whole, rows):
            yield np.ascontiguousarray(joined[row : row + rows])
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.ascontiguousarray(np.concatenate(held))


def write_bands(
    stream: BinaryIO,
    bands: Iterable[Pixels],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    metadata: Metadata,
) -> None:
    """Write (rows, W, 3 or 4) bands as one TIFF with everything in ``metadata``.

    Args:
        stream: open for reading and writing, empty.
        bands: from top to bottom.
        shape: (H, W, channels) of the whole.
        dtype: uint8 or uint16.
        metadata: ``gray`` and ``compressed`` decide the colour type and storage.
    """
    import imagecodecs
    import tifffile

    height, width, channels = shape
    channels -= 2 * metadata.gray

    def encoded(strip: Pixels) -> bytes:
        strip = to_gray(strip) if metadata.gray else strip
        if not metadata.compressed:
            return strip.tobytes()
        # Level 1 of libdeflate packs a photograph to 51%, level 6 to 49% in three times the time.
        differences = imagecodecs.delta_encode(strip, axis=1)
        return bytes(imagecodecs.deflate_encode(differences.tobytes(), level=1))

    rows = max(1, min(height, _STRIP_BYTES // (width * channels * dtype.itemsize)))
    raw_bytes = height * width * channels * dtype.itemsize
    big = raw_bytes > 2**32 - 2**25
    directories = read_directories(metadata.exif)
    with tifffile.TiffWriter(stream, bigtiff=big, byteorder="<") as writer:
        writer.write(
            map(encoded, regrouped(bands, rows)),
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=dtype,
            rowsperstrip=rows,
            predictor=True if metadata.compressed else None,
            **_options(channels, metadata, extra_tags(metadata, directories)),
        )
    append_directories(stream, directories, big=big)


def _options(channels: int, metadata: Metadata, tags: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return what tifffile's writer is told about any picture."""
    return {
        "photometric": "minisblack" if metadata.gray else "rgb",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "compression": "adobe_deflate" if metadata.compressed else None,
        "resolution": metadata.dpi,
        "resolutionunit": "INCH" if metadata.dpi else None,
        "iccprofile": metadata.icc,
        "extratags": tags,
        "metadata": None,
        "software": False,
    }


def _write_floats(picture: Picture, stream: BinaryIO) -> None:
    """Write floating point numbers, of the source's type."""
    import tifffile

    metadata, array = picture.metadata, to_floats(picture)
    if metadata.gray:
        array = array[..., :1]
    if picture.alpha is not None:
        alpha = (picture.alpha / np.iinfo(picture.alpha.dtype).max).astype(array.dtype)
        array = np.concatenate([array, alpha], axis=2)
    channels = array.shape[2]
    directories = read_directories(metadata.exif)
    with tifffile.TiffWriter(stream, byteorder="<") as writer:
        writer.write(
            np.ascontiguousarray(array[..., 0] if channels == 1 else array),
            **_options(channels, metadata, extra_tags(metadata, directories)),
        )
    append_directories(stream, directories, big=False)
