"""Small films for the tests of pages: a photograph that moves to the side, with a tone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from commandline import MakePicture, soften

RATE = 25


def film(
    path: Path,
    picture: MakePicture,
    *,
    frames: int = 12,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    seconds: float | None = None,
) -> Path:
    """Write a soft film; ``seconds`` stretches its frames over another length."""
    width, height = size
    wide = soften(picture(height, width + 4 * frames))
    step = round(12800 * (seconds or frames / RATE) / frames)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=RATE)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 12800)
        sound = "libopus" if path.suffix == ".webm" else "aac"
        tone = out.add_stream(sound, rate=48000, layout="mono")
        for index in range(frames):
            pixels = np.ascontiguousarray(wide[:, 4 * index : 4 * index + width])
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index * step, Fraction(1, 12800)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        wave = np.sin(np.arange(round(48000 * frames / RATE)) / 20).astype(np.float32)[None]
        for start in range(0, wave.shape[1], 960):
            part = np.ascontiguousarray(wave[:, start : start + 960])
            samples = av.AudioFrame.from_ndarray(part, "fltp", "mono")
            samples.sample_rate, samples.pts = 48000, start
            samples.time_base = Fraction(1, 48000)
            out.mux(tone.encode(samples))
        out.mux(tone.encode(None))
    return path


def looks(path: Path) -> tuple[str, list[str], int]:
    """Return a film's container, its codecs, and the number of its frames."""
    with av.open(str(path)) as opened:
        codecs = [stream.codec_context.name for stream in opened.streams]
        return opened.format.name, codecs, sum(1 for _ in opened.decode(video=0))
