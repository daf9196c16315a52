"""Interlaced video: two pictures in one frame, one in its even lines and a later one in its odd.

A network that is shown both at once takes the combs between them for edges and smears them. So
fields are restored each for itself, as pictures of half the height, and woven again; or the frame
is deinterlaced first, into one picture for each field.

Combs are looked for too: telecined films and careless conversions hold fields and do not say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.error import BlockingIOError as NoFrameYetError
from av.filter import Graph
from numpy.typing import NDArray

__all__ = ["CombFinder", "Copier", "Deinterlacer", "combed", "lines", "split", "top_first", "weave"]

Lines = NDArray[np.uint8]

_COMB_LEVELS = 5  # of 255 by which a line stands out from both its neighbours
_COMB_LINES, _COMB_COLUMNS = 4, 3  # beside each other: a thin line is no comb, and noise is none
_COMB_SHARE = 0.0003  # of the values looked at; four progressive clips reach 0.00001
_STRIPS, _STRIP_PX = 16, 8
_HOLD_FRAMES = 12


def lines(plane: Any) -> Lines:
    """Return the lines of a plane of FFmpeg's, padding included: (height, bytes), a view."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)


def split(frame: Any) -> tuple[Any, Any]:
    """Return the top and the bottom field of a frame, as frames of their own.

    In 4:2:0 every other line of colour belongs to a field, too. Where a field has fewer of them
    than its height asks for, its last one stands twice.
    """
    fields = []
    for first, height in ((0, (frame.height + 1) // 2), (1, frame.height // 2)):
        field = av.VideoFrame(frame.width, height, frame.format.name)
        for whole, half in zip(frame.planes, field.planes, strict=True):
            source, target = lines(whole)[first::2], lines(half)
            width = min(source.shape[1], target.shape[1])
            target[: len(source), :width] = source[:, :width]
            target[len(source) :] = target[len(source) - 1]
        fields.append(field)
    return fields[0], fields[1]


def weave(frame: Any, top: Any, bottom: Any) -> None:
    """Write two fields into the lines of a frame; inverts :func:`split`."""
    for first, field in ((0, top), (1, bottom)):
        for whole, half in zip(frame.planes, field.planes, strict=True):
            target, source = lines(whole)[first::2], lines(half)
            width = min(source.shape[1], target.shape[1])
            target[:, :width] = source[: len(target), :width]


def combed(luma: NDArray[Any]) -> bool:
    """Return whether a frame shows the combs of two pictures in one.

    Args:
        luma: (H, W) uint8, or uint16 of any depth whose largest value is at most 65535.
    """
    height, width = luma.shape
    if height < 2 * _COMB_LINES or width < _STRIP_PX:
        return False
    lefts = np.linspace(0, width - _STRIP_PX, min(_STRIPS, width // _STRIP_PX)).astype(int)
    strips = np.stack([luma[:, left : left + _STRIP_PX] for left in lefts])
    values = strips.astype(np.int16 if luma.dtype == np.uint8 else np.int32)
    step = np.diff(values, axis=1)
    above, below = step[:, :-1], step[:, 1:]  # a tooth goes up and down again, or down and up
    least = np.minimum(np.abs(above), np.abs(below))
    teeth = ((above > 0) != (below > 0)) & (least >= _COMB_LEVELS * _unit(luma))
    teeth &= np.abs(above + below) < least  # both neighbours are of one field
    run = teeth.shape[1] - _COMB_LINES + 1
    combs = teeth[:, :run].copy()
    for start in range(1, _COMB_LINES):
        combs &= teeth[:, start : start + run]
    across = _STRIP_PX - _COMB_COLUMNS + 1
    combs = np.logical_and.reduce([combs[..., i : i + across] for i in range(_COMB_COLUMNS)])
    return bool(combs.mean() > _COMB_SHARE)


def _unit(luma: NDArray[Any]) -> float:
    """Return how many of its values make a level of 255."""
    if luma.dtype == np.uint8:
        return 1.0
    depth = max(9, int(luma.max()).bit_length())
    return float(2 ** (depth - 8))


def top_first(frame: Any) -> bool:
    """Return whether the top field of a decoded frame is the earlier one."""
    graph, source = _graph(frame, ("select", "eq(interlace_type,TOPFIRST)"))
    source.push(frame)
    try:
        graph.pull()
    except NoFrameYetError:
        return False
    return True


class Deinterlacer:
    """Makes a picture of each field of a video, with FFmpeg's ``bwdif``.

    Times of its frames count in half of the video's time base.

    Args:
        first: a frame, which shows size and format.
        time_base: of the video.
    """

    def __init__(self, first: Any) -> None:
        self._graph, self._source = _graph(first, ("bwdif", "mode=send_field:deint=all"))

    def __call__(self, frame: Any | None) -> Iterator[Any]:
        """Yield the pictures that are complete with the next frame, None for the end."""
        self._source.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (NoFrameYetError, av.error.EOFError):
                return


def _graph(frame: Any, *filters: tuple[str, str]) -> tuple[Any, Any]:
    """Return a chain of filters for frames like this one, and where they go in."""
    graph = Graph()
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(frame.time_base),
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    nodes = [source, *(graph.add(*each) for each in filters), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    return graph, source


class CombFinder:
    """Looks for combs in frames that do not say that they hold fields.

    One that shows them speaks for those that follow, in which too little moves to tell.

    Attributes:
        found: frames that were taken for pairs of fields.
    """

    def __init__(self) -> None:
        self._hold = 0
        self.found = 0

    def __call__(self, frame: Any) -> bool:
        """Return whether the next frame is to be taken for two fields."""
        kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        luma = np.frombuffer(frame.planes[0], kind).reshape(frame.height, -1)[:, : frame.width]
        self._hold = _HOLD_FRAMES if combed(luma) else max(0, self._hold - 1)
        self.found += self._hold > 0
        return self._hold > 0


class Copier:
    """Copies decoded frames, with all that they carry, into memory that may be written to.

    Args:
        first: a frame, which shows size and format.
        order: mark every frame as interlaced: "tff", the top field first, or "bff"; None leaves
            the marks as they are.
    """

    def __init__(self, first: Any, order: str | None = None) -> None:
        marks = [("setfield", order)] if order else []
        self._graph, self._source = _graph(first, ("copy", ""), *marks)

    def __call__(self, frame: Any) -> Any:
        """Return a copy of a frame."""
        self._source.push(frame)
        return self._graph.pull()
