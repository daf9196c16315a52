"""TIFF in bands of rows: 8 and 16 bit, gray and RGB, with alpha, of any size.

Pillow reads 16-bit RGB as 8-bit without a word, hence tifffile. Reading and
writing go band by band in one code path, whether the caller wants the whole
picture or streams a hundred megapixels through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError
from whet.image import pillow
from whet.image.metadata import Metadata, Picture, Pixels, check_size, to_gray
from whet.image.tiff_tags import append_ifds, extra_tags, parsed_exif, read_metadata

__all__ = ["TiffBands", "decode", "encode", "regrouped", "write_bands"]

# What tifffile has to say about odd tags does not belong on the user's screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_BAND_ROWS = 256
_STRIP_BYTES = 2**20


class TiffBands:
    """An open TIFF that yields its rows in bands, top to bottom.

    Args:
        stream: seekable, positioned anywhere.
        max_pixels: pictures with more pixels are refused.

    Attributes:
        height, width: in pixels, as stored; ``metadata.exif`` says how to turn them.
        channels: 3, or 4 where the file has alpha; a band is (rows, width, channels).
        dtype: uint8 or uint16.
        metadata: what travels beside the pixels.

    Raises:
        ImageError: several pages, too many pixels, or not 8 or 16 bit gray or RGB.
    """

    def __init__(self, stream: BinaryIO, max_pixels: int) -> None:
        import tifffile

        stream.seek(0)
        self._file: Any = tifffile.TiffFile(stream)
        pages: list[Any] = list(self._file.pages)
        pages = [page for page in pages if not page.is_reduced]
        if not pages:
            raise ImageError(
                "a raw camera file holds no finished picture; develop it to TIFF first"
            )
        if len(pages) != 1:
            raise ImageError(
                f"the TIFF holds {len(pages)} pages; whet restores single pictures: "
                "split it first, for instance with 'tiffsplit' or 'magick in.tif out-%d.tif'"
            )
        self._page: Any = pages[0].aspage()
        self.height, self.width = self._page.imagelength, self._page.imagewidth
        check_size(self.width, self.height, max_pixels)
        self.plain = self._is_plain()
        self.gray = self._page.photometric <= 1
        self._colours = 1 if self.gray else 3
        self.channels = 4 if self.plain and self._page.samplesperpixel > self._colours else 3
        self.dtype = np.dtype(self._page.dtype.name if self.plain else np.uint8)
        self.metadata = read_metadata(self._page, stream, gray=self.gray)

    def _is_plain(self) -> bool:
        """Whether the page is 8 or 16 bit gray or RGB with at most one extra channel."""
        page = self._page
        colours = {0: 1, 1: 1, 2: 3}.get(int(page.photometric))
        return (
            colours is not None
            and page.dtype in (np.uint8, np.uint16)
            and page.bitspersample in (8, 16)
            and colours <= page.samplesperpixel <= colours + 1
            and page.imagedepth == 1
        )

    def __iter__(self) -> Iterator[Pixels]:
        """Yield (rows, width, channels) bands.

        Raises:
            ImageError: the file ends before its last row.
        """
        page = self._page
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            yield self._as_rgb(np.moveaxis(page.asarray(), 0, -1))
        elif page.is_contiguous and page.is_final:
            yield from self._raw_rows()
        else:
            yield from self._segment_rows()

    def _raw_rows(self) -> Iterator[Pixels]:
        """Read rows that are stored as they are; no strip is too large for memory."""
        page = self._page
        dtype = page.dtype.newbyteorder(self._file.byteorder)
        row_bytes = self.width * page.samplesperpixel * dtype.itemsize
        handle = self._file.filehandle
        for row in range(0, self.height, _BAND_ROWS):
            rows = min(_BAND_ROWS, self.height - row)
            handle.seek(page.dataoffsets[0] + row * row_bytes)
            data = handle.read(rows * row_bytes)
            if len(data) < rows * row_bytes:
                raise ImageError(f"the file ends at row {row} of {self.height}; it is incomplete")
            yield self._as_rgb(np.frombuffer(data, dtype).reshape(rows, self.width, -1))

    def _segment_rows(self) -> Iterator[Pixels]:
        """Decode strips or tiles; tiles of one row of tiles make one band."""
        band: NDArray[Any] | None = None
        for data, (_, _, top, left, _), (_, rows, columns, _) in self._page.segments():
            if data is None:
                raise ImageError("a part of the picture is missing in the file")
            if left == 0:
                if band is not None:
                    yield self._as_rgb(band)
                rows = min(rows, self.height - top)
                band = np.empty((rows, self.width, data.shape[-1]), data.dtype)
            assert band is not None
            right = min(left + columns, self.width)
            band[:, left:right] = data[0, : len(band), : right - left]
        if band is not None:
            yield self._as_rgb(band)

    def _as_rgb(self, band: NDArray[Any]) -> Pixels:
        """Return native RGB or RGBA, white bright, alpha not multiplied in."""
        band = band.reshape(len(band), self.width, -1)
        colour = band[..., : self._colours].astype(self.dtype, copy=False)
        if self._page.photometric == 0:
            colour = np.iinfo(self.dtype).max - colour
        if self.gray:
            colour = np.repeat(colour, 3, axis=2)
        if self.channels == 3:
            return np.ascontiguousarray(colour)
        alpha = band[..., self._colours :].astype(self.dtype, copy=False)
        if self._page.extrasamples[:1] == (1,):
            colour = _divided(colour, alpha)
        return np.concatenate([colour, alpha], axis=2)


def _divided(colour: Pixels, alpha: Pixels) -> Pixels:
    """Undo the multiplication of colour by alpha (TIFF's associated alpha)."""
    peak = np.iinfo(colour.dtype).max
    straight = colour.astype(np.float64) * peak / np.maximum(alpha, 1)
    return np.rint(np.minimum(straight, peak)).astype(colour.dtype)


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    """Read a whole TIFF; Pillow takes palettes, bilevel, CMYK and the like.

    Raises:
        ImageError: see :class:`TiffBands`.
    """
    bands = TiffBands(stream, max_pixels)
    if not bands.plain:
        return pillow.reader("TIFF")(stream, max_pixels)
    whole = np.empty((bands.height, bands.width, bands.channels), bands.dtype)
    row = 0
    for band in bands:
        whole[row : row + len(band)] = band
        row += len(band)
    if row != bands.height:
        raise ImageError(f"the file ends at row {row} of {bands.height}; it is incomplete")
    if bands.channels == 3:
        return Picture(whole, None, bands.metadata)
    return Picture(
        np.ascontiguousarray(whole[..., :3]), np.ascontiguousarray(whole[..., 3:]), bands.metadata
    )


def encode(picture: Picture, stream: BinaryIO, quality: int | None = None) -> None:
    """Write a whole TIFF; ``quality`` has no meaning here, as nothing is lost."""
    del quality
    height, width = picture.pixels.shape[:2]

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
    exif = parsed_exif(metadata.exif)

    def encoded(strip: Pixels) -> bytes:
        strip = to_gray(strip) if metadata.gray else strip
        if not metadata.compressed:
            return strip.tobytes()
        # Level 1 of libdeflate packs a photograph to 51%, level 6 to 49% in three times the time.
        differences = imagecodecs.delta_encode(strip, axis=1)
        return bytes(imagecodecs.deflate_encode(differences.tobytes(), level=1))

    rows = max(1, min(height, _STRIP_BYTES // (width * channels * dtype.itemsize)))
    raw_bytes = height * width * channels * dtype.itemsize
    with tifffile.TiffWriter(stream, bigtiff=raw_bytes > 2**32 - 2**25) as writer:
        writer.write(
            map(encoded, regrouped(bands, rows)),
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=dtype,
            photometric="minisblack" if metadata.gray else "rgb",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            rowsperstrip=rows,
            compression="adobe_deflate" if metadata.compressed else None,
            predictor=True if metadata.compressed else None,
            resolution=metadata.dpi,
            resolutionunit="INCH" if metadata.dpi else None,
            iccprofile=metadata.icc,
            extratags=extra_tags(metadata, exif),
            metadata=None,
            software=False,
        )
    if raw_bytes <= 2**32 - 2**25:
        append_ifds(stream, exif)
