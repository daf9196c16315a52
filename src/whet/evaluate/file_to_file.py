"""Frames per second from video file to video file, as ``whet video`` runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from whet.evaluate.contestants import Contestant
from whet.runtime import open_session
from whet.runtime.video import restore_video

if TYPE_CHECKING:
    from whet.artifact import Card

__all__ = ["file_to_file"]

_RATE = 25
_PRESET = "veryfast"


class _Copy:
    """A session that restores nothing: decoder and encoder alone."""

    card: Card
    runtime = "none"

    def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
        del strength
        return image


def file_to_file(
    contestants: Sequence[Contestant], frames: Sequence[NDArray[np.uint8]]
) -> tuple[dict[str, float], float]:
    """Restore one clip with every contestant.

    The clip is H.264 at 25 fps, encoded like the results by x264's ``veryfast``.
    Sessions are warmed before; opening the files counts.

    Args:
        contestants: of kind ``model``.
        frames: uint8 (H, W, 3), all of one size.

    Returns:
        Frames per second by label, and those of decoding and encoding alone.
    """
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        folder = Path(name)
        source = _clip(folder / "source.mp4", frames)
        limit = _fps(_Copy(), source, folder / "copy.mp4")
        measured = {}
        for contestant in contestants:
            session = open_session(
                Path(contestant.file), runtime=contestant.runtime, threads=contestant.threads
            )
            session.restore(frames[0])
            measured[contestant.label] = _fps(session, source, folder / "restored.mp4")
    return measured, limit


def _fps(session: Any, source: Path, target: Path) -> float:
    done = restore_video(session, source, target, preset=_PRESET, gate=False, overwrite=True)
    return done.frames / done.seconds


def _clip(path: Path, frames: Sequence[NDArray[np.uint8]]) -> Path:
    height, width = (side & ~1 for side in frames[0].shape[:2])
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=_RATE, options={"preset": _PRESET})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index, pixels in enumerate(frames):
            even = np.ascontiguousarray(pixels[:height, :width])
            frame = av.VideoFrame.from_ndarray(even, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path
