"""Frames per second from video file to video file, as ``whet video`` runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from whet.bench.contestants import Contestant
from whet.runtime import Session, open_session
from whet.runtime.session import planar_session
from whet.runtime.yuv420 import Planes
from whet.video.decode.source import Frame, VideoSource
from whet.video.run import restore_video

__all__ = ["PRESETS", "file_to_file"]

_RATE = 25
PRESETS: Mapping[str, str] = {"veryfast": "file_fps", "ultrafast": "fast_file_fps"}
"""x264's preset -> name of the measure: whet's default, and the fastest."""


def file_to_file(
    contestants: Sequence[Contestant], frames: Sequence[NDArray[np.uint8]]
) -> tuple[dict[str, dict[str, float | None]], dict[str, float]]:
    """Restore one clip with every contestant.

    The clip is H.264 at 25 fps, encoded by x264's ``veryfast``. Sessions are warmed before;
    opening the files counts. Every frame is restored.

    Args:
        contestants: of kind ``model``.
        frames: uint8 (H, W, 3), all of one size.

    Returns:
        By label frames per second: the values of :data:`PRESETS` for the whole way, and
        ``planes_fps`` for restoring alone in the same way, and ``planes_cpu_ms``, processor time
        per frame over all threads, both missing where video goes by RGB; and by preset those of
        decoding and encoding alone.
    """
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        source, target = Path(name) / "source.mp4", Path(name) / "restored.mp4"
        _clip(source, frames)
        measured: dict[str, dict[str, float | None]] = {}
        limits: dict[str, float] = {}
        for contestant in contestants:
            session = open_session(
                Path(contestant.file), runtime=contestant.runtime, threads=contestant.threads
            )
            if not limits:
                limits = {p: _fps(session, source, target, p, strength=0) for p in PRESETS}
            measured[contestant.label] = _in_planes(session, source)
            for preset, key in PRESETS.items():
                measured[contestant.label][key] = _fps(session, source, target, preset)
    return measured, limits


def _fps(session: Session, source: Path, target: Path, preset: str, strength: float = 1) -> float:
    options: dict[str, Any] = {"preset": preset, "strength": strength, "gate": False}
    done = restore_video(session, source, target, overwrite=True, **options)
    return done.frames / done.seconds


def _in_planes(session: Session, source: Path) -> dict[str, float | None]:
    """Return how fast frames are restored that are decoded already and not encoded."""
    reader = VideoSource(source)
    try:
        colours = reader.planar
        planar = None if colours is None else planar_session(session, colours)
        if planar is None:
            return {}
        reader.as_planes = True
        items = [item.pixels for item in reader if isinstance(item, Frame)]
        frames = [pixels for pixels in items if isinstance(pixels, Planes)]

        def restore(planes: Planes) -> Planes:
            return planar.planes(planar.restore(planar.blocks(planes)), *planes.shape)

        restore(frames[0])
        with ThreadPoolExecutor(planar.at_once) as pool:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            for _ in pool.map(restore, frames):
                pass
            cpu_s, wall_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
        return {
            "planes_fps": len(frames) / wall_s,
            "planes_cpu_ms": 1000 * cpu_s / len(frames),
        }
    finally:
        reader.close()


def _clip(path: Path, frames: Sequence[NDArray[np.uint8]]) -> Path:
    height, width = (side & ~1 for side in frames[0].shape[:2])
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=_RATE, options={"preset": next(iter(PRESETS))})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index, pixels in enumerate(frames):
            even = np.ascontiguousarray(pixels[:height, :width])
            frame = av.VideoFrame.from_ndarray(even, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path
