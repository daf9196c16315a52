"""Short clips through real codecs, in memory: what comes out is what a receiver shows.

One thread per codec: callers code many clips side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from whet.degrade.codecs.programs import Pixels
from whet.priority import ordinary_priority

__all__ = ["DECODERS", "Coding", "code", "decode"]

FRAMES_PER_SECOND = 30

DECODERS = {
    "libx264": "h264",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "libsvtav1": "libdav1d",
    "mpeg2video": "mpeg2video",
    "dvvideo": "dvvideo",
}
"""Encoder of FFmpeg -> the decoder of what it writes."""


@dataclass(frozen=True)
class Coding:
    """An encoder and its settings.

    Attributes:
        codec: key of :data:`DECODERS`.
        options: FFmpeg's, by name.
        fps: frames per second.
    """

    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    fps: int = FRAMES_PER_SECOND


def code(frames: Sequence[Pixels], coding: Coding) -> list[Any]:
    """Return the packets of ``frames`` (H, W, 3), H and W even and at least 16."""
    import av

    encoder: Any = av.CodecContext.create(coding.codec, "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.framerate = "yuv420p", coding.fps
    encoder.time_base = Fraction(1, coding.fps)
    encoder.thread_count = 1
    encoder.options = dict(coding.options)
    _open(encoder)
    packets: list[Any] = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return packets


def decode(packets: Sequence[Any], codec: str) -> dict[int, Any]:
    """Return the frames of ``packets`` as PyAV's, by their number.

    A packet that cannot be decoded, because one before it was lost, is skipped.
    """
    import av

    decoder: Any = av.CodecContext.create(DECODERS[codec], "r")
    decoder.thread_count = 1
    frames: list[Any] = []
    for packet in (*packets, None):
        with suppress(av.error.InvalidDataError):
            frames += decoder.decode(packet)
    return {frame.pts: frame for frame in frames}


def _open(encoder: Any) -> None:
    with ordinary_priority():
        encoder.open()
