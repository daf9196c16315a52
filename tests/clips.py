"""Small videos for tests, sessions that stand in for networks, and what files hold."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from whet.video.run import RestoredVideo, restore_video

WIDTH, HEIGHT, RATE = 64, 48, 25


class Identity:
    """A session that changes nothing and remembers what it saw."""

    class card:  # noqa: N801
        multiple, halo = 4, 1
        name, precision, weights_sha256 = "identity", "float32", "0"

    def __init__(self) -> None:
        self.dtypes: set[np.dtype] = set()
        self.threads: set[int] = set()
        self.frames = 0

    def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
        self.frames += 1
        self.dtypes.add(image.dtype)
        self.threads.add(threading.get_ident())
        return image


class Dim(Identity):
    def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
        return (super().restore(image) * (1 - strength / 2)).astype(image.dtype)


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A smooth coloured pattern that moves with ``index``, within the gamut of YUV."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin((x + 3 * index) / 9), np.cos((y - 2 * index) / 8), np.sin((x + y) / 12)]
    return np.rint(np.stack(waves, axis=-1) * 50 + 128).astype(np.uint8)


def clip(
    path: Path,
    *,
    count: int = 16,
    times: list[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: bool = True,
    subtitles: bool = False,
    matrix: list[int] | None = None,
    colour: dict[str, int] | None = None,
    movflags: str | None = None,
    last_duration: int | None = None,
) -> Path:
    """Write a test clip: moving pattern, sine tone, optional subtitles and chapters."""
    options = {"crf": "12", "g": "8"} if codec in ("libx264", "libx265") else {}
    container_options = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", options=container_options) as out:
        video = out.add_stream(codec, rate=RATE, options=options)
        video.width, video.height = size
        video.pix_fmt = pixel_format
        video.codec_context.time_base = video.time_base = Fraction(1, 90000)
        video.metadata["language"] = "fin"
        for name, value in (colour or {}).items():
            setattr(video.codec_context, name, value)
        if matrix:
            video.set_display_matrix(matrix)
        tone = out.add_stream("aac", rate=48000, layout="mono") if sound else None
        text = out.add_mux_stream("subrip") if subtitles else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
            out.set_chapters([{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000),
                               "metadata": {"title": "Opening"}}])  # fmt: skip
        out.metadata["title"] = "Works"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), "rgb24")
            frame.pts = times[index] if times else index * 90000 // RATE
            frame.time_base = Fraction(1, 90000)
            out.mux(video.encode(frame))
        for packet in video.encode(None):
            if last_duration and packet.pts == (count - 1) * 90000 // RATE:
                packet.duration = last_duration
            out.mux(packet)
        if tone is not None:
            for index in range(count * 48000 // RATE // 1024):
                wave = np.sin(np.arange(index * 1024, (index + 1) * 1024) / 20)[None]
                samples = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "mono")
                samples.sample_rate, samples.pts = 48000, index * 1024
                out.mux(tone.encode(samples))
            out.mux(tone.encode(None))
        for index in range(3 if text is not None else 0):
            packet = av.Packet(f"line {index}".encode())
            packet.pts = packet.dts = index * 150
            packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), text
            out.mux(packet)
    return path


def packets(path: Path, kind: str) -> list[tuple[Any, ...]]:
    """Return time and content of every packet of one kind of stream."""
    with av.open(str(path)) as container:
        return [
            (
                packet.pts * packet.time_base,
                (packet.duration or 0) * packet.time_base,
                bytes(packet),
            )
            for packet in container.demux()
            if packet.stream.type == kind and packet.size
        ]


def frame_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def luma(path: Path) -> np.ndarray:
    """Return all frames' Y planes, as the file stores them."""
    with av.open(str(path)) as container:
        planes = []
        for frame in container.decode(video=0):
            deep = frame.format.components[0].bits > 8
            plane = frame.planes[0]
            values = np.frombuffer(plane, np.uint16 if deep else np.uint8)
            planes.append(values.reshape(frame.height, -1)[:, : frame.width])
        return np.stack(planes).astype(np.float64)


def restored(
    source: Path, target: Path, session: Identity | None = None, **options: Any
) -> RestoredVideo:
    options = {"preset": "ultrafast", "crf": 5, **options}
    return restore_video(session or Identity(), source, target, **options)
