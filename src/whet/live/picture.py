"""What travels through a live run: 4:2:0 planes, and the form that all frames of it share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from whet.graph.yuv420_io import Colours
from whet.runtime.yuv420 import FORMATS, Planes
from whet.video.decode.rgb import colours, is_rgb

__all__ = ["Form", "ToPlanes", "even", "split"]

_UNSPECIFIED = 2  # AVCOL_PRI_UNSPECIFIED, AVCOL_TRC_UNSPECIFIED
_EXACTLY = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
_RANGES: Mapping[bool, ColorRange] = {True: ColorRange.JPEG, False: ColorRange.MPEG}


@dataclass(frozen=True)
class Form:
    """What all frames of a run have in common.

    Attributes:
        width, height: in pixels, upright.
        matrix: how YUV relates to RGB, as swscale numbers it.
        full_range: black is 0 and white 255; else 16 and 235.
        aspect: width of a pixel by its height.
        primaries, transfer: FFmpeg's numbers.
        sound: the source has sound that is wanted.
    """

    width: int
    height: int
    matrix: int = 1
    full_range: bool = False
    aspect: Fraction = Fraction(1)
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    sound: bool = False

    @property
    def colours(self) -> Colours:
        """How the planes relate to RGB."""
        return Colours(self.matrix, self.full_range)


class ToPlanes:
    """Brings decoded frames of any kind into the form of the first: 4:2:0, 8 bits, upright.

    Args:
        first: the first frame.
        aspect: of its pixels as they are stored; None where the source does not say.
        sound: goes into the form.
    """

    def __init__(self, first: Any, aspect: Fraction | None, *, sound: bool = False) -> None:
        self._size = (first.width, first.height)
        self._colours = colours(first)
        self._turns = round(first.rotation / 90) % 4
        self._reformatter = VideoReformatter()
        width, height = self._size[::-1] if self._turns % 2 else self._size
        shape = aspect or Fraction(1)
        self.form = Form(
            width,
            height,
            *self._colours,
            aspect=1 / shape if self._turns % 2 else shape,
            primaries=int(first.color_primaries),
            transfer=int(first.color_trc),
            sound=sound,
        )

    def __call__(self, frame: Any) -> Planes:
        """Return the planes of a frame: its own memory where nothing has to change."""
        same = (frame.width, frame.height) == self._size and colours(frame) == self._colours
        if same and frame.format.name == FORMATS[0]:
            planes = Planes(frame)
        elif same and frame.format.name in FORMATS:
            # One layout with two names, between which FFmpeg would convert the range.
            planes = _copied(Planes(frame))
        else:
            planes = Planes(self._converted(frame))
        if not self._turns:
            return planes
        upright = Planes.empty(self.form.height, self.form.width)
        for target, plane in zip(upright, planes, strict=True):
            target[:] = np.rot90(plane, self._turns)
        return upright

    def _converted(self, frame: Any) -> Any:
        matrix, full_range = colours(frame)
        return self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format=FORMATS[0],
            src_colorspace=matrix,
            dst_colorspace=self._colours[0],
            src_color_range=_RANGES[full_range or is_rgb(frame.format)],
            dst_color_range=_RANGES[self._colours[1]],
            interpolation=_EXACTLY,
        )


def _copied(planes: Planes) -> Planes:
    copy = Planes.empty(*planes.shape)
    for target, plane in zip(copy, planes, strict=True):
        target[:] = plane
    return copy


def even(planes: Planes) -> Planes:
    """Return planes of even sides, as encoders and cameras take them: a line may be cut."""
    height, width = planes.shape
    if height % 2 == width % 2 == 0:
        return planes
    cut = Planes.empty(height & ~1, width & ~1)
    for target, plane in zip(cut, planes, strict=True):
        target[:] = plane[: target.shape[0], : target.shape[1]]
    return cut


def split(degraded: Planes, restored: Planes) -> Planes:
    """Return the left half of ``degraded`` beside the right half of ``restored``, a line between.

    Neither is changed.
    """
    view = _copied(restored)
    middle = degraded.shape[1] // 4  # in samples of colour
    for index, (target, before) in enumerate(zip(view, degraded, strict=True)):
        samples = 1 if index else 2
        target[:, : middle * samples] = before[:, : middle * samples]
        target[:, middle * samples : (middle + 1) * samples] = 128 if index else 235
    return view
