"""Clips whose every frame is known, and how far a restored one is from its source."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 25


def moving(index: int, height: int, width: int) -> NDArray[np.uint16]:
    """A soft coloured pattern that moves, 16-bit RGB within the gamut of YUV."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin((x + 3 * index) / 9), np.cos((y - 2 * index) / 8), np.sin((x + y) / 12)]
    return np.rint((np.stack(waves, axis=-1) * 50 + 128) * 257).astype(np.uint16)


def encoded(
    path: Path,
    frames: list[Any],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = RATE,
    options: dict[str, str] | None = None,
    flags: int = 0,
    **context: Any,
) -> Path:
    """Write frames: arrays of 16-bit RGB, or FFmpeg's own frames.

    Args:
        flags: of the encoder, beside its own.
        context: its attributes.
    """
    size = frames[0].shape[:2] if isinstance(frames[0], np.ndarray) else None
    height, width = size or (frames[0].height, frames[0].width)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=rate, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.flags |= flags
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        for index, picture in enumerate(frames):
            if isinstance(picture, np.ndarray):
                picture = av.VideoFrame.from_ndarray(picture, "rgb48le")
                picture = picture.reformat(format=pixel_format)
            picture.pts, picture.time_base = index, Fraction(1, rate)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
    return path


def decoded(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def values(frame: Any, plane: int = 0) -> NDArray[np.float64]:
    """Return a plane of a frame as it is stored."""
    bits, data = frame.format.components[plane].bits, frame.planes[plane]
    rows = np.frombuffer(data, np.uint16 if bits > 8 else np.uint8).reshape(data.height, -1)
    return rows[:, : data.width].astype(np.float64)


def psnr(one: Path, other: Path) -> list[float]:
    """Return the PSNR in dB of every frame, over all its planes; both hold as many frames."""
    found = []
    for before, after in zip(decoded(one), decoded(other), strict=True):
        assert before.format.name == after.format.name
        peak = 2 ** before.format.components[0].bits - 1
        errors = [
            np.ravel((values(before, i) - values(after, i)) / peak)
            for i in range(len(before.planes))
        ]
        found.append(-10 * np.log10(max(np.mean(np.concatenate(errors) ** 2), 1e-12)))
    return found
