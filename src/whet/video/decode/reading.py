"""Opening a file, and its packets on one clock: all of them, or those of a span of time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
from av.format import Flags
from av.stream import Discard

from whet.errors import Kind, MediaError
from whet.files import reason
from whet.video.decode.animation import webp_as_video
from whet.video.decode.timeline import Timeline, move

__all__ = ["Span", "count_packets", "end_s", "is_cover", "open_input", "packets", "when_s", "why"]

_NO_TIMES: int = cast(Any, Flags.no_timestamps).value
_COUNTED_BYTES = 2**28  # a quarter of a gigabyte is read in well under a second
_BEHIND_S = 2  # by which sound may lie behind the picture in a file


@dataclass(frozen=True)
class Span:
    """A part of a video.

    Attributes:
        start_s: where it begins, in seconds from the beginning of the file.
        duration_s: how long it lasts; None goes to the end.
    """

    start_s: float = 0.0
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < 1e9:
            raise MediaError(f"a start at {self.start_s} s is none; give 0 or more")
        if self.duration_s is not None and not 0 < self.duration_s < 1e9:
            raise MediaError(f"a duration of {self.duration_s} s is none; give more than 0")

    @property
    def whole(self) -> bool:
        """It is all of the file."""
        return not self.start_s and self.duration_s is None

    def bounds_s(self, container: Any) -> tuple[Fraction, Fraction | None]:
        """Return its first and last moment by the clock of an open file."""
        origin = Fraction(container.start_time or 0, av.time_base)
        start = origin + Fraction(self.start_s).limit_denominator(10**6)
        if self.duration_s is None:
            return start, None
        return start, start + Fraction(self.duration_s).limit_denominator(10**6)


def open_input(path: Path) -> Any:
    """Open a file for reading, or say what is wrong with it.

    Raises:
        MediaError: it is missing, empty, or no video.
    """
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; name a video file")
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(
                f"{path} is empty (0 bytes); get a complete copy of the file", Kind.UNKNOWN
            )
        moving = webp_as_video(path)
        container = av.open(moving or str(path), metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise MediaError(
            f"{path} is no video, or it is incomplete (its index is missing); "
            "get a complete copy of the file",
            Kind.DAMAGED,
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be read: {why(error)}") from error
    if _is_still(container, path):
        container.close()
        raise MediaError(f"{path} is a picture and no video; use: whet image {path}", Kind.UNKNOWN)
    return container


def _is_still(container: Any, path: Path) -> bool:
    if container.format.name == "image2":
        return "%" not in path.name and "*" not in path.name
    brand = container.metadata.get("major_brand", "")
    return container.format.name.endswith("_pipe") or brand in ("heic", "heix", "mif1", "avif")


def count_packets(path: Path, video: int) -> int | None:
    """Return how many packets a stream has by reading them; None where that would take long."""
    try:
        if path.stat().st_size > _COUNTED_BYTES:
            return None
        with open_input(path) as container:
            for stream in container.streams:
                if stream.index != video:
                    stream.discard = Discard.all
            stream = container.streams[video]
            return sum(1 for packet in container.demux(stream) if packet.size)
    except (av.error.FFmpegError, OSError):
        return None


def packets(
    container: Any, timeline: Timeline, video: int, span: Span, shift_s: Fraction
) -> Iterator[Any]:
    """Yield the packets of a file in its order, their times on one clock.

    Empty ones, which ask decoders for what they hold, come for the video alone. Of a span come
    those packets of other streams that begin in it, and of the video all that decoding may need.

    Args:
        container: open, and positioned at its beginning.
        timeline: puts times right.
        video: index of the stream that is decoded.
        span: which part of the file.
        shift_s: by which packets of other streams are moved towards zero.

    Raises:
        av.error.FFmpegError: the file breaks off.
    """
    start, end = span.bounds_s(container)
    # Where clocks jump a time may stand twice, and in a bare stream of pictures nowhere.
    if span.start_s and not timeline.may_jump and not container.format.flags & _NO_TIMES:
        with suppress(av.error.FFmpegError):  # of what has no index, all is read
            container.seek(int(start * av.time_base))
    for packet in container.demux():
        if not packet.size:
            if packet.stream_index == video:
                yield packet
            continue
        timeline.place(packet)
        at = when_s(packet)
        if packet.stream_index == video:
            yield packet
        elif at is None:
            if is_cover(packet.stream):  # all others need a time
                yield packet
        elif span.whole or (start <= at and (end is None or at < end)):
            move(packet, -shift_s)
            yield packet
        if end is not None and at is not None and at > end + _BEHIND_S:
            return


def is_cover(stream: Any) -> bool:
    """Return whether a stream is a picture that stands for the file, such as cover art."""
    return bool(stream.disposition & stream.disposition.attached_pic)


def when_s(packet: Any) -> Fraction | None:
    """Return when a packet is due, in seconds."""
    time = packet.dts if packet.pts is None else packet.pts
    return None if time is None else Fraction(time * packet.time_base)


def end_s(item: Any) -> Fraction:
    """Return until when a packet or a decoded frame lasts, in seconds; 0 where it does not say."""
    if item.pts is None or item.time_base is None:
        return Fraction(0)
    return Fraction((item.pts + (item.duration or 0)) * item.time_base)


def why(error: av.error.FFmpegError | OSError) -> str:
    """Say in words, with the remedy, why FFmpeg or the system refused a file."""
    return reason(OSError(error.errno, error.strerror or str(error)))
