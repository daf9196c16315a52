"""Short clips through real codecs, in memory: what comes out is what a receiver shows.

One thread per codec: callers code many clips side by side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from whet.degrade.codecs.programs import Pixels

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
    _open(encoder, coding.codec)
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


_opening = threading.Lock()


def _open(encoder: Any, codec: str) -> None:
    """Open an encoder; SVT-AV1 neither prints its settings nor runs above everything else.

    As root its threads, and the one that opens it, get the highest real-time priority; on a
    machine with few cores nothing else would run until a clip is coded, the training that waits
    for it included.
    """
    if codec != "libsvtav1":
        encoder.open()
        return
    # Read when the library is first used; 1 leaves errors.
    os.environ.setdefault("SVT_LOG", "1")
    # One at a time, so that the threads which change are its own.
    with _opening:
        before = _scheduling()
        try:
            encoder.open()
        finally:
            for thread, policy in _scheduling().items():
                usual = before.get(thread, os.SCHED_OTHER)
                if policy != usual:
                    with suppress(OSError):  # it has ended meanwhile
                        os.sched_setscheduler(thread, usual, os.sched_param(0))


def _scheduling() -> dict[int, int]:
    """Return the scheduling policy of every thread of this process, where Linux tells."""
    found: dict[int, int] = {}
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with suppress(OSError):
            found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found
