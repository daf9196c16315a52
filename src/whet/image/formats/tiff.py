"""TIFF in bands of rows: 8 and 16 bit, gray and RGB, with alpha, of any size; floats as a whole.

Pillow reads 16-bit RGB as 8-bit without a word, hence tifffile. Reading and
writing go band by band in one code path, whether the caller wants the whole
picture or streams a hundred megapixels through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError, Kind
from whet.image.exif import chain_length
from whet.image.formats import pillow
from whet.image.formats.tiff_tags import read_metadata
from whet.image.metadata import (
    Picture,
    Pixels,
    check_size,
    from_array,
    from_floats,
)

__all__ = ["TiffBands", "decode"]

# What tifffile has to say about odd tags does not belong on the user's screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_BAND_ROWS = 256
_MOST_DIRECTORIES = 256  # a picture and its smaller copies need a dozen


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

        if chain_length(stream, _MOST_DIRECTORIES) > _MOST_DIRECTORIES:
            raise ImageError(
                f"the TIFF holds more than {_MOST_DIRECTORIES} directories; "
                "split it into single pictures first"
            )
        stream.seek(0)
        self._file: Any = tifffile.TiffFile(stream)
        pages: list[Any] = list(self._file.pages)
        pages = [page for page in pages if not page.is_reduced]
        if not pages:
            raise ImageError(
                "a raw camera file holds no finished picture; develop it to TIFF first",
                Kind.UNSUPPORTED,
            )
        if len(pages) != 1:
            raise ImageError(
                f"the TIFF holds {len(pages)} pages; whet restores single pictures: "
                "split it first, for instance with 'tiffsplit' or 'magick in.tif out-%d.tif'",
                Kind.UNSUPPORTED,
            )
        self._page: Any = pages[0].aspage()
        self.height, self.width = self._page.imagelength, self._page.imagewidth
        check_size(self.width, self.height, max_pixels)
        self.gray = self._page.photometric <= 1
        self._colours = 1 if self.gray else 3
        self._alpha = self._alpha_channel()
        self.plain = self._is_plain()
        self.channels = 4 if self.plain and self._alpha is not None else 3
        self.dtype = np.dtype(self._page.dtype.name if self.plain else np.uint8)
        self.metadata = read_metadata(self._page, stream, gray=self.gray)
        self.metadata = replace(self.metadata, notes=self.metadata.notes + self._unkept())

    def _alpha_channel(self) -> int | None:
        """Return the number of the channel that is alpha; the first extra one unless told."""
        extras = self._page.samplesperpixel - self._colours
        kinds = tuple(self._page.extrasamples[:extras]) or (0,) * extras
        told = [number for number, kind in enumerate(kinds) if kind in (1, 2)]
        if extras < 1:
            return None
        return self._colours + (told[0] if told else 0)

    def _unkept(self) -> tuple[str, ...]:
        """Say which channels are left out."""
        left = self._page.samplesperpixel - self._colours - (self._alpha is not None)
        if self._page.photometric > 2 or left < 1:
            return ()
        return (f"{left} further channel{'s' * (left > 1)} beside colour and alpha left out",)

    def _is_plain(self) -> bool:
        """Whether the page is 8 or 16 bit gray or RGB."""
        page = self._page
        return (
            self.numeric and page.dtype in (np.uint8, np.uint16) and page.bitspersample in (8, 16)
        )

    @property
    def numeric(self) -> bool:
        """Whether the page's numbers are gray or RGB, of any type and depth but one bit."""
        page = self._page
        return (
            int(page.photometric) in (0, 1, 2)
            and page.dtype is not None
            and page.bitspersample != 1
            and self._colours <= page.samplesperpixel
            and page.imagedepth == 1
        )

    @property
    def kind(self) -> str:
        """The true name of the pixels, for people."""
        page = self._page
        return f"{page.bitspersample}-bit {page.photometric.name.lower()} ({page.dtype})"

    def whole(self) -> NDArray[Any]:
        """Return colour and alpha as the file's own numbers, (H, W, 1 to 4)."""
        array = self._page.asarray()
        if self._page.planarconfig == 2 and self._page.samplesperpixel > 1:
            array = np.moveaxis(array, 0, -1)
        array = array.reshape(self.height, self.width, -1)
        channels = [*range(self._colours), *([] if self._alpha is None else [self._alpha])]
        return np.ascontiguousarray(array[..., channels])

    @property
    def number_type(self) -> np.dtype[Any]:
        """Type of the file's numbers."""
        kind: np.dtype[Any] = np.dtype(self._page.dtype)
        return kind

    @property
    def bits(self) -> int:
        """Bits per channel, as the file says."""
        return int(self._page.bitspersample)

    @property
    def inverted(self) -> bool:
        """Whether 0 is white."""
        return int(self._page.photometric) == 0

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
                raise ImageError(
                    f"the file ends at row {row} of {self.height}; it is incomplete", Kind.DAMAGED
                )
            yield self._as_rgb(np.frombuffer(data, dtype).reshape(rows, self.width, -1))

    def _segment_rows(self) -> Iterator[Pixels]:
        """Decode strips or tiles; tiles of one row of tiles make one band."""
        band: NDArray[Any] | None = None
        for data, (_, _, top, left, _), (_, rows, columns, _) in self._page.segments():
            if data is None:
                raise ImageError("a part of the picture is missing in the file", Kind.DAMAGED)
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
        assert self._alpha is not None
        alpha = band[..., self._alpha : self._alpha + 1].astype(self.dtype, copy=False)
        if self._page.extrasamples[self._alpha - self._colours :][:1] == (1,):
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
        return _odd(bands, stream, max_pixels)
    whole = np.empty((bands.height, bands.width, bands.channels), bands.dtype)
    row = 0
    for band in bands:
        whole[row : row + len(band)] = band
        row += len(band)
    if row != bands.height:
        raise ImageError(
            f"the file ends at row {row} of {bands.height}; it is incomplete", Kind.DAMAGED
        )
    if bands.channels == 3:
        return Picture(whole, None, bands.metadata)
    return Picture(
        np.ascontiguousarray(whole[..., :3]), np.ascontiguousarray(whole[..., 3:]), bands.metadata
    )


def _odd(bands: TiffBands, stream: BinaryIO, max_pixels: int) -> Picture:
    """Read floats and depths between 2 and 15 bits; Pillow takes palettes, inks and the like."""
    if bands.numeric and np.issubdtype(bands.number_type, np.floating):
        return from_floats(bands.whole(), bands.metadata)
    if bands.numeric and bands.number_type in (np.uint8, np.uint16):
        target: np.dtype[Any] = np.dtype(np.uint8 if bands.bits < 8 else np.uint16)
        peak, top = 2**bands.bits - 1, np.iinfo(target).max
        values = bands.whole().astype(np.float64)
        if bands.inverted:
            values[..., 0] = peak - values[..., 0]
        array = np.rint(values * (top / peak)).astype(target)
        note = f"{bands.bits} bits per channel are written in {target.itemsize * 8}"
        metadata = bands.metadata
        bits = bands.bits if bands.bits > 8 else None
        return from_array(array, replace(metadata, bits=bits, notes=(*metadata.notes, note)))
    refusal = ImageError(
        f"pixels of the kind {bands.kind} cannot be restored; "
        "convert the picture to 8 or 16 bit gray or RGB first"
    )
    if bands.numeric:
        raise refusal
    try:
        image = pillow.opened("TIFF", stream, max_pixels)
    except (SyntaxError, KeyError) as error:
        raise refusal from error
    metadata = bands.metadata
    if bands.bits > 8:
        note = f"{bands.bits} bits per channel of {bands.kind} were reduced to 8"
        metadata = replace(metadata, notes=(*metadata.notes, note))
    return pillow.picture_of(image, metadata)
