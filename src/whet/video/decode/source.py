"""Video files as a stream: frames as RGB or planes, everything else exactly as it was.

A :class:`VideoSource` yields, in file order, :class:`Frame` objects and the
untouched packets of all other streams; ``sink`` encodes the former and
copies the latter. Neither keeps more than one frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.error

from whet.errors import Kind, MediaError
from whet.graph.yuv420_io import Colours
from whet.image import Pixels
from whet.runtime.yuv420 import FORMATS, Planes
from whet.video.decode.alpha import opaque
from whet.video.decode.decoding import Decoder, counted, video_stream
from whet.video.decode.fields import CombFinder, Deinterlacer
from whet.video.decode.reading import Span, count_packets, end_s, open_input, packets
from whet.video.decode.rgb import RgbWay, colours, is_rgb
from whet.video.decode.timeline import Timeline
from whet.video.length import file_end_s, stated_end_s

__all__ = ["Frame", "Item", "VideoSource"]

_SHORT_S = Fraction(15, 100)  # by which files end earlier than they say, for rounding
_MOST_FPS = 1000
_FIELDS = range(2, 6)  # AVFieldOrder: top or bottom first, coded or shown


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        pixels: (H, W, 3) uint8, or uint16 for sources of more than 8 bits; or the planes of
            a source that is read as planes.
        pts: time of display in units of the source's time base.
        duration: in the same units, 0 where unknown.
        decoded: FFmpeg's frame, with all that it carries.
        degraded: what ``pixels`` was before restoration.
        fields: its even and its odd lines are two pictures.
        passed: it was sharp and is as it was.
    """

    pixels: Pixels | Planes
    pts: int
    duration: int
    decoded: Any
    degraded: Pixels | Planes
    fields: bool = False
    passed: bool = False


Item: TypeAlias = "Frame | av.Packet[Any]"


class VideoSource:
    """An open video file, positioned behind its first frame.

    Args:
        path: a file that FFmpeg can read.
        span: which part of it.
        deinterlace: make a picture of each field.
        from_zero: let times begin at zero where the format's begin anywhere, as broadcast does.

    Attributes:
        first: the first decoded frame, which shows size, depth and rotation.
        time_base: of the frames.
        shift_s: by how much all times are earlier than in the file.
        deep: frames are uint16.
        matrix, full_range: how its YUV relates to RGB.
        transparent: the first frame is, in places.
        clear_frames: how many of those so far are.
        interlaced: frames hold two fields, and the result is to say so.
        as_planes: yield frames as planes instead of RGB; only for those of :attr:`planar`.
        frame_count: number of frames that the header promises, or None.
        notes: what was wrong with the file so far, in sentences.

    Raises:
        MediaError: the file is missing, empty, no video, or none of it decodes.
    """

    def __init__(
        self,
        path: Path,
        span: Span | None = None,
        *,
        deinterlace: bool = False,
        from_zero: bool = False,
    ) -> None:
        self.path, self.span = path, span or Span()
        self.notes: list[str] = []
        self.container: Any = open_input(path)
        try:
            self.stream = video_stream(self.container, path)
            self.copied = [s for s in self.container.streams if s is not self.stream]
            self._start, self._end = self.span.bounds_s(self.container)
            self._decoder = Decoder(self.stream)
            self._counted = self._unlike = 0
            self._video_end_s = self._other_end_s = Fraction(0)
            self._last_pts: int | None = None
            self.deinterlaced, self._per_s = deinterlace, 2 if deinterlace else 1
            self.time_base = self.stream.time_base / self._per_s
            self._timeline = Timeline(self.container)
            self.shift_s = Fraction(self.span.start_s)
            if from_zero and self._timeline.may_jump:
                self.shift_s += Fraction(self.container.start_time or 0, av.time_base)
            self._deinterlacer: Deinterlacer | None = None
            self._items = self._read(deinterlace)
            waiting: list[Any] = []
            self.first = self._first_frame(waiting)
            self._remaining = chain(waiting, self._items)
        except BaseException:
            self.container.close()
            raise
        self.deep = any(part.bits > 8 for part in self.first.format.components)
        self.matrix, self.full_range = colours(self.first)
        self.transparent = not opaque(self.first) or self.first.format.name.startswith("yuva")
        self.clear_frames = 0
        self._rgb = RgbWay(self.matrix, self.full_range, self.deep)
        order = self.stream.codec_context.field_order
        self._says_fields = order in _FIELDS and not deinterlace
        self.interlaced = (self._says_fields or self.first.interlaced_frame) and not deinterlace
        self._combs = None if deinterlace else CombFinder()
        self.frame_count = self._promised()
        self.as_planes = False

    @property
    def planar(self) -> Colours | None:
        """How the planes relate to RGB, where frames are 4:2:0 in 8 bits; else None."""
        if self.first.format.name not in FORMATS:
            return None
        return Colours(self.matrix, self.full_range)

    @property
    def rate(self) -> Fraction:
        """Frames per second on average; 25 where the file says none that can be."""
        stream = self.stream
        stated = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        found = next((rate for rate in stated if rate and rate <= _MOST_FPS), 25)
        return Fraction(found) * self._per_s

    def chapters(self) -> list[Any]:
        """Return the chapters of the span, their times counted from where it begins."""
        chapters, span = self.container.chapters(), self.span
        if span.whole:
            return list(chapters)
        start, length = Fraction(span.start_s), span.duration_s
        kept = []
        for chapter in chapters:
            base = chapter["time_base"]
            begins, ends = (chapter[key] * base - start for key in ("start", "end"))
            ends = ends if length is None else min(ends, Fraction(length))
            if ends > max(begins, 0):
                moved = {"start": round(max(begins, Fraction(0)) / base), "end": round(ends / base)}
                kept.append({**chapter, **moved})
        return kept

    def _promised(self) -> int | None:
        """Return how many frames are to come, for those who watch."""
        rate, seconds = self.stream.average_rate, self.seconds
        timed = int(seconds * self.rate) if rate and seconds is not None else None
        if not self.span.whole:
            return timed
        stated = self.stream.frames * self._per_s
        # Of an edit list, which shows a part of them, times know more.
        if stated and (timed is None or stated <= timed * 10 // 9 + 2):
            return int(stated)
        counted = None if stated else count_packets(self.path, self.stream.index)
        return counted * self._per_s if counted else timed

    @property
    def seconds(self) -> Fraction | None:
        """How long the video is to last by the file's own words, or None."""
        stream = self.stream
        whole: Fraction | None = None
        if stream.duration and stream.time_base:
            whole = Fraction(stream.duration * stream.time_base)
        elif self.container.duration:
            whole = Fraction(self.container.duration, av.time_base)
        if whole is None or self.span.whole:
            return whole
        left = max(Fraction(0), whole - Fraction(self.span.start_s))
        length = self.span.duration_s
        return left if length is None else min(left, Fraction(length))

    def _first_frame(self, waiting: list[Any]) -> Any:
        for item in self._items:
            waiting.append(item)
            if not isinstance(item, av.Packet):
                return item
        if self.span.start_s and self._decoder.frames:
            raise MediaError(f"{self.path} ends before {self.span.start_s:g} s; start earlier")
        raise MediaError(
            f"{self.path}: no frame of the video can be decoded: it is damaged, or larger than "
            "FFmpeg takes; get a complete copy, or scale it first",
            Kind.DAMAGED,
        )

    def _read(self, deinterlace: bool) -> Iterator[Any]:
        """Yield decoded frames and foreign packets; stop where the file breaks off."""
        reading = packets(
            self.container, self._timeline, self.stream.index, self.span, self.shift_s
        )
        while True:
            try:
                packet = next(reading, None)
            except av.error.FFmpegError as error:
                self.notes.append(f"reading stopped early: {error.strerror}")
                break
            if packet is None:
                break
            if packet.stream is not self.stream:
                self._other_end_s = max(self._other_end_s, end_s(packet))
                yield packet
                continue
            for frame in self._decoder(packet):
                self._video_end_s = max(self._video_end_s, end_s(frame))
                yield from self._pictures(frame) if deinterlace else self._within(frame)
        if deinterlace and self._deinterlacer:
            yield from chain.from_iterable(map(self._within, self._deinterlacer(None)))

    def _pictures(self, frame: Any) -> Iterator[Any]:
        if self._deinterlacer is None:
            self._deinterlacer = Deinterlacer(frame)
        yield from chain.from_iterable(map(self._within, self._deinterlacer(frame)))

    def _within(self, frame: Any) -> Iterator[Any]:
        """Yield a frame if it belongs to the span."""
        if self.span.whole:
            yield frame
            return
        untimed = self._start - Fraction(self.span.start_s) + (self._decoder.frames - 1) / self.rate
        at = untimed if frame.pts is None else frame.pts * frame.time_base
        if at >= self._start and (self._end is None or at < self._end):
            yield frame

    def __iter__(self) -> Iterator[Item]:
        """Yield frames as RGB or planes and all other packets, in file order.

        Iterating ends where the file breaks off; ``notes`` then says so.
        """
        for item in self._remaining:
            yield item if isinstance(item, av.Packet) else self._converted(item)
        self._say_what_was_wrong()

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
                self._counted += 1
                count -= 1
                if count == 0:
                    return

    def _converted(self, item: Any) -> Frame:
        self._counted += 1
        pts, duration = self._pts(item), item.duration or 0
        item = self._like_first(item)
        self.clear_frames += not opaque(item)
        fields = self._holds_fields(item)
        pixels: Pixels | Planes
        pixels = Planes(item) if self.as_planes else self._rgb.to_rgb(item, fields=fields)
        return Frame(pixels, pts, duration, item, pixels, fields)

    def _holds_fields(self, item: Any) -> bool:
        if item.interlaced_frame or (self._says_fields and not self.first.interlaced_frame):
            return True
        if self._combs is None or self.interlaced or is_rgb(item.format):
            return False
        return self._combs(item)

    def _like_first(self, item: Any) -> Any:
        """Return a frame in the size and format of the first one, which streams may leave."""
        first = self.first
        here, wanted = ((f.width, f.height, f.format.name) for f in (item, first))
        if here == wanted:
            return item
        self._unlike += 1
        return item.reformat(width=first.width, height=first.height, format=first.format.name)

    def _pts(self, frame: Any) -> int:
        """Return the frame's time; one that is missing or runs backwards is put right."""
        pts: int | None = frame.pts
        last = self._last_pts
        if pts is not None:
            pts = round((pts * frame.time_base - self.shift_s) / self.time_base)
        if pts is None or (last is not None and pts <= last):
            step = max(1, round(1 / (self.rate * self.time_base))) if pts is None else 1
            pts = 0 if last is None else last + step
        self._last_pts = pts
        return pts

    def _say_what_was_wrong(self) -> None:
        self.notes += self._decoder.notes
        if self._unlike:
            first = f"{self.first.width} x {self.first.height} in {self.first.format.name}"
            self.notes.append(
                f"{counted(self._unlike, 'frame')} became {first}, as the first one is"
            )
        if self._combs and self._combs.found:
            self.notes.append(
                f"{counted(self._combs.found, 'frame')} hold the combs of interlaced or "
                "telecined video, which the file does not say; their fields were restored apart; "
                "deinterlacing makes a picture of each"
            )
        if self._timeline.seams:
            self.notes.append(
                f"times jump at {counted(self._timeline.seams, 'place')}, as where recordings "
                "were joined: "
                "what follows was moved to where the video was about to go on"
            )
        self._say_if_it_ends_early()

    def _say_if_it_ends_early(self) -> None:
        """Compare what came with what the header says of the video's and the file's end."""
        if self._timeline.may_jump:  # whose length is a guess from its last times
            return
        video, rate = self._video_end_s, self.stream.average_rate
        ends = (
            (stated_end_s(self.stream), video),
            (file_end_s(self.container), max(video, self._other_end_s)),
        )
        missing = max((stated - reached for stated, reached in ends if stated), default=Fraction(0))
        if missing <= max(_SHORT_S, 3 / self.rate) or self._end is not None:
            return
        count = f"{self._counted} frames"
        if rate:
            count = f"{self._counted} of about {self._counted + round(missing * self.rate)} frames"
        self.notes.append(f"the file is incomplete: {count} could be read")

    def close(self) -> None:
        """Release the file."""
        self.container.close()
