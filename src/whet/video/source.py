"""Video files as a stream: frames as RGB, everything else exactly as it was.

A :class:`VideoSource` yields, in file order, :class:`Frame` objects and the
untouched packets of all other streams; ``video_sink`` encodes the former and
copies the latter. Neither keeps more than one frame.

Colours. Frames become RGB by the matrix and range that the file states, and go
back by the same; where it states none, BT.709 from 720 lines upwards and BT.601
below, as players do. Tags are copied, so that nothing is reinterpreted. FFmpeg's
fast way to packed RGB darkens by 1.1 levels of 255 (measured on a 720p clip,
there and back); the way over planar RGB with exact rounding shifts by 0.000 for
3 ms more per 720p frame, and is the one used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from whet.errors import MediaError
from whet.files import reason
from whet.graph.yuv420_io import Colours
from whet.image import Pixels
from whet.runtime.yuv420 import FORMATS, Planes

__all__ = ["MAX_FRAME_PX", "TO_RGB", "Frame", "Item", "VideoSource", "colours", "matrix_for", "why"]

TO_RGB = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
"""How swscale is to convert; see the module's second paragraph."""

MAX_FRAME_PX = 2**26
"""Largest frame that is decoded, 67 megapixels: twice 8K. A dozen of them are in memory."""

_BT709, _BT601 = 1, 5  # as swscale numbers matrices
# AVColorSpace -> swscale's number; both kinds of BT.601 have one matrix.
_MATRICES: Mapping[int, int] = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        pixels: (H, W, 3) uint8, or uint16 for sources of more than 8 bits; or the planes of
            a source that is read as planes.
        pts: time of display in units of the stream's time base.
        duration: in the same units, 0 where unknown.
        passed: it was sharp and is as it was.
    """

    pixels: Pixels | Planes
    pts: int
    duration: int
    passed: bool = False


Item: TypeAlias = "Frame | av.Packet[Any]"


class VideoSource:
    """An open video file, positioned behind its first frame.

    Args:
        path: a file that FFmpeg can read.

    Attributes:
        first: the first decoded frame, which shows size, depth and rotation.
        deep: frames are uint16.
        matrix, full_range: how its YUV relates to RGB.
        as_planes: yield frames as planes instead of RGB; only for those of :attr:`planar`.
        frame_count: number of frames that the header promises, or None.
        notes: what was wrong with the file so far, in sentences.

    Raises:
        MediaError: the file is missing, empty, no video, or none of it decodes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.container: Any = _open_input(path)
        try:
            self.stream = self._video_stream()
            self.copied = [s for s in self.container.streams if s is not self.stream]
            self._reformatter = VideoReformatter()
            self._damaged = 0
            self._decoded = 0
            self._last_pts: int | None = None
            self._items = self._read()
            waiting: list[Any] = []
            self.first = self._first_frame(waiting)
            self._remaining = chain(waiting, self._items)
        except BaseException:
            self.container.close()
            raise
        self.deep = any(part.bits > 8 for part in self.first.format.components)
        self.matrix, self.full_range = colours(self.first)
        self.frame_count = self._promised()
        self.as_planes = False

    @property
    def planar(self) -> Colours | None:
        """How the planes relate to RGB, where frames are 4:2:0 in 8 bits; else None."""
        if self.first.format.name not in FORMATS:
            return None
        return Colours(self.matrix, self.full_range)

    def _video_stream(self) -> Any:
        for stream in self.container.streams.video:
            if stream.disposition & stream.disposition.attached_pic:
                continue
            if stream.codec_context is None:
                raise MediaError(
                    f"{self.path}: this FFmpeg cannot decode its video; convert it first, for "
                    "instance to H.264"
                )
            stream.thread_type = "AUTO"
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > MAX_FRAME_PX:
                raise MediaError(
                    f"{self.path}: frames of {width} x {height} are more than the "
                    f"{MAX_FRAME_PX / 1e6:.0f} megapixels that whet takes; scale the video first"
                )
            # A container may say less than its frames turn out to hold.
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PX)}
            return stream
        raise MediaError(f"{self.path} holds no video stream; name a video file")

    def _promised(self) -> int | None:
        stream, rate = self.stream, self.stream.average_rate
        if stream.frames:
            return int(stream.frames)
        if rate and stream.duration and stream.time_base:
            return int(stream.duration * stream.time_base * rate)
        if rate and self.container.duration:
            return int(self.container.duration * rate / av.time_base)
        return None

    def _first_frame(self, waiting: list[Any]) -> Any:
        for item in self._items:
            waiting.append(item)
            if not isinstance(item, av.Packet):
                return item
        raise MediaError(
            f"{self.path}: no frame of the video can be decoded: it is damaged, or larger than "
            "FFmpeg takes; get a complete copy, or scale it first"
        )

    def _read(self) -> Iterator[Any]:
        """Yield decoded frames and foreign packets; stop where the file breaks off."""
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self.notes.append(f"reading stopped early: {error.strerror}")
                break
            if packet is None:
                break
            if packet.stream is not self.stream:
                if packet.size and (packet.dts is not None or packet.pts is not None):
                    yield packet
                continue
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self._damaged += 1
        if self._damaged:
            self.notes.append(f"{self._damaged} damaged packets of the video were skipped")

    def __iter__(self) -> Iterator[Item]:
        """Yield frames as RGB and all other packets, in file order.

        Iterating ends where the file breaks off; ``notes`` then says so.
        """
        for item in self._remaining:
            yield self._converted(item)
        promised = self.stream.frames or 0
        if self._decoded < promised:
            self.notes.append(
                f"the file is incomplete: {self._decoded} of {promised} frames could be read"
            )

    def skip(self, count: int) -> None:
        """Leave out the next ``count`` frames, and the packets between them.

        They are decoded all the same: a jump lands where the index says, which is not always
        where the frame is, and times that are put right depend on those before.
        """
        if count < 1:
            return
        for item in self._remaining:
            if not isinstance(item, av.Packet):
                self._pts(item)
                self._decoded += 1
                count -= 1
                if count == 0:
                    return

    def _converted(self, item: Any) -> Item:
        if isinstance(item, av.Packet):
            return item
        self._decoded += 1
        pts, duration = self._pts(item), item.duration or 0
        if self.as_planes:
            return Frame(Planes(self._like_first(item)), pts, duration)
        rgb = self._reformatter.reformat(
            item,
            width=self.first.width,
            height=self.first.height,
            format="rgb48le" if self.deep else "gbrp",
            src_colorspace=self.matrix,
            dst_colorspace=self.matrix,
            src_color_range=ColorRange.JPEG if self.full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=TO_RGB,
        )
        return Frame(np.ascontiguousarray(rgb.to_ndarray()), pts, duration)

    def _like_first(self, item: Any) -> Any:
        """Return a frame in the size and format of the first one, which streams may leave."""
        first = self.first
        if (item.width, item.height, item.format.name) == (
            first.width,
            first.height,
            first.format.name,
        ):
            return item
        return self._reformatter.reformat(
            item, width=first.width, height=first.height, format=first.format.name
        )

    def _pts(self, frame: Any) -> int:
        """Return the frame's time; one that is missing or runs backwards is put right."""
        pts: int | None = frame.pts
        last = self._last_pts
        if pts is None or (last is not None and pts <= last):
            rate = self.stream.average_rate or Fraction(25)
            step = max(1, round(1 / (rate * self.stream.time_base))) if pts is None else 1
            pts = 0 if last is None else last + step
        self._last_pts = pts
        return pts

    def close(self) -> None:
        """Release the file."""
        self.container.close()


def matrix_for(height: int) -> int:
    """Return the matrix that players take for untagged video, as swscale numbers it."""
    return _BT709 if height >= 720 else _BT601


def colours(frame: Any) -> tuple[int, bool]:
    """Return how a decoded frame relates to RGB: swscale's matrix, and whether full range."""
    matrix = _MATRICES.get(int(frame.colorspace), matrix_for(frame.height))
    stated = int(frame.color_range) == ColorRange.JPEG
    return matrix, stated or frame.format.name.startswith("yuvj")


def _open_input(path: Path) -> Any:
    """Open a file for reading, or say what is wrong with it."""
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes); get a complete copy of the file")
        return av.open(str(path), metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise MediaError(
            f"{path} is no video, or it is incomplete (its index is missing); "
            "get a complete copy of the file"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be read: {why(error)}") from error


def why(error: av.error.FFmpegError | OSError) -> str:
    """Say in words, with the remedy, why FFmpeg or the system refused a file."""
    return reason(OSError(error.errno, error.strerror or str(error)))
