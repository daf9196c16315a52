"""The output of a run in segments: their packets and the source's other streams, copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.error

from whet.errors import MediaError
from whet.video.decode.reading import open_input, packets
from whet.video.decode.source import VideoSource
from whet.video.decode.timeline import Timeline
from whet.video.encode.encoding import Encoding
from whet.video.encode.segments import Segment
from whet.video.encode.sink import VideoSink

__all__ = ["join"]

_AGAIN = "delete it, and the same command restores it again"


class _JoinedSink(VideoSink):
    """The output, as if it were encoded: its encoder writes the header and gets no frame."""

    @property
    def header(self) -> bytes | None:
        data: bytes | None = self._video.codec_context.extradata
        return data

    def put_encoded(self, packet: Any, pts: int, dts: int, duration: int) -> None:
        packet.pts, packet.dts, packet.duration = pts, dts, duration
        packet.time_base = self.time_base
        packet.stream = self._video
        self.output.mux_one(packet)

    def close(self) -> None:
        self._close_others()
        self.output.close()


def join(
    path: Path, source: VideoSource, encoding: Encoding, segments: Sequence[Segment]
) -> tuple[str, ...]:
    """Write the whole video from its segments and the source's other streams; return notes.

    Raises:
        MediaError: a segment is damaged.
        av.error.FFmpegError: the disk is full or gone.
    """
    sink = _JoinedSink(path, source, encoding)
    try:
        times = [time for segment in segments for time in segment.times]
        decode_times = _decode_times([pts for pts, _ in times])
        timed = zip(_packets(segments, sink.header), times, decode_times, strict=True)
        with open_input(source.path) as again:
            for other in _walk(again, source):
                if other is None:
                    for packet, (pts, duration), dts in timed:
                        sink.put_encoded(packet, pts, dts, duration)
                        break
                else:
                    sink.write(other)
        for packet, (pts, duration), dts in timed:
            sink.put_encoded(packet, pts, dts, duration)
        sink.close()
    except BaseException:
        sink.abandon()
        raise
    return tuple(sink.notes)


def _walk(container: Any, source: VideoSource) -> Iterator[Any]:
    """Yield the packets of a source in order, None for one of the video; stop where it breaks."""
    video = source.stream.index
    reading = packets(container, Timeline(container), video, source.span, source.shift_s)
    while True:
        try:
            packet = next(reading, None)
        except av.error.FFmpegError:  # the source's own notes say so
            return
        if packet is None:
            return
        if packet.size:
            yield None if packet.stream.index == video else packet


def _packets(segments: Sequence[Segment], header: bytes | None) -> Iterator[Any]:
    """Yield the video packets of all segments."""
    for segment in segments:
        left = len(segment.times)
        with av.open(str(segment.file)) as container:
            made = container.streams.video[0].codec_context.extradata
            if header and made != header:  # a container without a header takes what is in packets
                raise MediaError(f"{segment.file} was encoded by another encoder; {_AGAIN}")
            for packet in container.demux(video=0):
                if packet.size and left:
                    left -= 1
                    yield packet
        if left:
            raise MediaError(f"{segment.file} is damaged; {_AGAIN}")


def _decode_times(shown: Sequence[int]) -> list[int]:
    """Return decoding times for display times in coded order: rising, and none later than shown.

    Each segment's encoder counted its own from where it began, which need not fit together.
    """
    ordered = sorted(shown)
    rank = {pts: index for index, pts in enumerate(ordered)}
    delay = max(index - rank[pts] for index, pts in enumerate(shown))
    step = max(1, (ordered[-1] - ordered[0]) // max(1, len(ordered) - 1))
    early = [ordered[0] - step * (delay - index) for index in range(delay)]
    return list(chain(early, ordered))[: len(shown)]
