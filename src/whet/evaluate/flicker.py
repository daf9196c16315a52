"""Does restoration add flicker? A static scene through a video call's codec, frame by frame.

Run as ``python -m whet.evaluate.flicker PHOTOS [--model nano]``. A still photograph is repeated
with new sensor noise in every frame and encoded in H.264 at the rates of calls. What then changes
from frame to frame is noise and the codec, none of it the scene. The frames are restored as in
``whet video``, with stabiliser or, with ``--no-steady``, without; what is compared is their RGB.
The ratio of the changes after and before says how much flicker is added: 1 is none, and
:data:`MOST` is the most that whet allows itself. It ends with exit code 1 where the mean absolute
change, the stricter of the two ratios here, goes beyond.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from whet import image
from whet.errors import InputError
from whet.graph.yuv420_io import Colours
from whet.runtime.session import planar_session
from whet.runtime.yuv420 import Planes
from whet.video.stabilise import Stabiliser

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = [
    "MOST",
    "RATES",
    "Flicker",
    "as_in_video",
    "coded_still",
    "flicker",
    "shown",
    "temporal_change",
]

Pixels = NDArray[np.uint8]
Restore = Callable[[Sequence[Planes]], Sequence[NDArray[Any]]]

RATES = (150, 400, 1000)
"""Kilobits per second of calls, as in whet's degradations."""

MOST = 1.05
"""Largest ratio of temporal change after restoration to before."""

FPS = 25
SETTLING = 12  # frames after which the encoder has spent its first bits
NOISE = 3.0  # standard deviation of the sensor noise, in levels of 255
_SIZE = (640, 360)
_COLOURS = Colours(5, full_range=False)  # as untagged frames of this size are shown


@dataclass(frozen=True)
class Flicker:
    """How much changes from frame to frame of a static scene, in levels of 255.

    Attributes:
        degraded: mean absolute change of the decoded frames.
        restored: the same after restoration.
        degraded_rms, restored_rms: root mean square changes, in which jumps count more.
    """

    degraded: float
    restored: float
    degraded_rms: float
    restored_rms: float

    @property
    def ratio(self) -> float:
        """Of the mean absolute changes."""
        return self.restored / self.degraded

    @property
    def ratio_rms(self) -> float:
        """Of the root mean square changes."""
        return self.restored_rms / self.degraded_rms


def coded_still(
    still: Pixels, kilobits: int, frames: int = 50, *, noise: float = NOISE, seed: int = 0
) -> Iterator[Planes]:
    """Yield decoded frames of a still picture in H.264, from the settled ones on.

    Args:
        still: uint8 (H, W, 3), even sides.
        kilobits: per second, at 25 frames per second.
        frames: to encode; :data:`SETTLING` fewer are returned.
        noise: standard deviation of the noise, new in every frame and channel.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    height, width = still.shape[:2]
    options = {"preset": "veryfast", "tune": "zerolatency", "b": f"{kilobits}k"}
    options |= {"maxrate": f"{kilobits}k", "bufsize": f"{kilobits}k"}
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        video: Any = out.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            noisy = np.rint((still + rng.normal(0, noise, still.shape)).clip(0, 255))
            frame = av.VideoFrame.from_ndarray(noisy.astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    with av.open(io.BytesIO(file.getvalue()), "r") as again:
        for index, frame in enumerate(again.decode(video=0)):
            if index >= SETTLING:
                yield Planes(frame)


def shown(planes: Planes) -> Pixels:
    """Return a frame as players show it: uint8 (H, W, 3)."""
    return np.asarray(planes.frame.to_ndarray(format="rgb24"), np.uint8)


def as_in_video(session: Session, steady: bool) -> Restore:
    """Return what restores one scene's frames as ``whet video`` does."""
    planar = planar_session(session, _COLOURS)

    def restore(frames: Sequence[Planes]) -> list[Pixels]:
        stabiliser, results = Stabiliser(), []
        for frame in frames:
            degraded = shown(frame) if planar is None else planar.blocks(frame)
            restored = (planar or session).restore(degraded)
            if steady:
                restored = stabiliser(degraded, restored)
            results.append(
                restored if planar is None else shown(planar.planes(restored, *frame.shape))
            )
        return results

    return restore


def temporal_change(frames: Sequence[Pixels]) -> tuple[float, float]:
    """Return mean absolute and root mean square change between neighbours, in levels of 255."""
    absolute, squared = [], []
    for before, after in pairwise(frames):
        change = after.astype(np.float32) - before
        absolute.append(float(np.abs(change).mean()))
        squared.append(float(np.square(change).mean()))
    return float(np.mean(absolute)), float(np.sqrt(np.mean(squared)))


def flicker(restore: Restore, stills: Sequence[Pixels], kilobits: int, frames: int = 50) -> Flicker:
    """Measure the change of static scenes; return their mean.

    Args:
        restore: returns the RGB frames that become of one scene's.
        stills: see :func:`coded_still`, as the other arguments.
    """
    found = []
    for seed, still in enumerate(stills):
        degraded = list(coded_still(still, kilobits, frames, seed=seed))
        before, before_rms = temporal_change([shown(frame) for frame in degraded])
        after, after_rms = temporal_change(restore(degraded))
        found.append((before, after, before_rms, after_rms))
    return Flicker(*(float(value) for value in np.mean(found, axis=0)))


def _stills(folder: Path, count: int) -> list[Pixels]:
    """Return the middles of ``count`` pictures, evenly spread over the folder's."""
    width, height = _SIZE
    paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in image.SUFFIXES]
    stills: list[Pixels] = []
    for path in paths[:: max(1, len(paths) // count)]:
        pixels = image.read(path).pixels
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        if len(stills) < count and top >= 0 and left >= 0 and pixels.dtype == np.uint8:
            cut = pixels[top : top + height, left : left + width]
            stills.append(np.ascontiguousarray(cut, dtype=np.uint8))
    if not stills:
        raise InputError(f"{folder} holds no 8-bit picture of {width}x{height} or more")
    return stills


def main(words: Sequence[str] | None = None) -> int:
    """Print one row per model and rate; return 1 where a ratio is above :data:`MOST`."""
    from whet.runtime import open_session

    parser = argparse.ArgumentParser(prog="whet.evaluate.flicker")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", "-m", action="append")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "int8"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-steady", action="store_true")
    given = parser.parse_args(words)
    stills = _stills(given.photos, given.count)
    print("| model | kbit/s | change before | after | ratio | ratio, RMS |")
    print("|---|---:|---:|---:|---:|---:|")
    worst = 0.0
    for name in given.model or ["nano"]:
        session = open_session(name, threads=given.threads, precision=given.precision)
        restore = as_in_video(session, steady=not given.no_steady)
        label = f"{session.card.name} {session.card.precision}"
        for kilobits in RATES:
            found = flicker(restore, stills, kilobits, given.frames)
            worst = max(worst, found.ratio)
            print(
                f"| {label} | {kilobits} | {found.degraded:.3f} | {found.restored:.3f} "
                f"| {found.ratio:.3f} | {found.ratio_rms:.3f} |"
            )
    print(f"\n{len(stills)} scenes; worst ratio {worst:.3f}, allowed {MOST}")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
