"""Animated WebP, which FFmpeg does not read: as a video that it does."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from whet.errors import MediaError

__all__ = ["webp_as_video"]

_MOST_PX = 2**31  # of all frames together: their lossless video is held in memory
_MS = Fraction(1, 1000)


def webp_as_video(path: Path) -> BytesIO | None:
    """Return an animated WebP as lossless video in memory; None for every other file.

    Raises:
        MediaError: it is damaged, or larger than memory should hold.
    """
    with path.open("rb") if path.is_file() else BytesIO() as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        return None
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if frames < 2:
                return None
            if frames * image.width * image.height > _MOST_PX:
                raise MediaError(f"{path} is too large an animation; convert it to video first")
            return _encoded(image, frames)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise MediaError(f"{path} is damaged; get a complete copy of the file") from error


def _encoded(image: Any, frames: int) -> BytesIO:
    made = BytesIO()
    with av.open(made, "w", format="matroska") as out:
        rate = Fraction(1000, max(1, _duration_ms(image)))
        video: Any = out.add_stream("ffv1", rate=rate)
        video.width, video.height, video.pix_fmt = image.width, image.height, "bgra"
        video.time_base = video.codec_context.time_base = _MS
        at_ms, durations = 0, {}
        for index in range(frames):
            image.seek(index)
            pixels = np.ascontiguousarray(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
            frame = av.VideoFrame.from_ndarray(pixels, "bgra")
            frame.pts, frame.time_base = at_ms, _MS
            durations[at_ms] = _duration_ms(image)
            at_ms += durations[at_ms]
            _mux(out, video.encode(frame), durations)
        _mux(out, video.encode(None), durations)
    made.seek(0)
    return made


def _mux(out: Any, packets: Any, durations: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = durations[packet.pts]
        out.mux_one(packet)


def _duration_ms(image: Any) -> int:
    # Browsers show what claims to last no time for a tenth of a second.
    return int(image.info.get("duration", 0)) or 100
