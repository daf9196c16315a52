"""The video stream of a file and its decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error

from whet.errors import Kind, MediaError
from whet.video.decode.reading import is_cover

__all__ = ["MAX_FRAME_PX", "Decoder", "counted", "video_stream"]

MAX_FRAME_PX = 2**26
"""Largest frame that is decoded, 67 megapixels: twice 8K. A dozen of them are in memory."""

# FFmpeg's own decoders of these leave transparency out, which a second stream holds.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def video_stream(container: Any, path: Path) -> Any:
    """Return the stream of an open file that is to be restored.

    Raises:
        MediaError: there is none, or none that can be decoded.
    """
    for stream in container.streams.video:
        if is_cover(stream):
            continue
        if stream.codec_context is None:
            raise MediaError(
                f"{path}: this FFmpeg cannot decode its video; convert it first, for "
                "instance to H.264",
                Kind.UNSUPPORTED,
            )
        stream.thread_type = "AUTO"
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_FRAME_PX:
            raise MediaError(
                f"{path}: frames of {width} x {height} are more than the "
                f"{MAX_FRAME_PX / 1e6:.0f} megapixels that whet takes; scale the video first",
                Kind.TOO_LARGE,
            )
        # A container may say less than its frames turn out to hold.
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PX)}
        return stream
    raise MediaError(f"{path} holds no video stream; name a video file", Kind.UNSUPPORTED)


class Decoder:
    """Decodes the packets of one stream and counts what is damaged.

    Attributes:
        frames: decoded so far.
    """

    def __init__(self, stream: Any) -> None:
        self._context, self._time_base = _context(stream), stream.time_base
        self._lost_packets = self._bad_packets = self._bad_frames = 0
        self.frames = 0

    def __call__(self, packet: Any) -> Iterator[Any]:
        """Yield the frames that are complete with a packet; an empty one asks for the rest."""
        self._lost_packets += bool(packet.size and packet.is_corrupt)
        try:
            decoded = self._context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self._bad_packets += 1
            return
        for frame in decoded:
            frame.time_base = frame.time_base or self._time_base
            self.frames += 1
            self._bad_frames += frame.is_corrupt
            yield frame

    @property
    def notes(self) -> Iterator[str]:
        """What was wrong, in sentences with counts."""
        if self._bad_packets:
            yield f"{counted(self._bad_packets, 'packet')} of the video could not be decoded"
        if self._lost_packets:
            yield f"data of {counted(self._lost_packets, 'packet')} of the video was lost"
        if self._bad_frames:
            yield f"{counted(self._bad_frames, 'frame')} came out damaged"


def counted(number: int, what: str) -> str:
    """Return a number of things in words: ``1 frame``, ``2 frames``."""
    return f"{number} {what}{'s' * (number != 1)}"


def _context(stream: Any) -> Any:
    context = stream.codec_context
    second = _WITH_ALPHA.get(context.codec.canonical_name)
    if (
        second is None
        or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1"
    ):
        return context
    try:
        able: Any = av.codec.Codec(second, "r").create("video")
    except av.codec.codec.UnknownCodecError:
        return context
    able.extradata = context.extradata
    able.options = context.options
    return able
