"""Frames as RGB, and what became of them back in the format that they came in.

Frames become RGB by the matrix and range that the file states; where it states none, BT.709 from
720 lines upwards and BT.601 below, as players do. FFmpeg's fast way to packed RGB darkens by 1.1
levels of 255 (measured on a 720p clip, there and back); the way over planar RGB with exact
rounding shifts by 0.000 for 3 ms more per 720p frame, and is the one used.

Back goes the change alone: both pictures, before and after, are converted, and the difference is
added to the frame as it came. So what restoration leaves alone stays as it was to the bit:
values that RGB cannot hold (below black, above white), colour at its own resolution, fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from whet.image import Pixels
from whet.video.decode.fields import lines, split, weave

__all__ = ["TO_RGB", "RgbWay", "add_change", "colours", "is_rgb", "matrix_for", "overwrite"]

TO_RGB = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
"""How swscale is to convert; see the module's second paragraph."""

# Exact rounding changes nothing measurable in this direction and takes twice the time.
_TO_YUV = Interpolation.BICUBIC

_BT709, _BT601, _BT2020 = 1, 5, 9  # as swscale numbers matrices
# AVColorSpace -> swscale's number; both kinds of BT.601 have one matrix.
_MATRICES: Mapping[int, int] = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
_PRIMARIES_BT2020 = 9


def matrix_for(height: int) -> int:
    """Return the matrix that players take for untagged video, as swscale numbers it."""
    return _BT709 if height >= 720 else _BT601


def is_rgb(format: Any) -> bool:
    """Return whether a pixel format of FFmpeg's holds RGB, a palette included."""
    return bool(format.is_rgb or format.has_palette)


def colours(frame: Any) -> tuple[int, bool]:
    """Return how a decoded frame relates to RGB: swscale's matrix, and whether full range.

    For a frame that is RGB, the matrix and range that video made of it gets.
    """
    if is_rgb(frame.format):
        wide = int(frame.color_primaries) == _PRIMARIES_BT2020
        return (_BT2020 if wide else _BT709), False
    matrix = _MATRICES.get(int(frame.colorspace), matrix_for(frame.height))
    stated = int(frame.color_range) == ColorRange.JPEG
    return matrix, stated or frame.format.name.startswith("yuvj")


class RgbWay:
    """Converts the frames of one video; belongs to one thread.

    Args:
        matrix: as swscale numbers them.
        full_range: black is 0 and white the largest value.
        deep: RGB has 16 bits, not 8.
    """

    def __init__(self, matrix: int, full_range: bool, deep: bool) -> None:
        self._matrix, self._deep = matrix, deep
        self._range = ColorRange.JPEG if full_range else ColorRange.MPEG
        self._reformatter = VideoReformatter()

    def to_rgb(self, frame: Any, *, fields: bool = False) -> Pixels:
        """Return a decoded frame as (H, W, 3) uint8 or uint16, C-contiguous.

        Args:
            frame: in any format.
            fields: it holds two, whose colours are not to be mixed.
        """
        if not fields:
            return self._to_rgb(frame)
        top, bottom = (self._to_rgb(field) for field in split(frame))
        rgb = np.empty((frame.height, frame.width, 3), top.dtype)
        rgb[0::2], rgb[1::2] = top, bottom
        return rgb

    def _to_rgb(self, frame: Any) -> Pixels:
        rgb = self._reformatter.reformat(
            frame,
            format="rgb48le" if self._deep else "gbrp",
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=ColorRange.JPEG if is_rgb(frame.format) else self._range,
            dst_color_range=ColorRange.JPEG,
            interpolation=TO_RGB,
        )
        return np.ascontiguousarray(rgb.to_ndarray())

    def from_rgb(self, pixels: Pixels, format: str) -> Any:
        """Return RGB as a frame in ``format``."""
        pixels = np.ascontiguousarray(pixels)
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(pixels, "rgb24" if pixels.dtype == np.uint8 else "rgb48le"),
            format=format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=self._to(format),
            interpolation=_TO_YUV,
        )

    def to_format(self, frame: Any, format: str, *, fields: bool = False) -> Any:
        """Return a decoded frame in another format, with all that it carries beside its pixels."""
        converted = self._reformatted(frame, format)
        if fields:
            top, bottom = (self._reformatted(field, format) for field in split(frame))
            weave(converted, top, bottom)
        return converted

    def _reformatted(self, frame: Any, format: str) -> Any:
        return self._reformatter.reformat(
            frame,
            format=format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=ColorRange.JPEG if is_rgb(frame.format) else self._range,
            dst_color_range=self._to(format),
            interpolation=TO_RGB,
        )

    def _to(self, format: str) -> ColorRange:
        return ColorRange.JPEG if is_rgb(av.VideoFormat(format)) else self._range

    def change(self, frame: Any, before: Pixels, after: Pixels, *, fields: bool = False) -> None:
        """Add to a frame, in place, what restoration changed.

        Args:
            frame: in the format to write; its memory is its own.
            before: RGB of what it shows.
            after: RGB of what it is to show.
            fields: rows belong to two fields in turn.
        """
        steps = ((0, 2), (1, 2)) if fields else ((0, 1),)
        for first, step in steps:
            old, new = (self.from_rgb(p[first::step], frame.format.name) for p in (before, after))
            add_change(frame, old, new, first, step)


def add_change(frame: Any, before: Any, after: Any, first: int = 0, step: int = 1) -> None:
    """Add ``after - before`` to every ``step``-th line of a frame of the same format, in place."""
    bits = max(part.bits for part in frame.format.components)
    kind = np.uint16 if bits > 8 else np.uint8
    high = re.match(r"p[024]1", frame.format.name)  # P010 and its like hold values in high bits
    peak = np.iinfo(kind).max if high else 2**bits - 1
    for target, old, new in zip(frame.planes, before.planes, after.planes, strict=True):
        values, was, becomes = (_values(plane, kind) for plane in (target, old, new))
        lines = values[first::step]
        width = min(lines.shape[1], was.shape[1])
        height = len(lines)
        change = becomes[:height, :width].astype(np.int32) - was[:height, :width]
        lines[:, :width] = np.clip(lines[:, :width] + change, 0, peak)


def overwrite(frame: Any, shown: Any) -> None:
    """Let a frame show what another one of the same format and size does."""
    for plane, other in zip(frame.planes, shown.planes, strict=True):
        target, source = lines(plane), lines(other)
        width = min(target.shape[1], source.shape[1])
        target[:, :width] = source[:, :width]


def _values(plane: Any, kind: type) -> NDArray[Any]:
    return np.frombuffer(plane, kind).reshape(plane.height, -1)
