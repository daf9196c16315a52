"""Small films for the tests of pages: photographs that move to the side, and how sharp they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import whet
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


def camera(path: Path) -> Path:
    """Write what a camera sees: a photograph made soft by scaling, as YUV4MPEG2."""
    photo = Path(whet.__file__).parent / "demo_data" / "heldout" / "the-spices-of-life.webp"
    with Image.open(photo) as opened:
        sharp = opened.convert("RGB")
    soft = sharp.resize((sharp.width // 2, sharp.height // 2)).resize(sharp.size)
    with path.open("wb") as stream:
        stream.write(b"YUV4MPEG2 W640 H360 F15:1 Ip A1:1 C420jpeg\n")
        for shift in range(0, 40, 4):
            frame = soft.crop((100 + shift, 100, 740 + shift, 460)).convert("YCbCr")
            y, cb, cr = frame.split()
            small = (plane.resize((320, 180)).tobytes() for plane in (cb, cr))
            stream.write(b"FRAME\n" + y.tobytes() + b"".join(small))
    return path


def steepness(pixels: NDArray[np.uint8]) -> float:
    """Return the mean squared difference of neighbours."""
    gray = pixels.astype(np.float64).mean(axis=2)
    return float(np.mean(np.diff(gray, axis=0) ** 2) + np.mean(np.diff(gray, axis=1) ** 2))
