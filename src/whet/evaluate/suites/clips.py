"""Short clips through real codecs: calls as they arrive and ordinary video.

A clip is a photograph under a moving window, or the frames of a real one at half their size,
so that what its own coding did to it vanishes. The frames before coding are what the decoded
ones are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whet.errors import DataError
from whet.evaluate.suites.fixed import soft

__all__ = ["CALL_H264", "CALL_VP9", "FRAMES", "SCORED", "Coding", "coded", "ordinary", "pan"]

Pixels = NDArray[np.uint8]

FRAMES = 24
SCORED = (5, 11, 17, 23)
"""Frames of a clip that are scored, once the encoder has settled."""
SIZE = (640, 360)
FPS = 30
DRIFT_PX, TREMOR_PX = 1.5, 0.3
"""Standard deviations per axis and frame: of a clip's steady motion and of what is added to it."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")


@dataclass(frozen=True)
class Coding:
    """How a clip is coded.

    Attributes:
        codec: a key of ``whet.degrade.codecs.video_codecs.DECODERS``.
        options: of the encoder.
        sigma_px: of a Gaussian that softens the frames before, 0 for none.
    """

    codec: str
    options: Mapping[str, str]
    sigma_px: float = 0.0


_CONSTANT = {"b": "400k", "maxrate": "400k", "minrate": "400k", "bufsize": "400k"}
_QUIET = {"x264-params": "log-level=none"}
CALL_H264 = Coding(
    "libx264",
    {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", **_CONSTANT, **_QUIET},
)
CALL_VP9 = Coding(
    "libvpx-vp9", {"deadline": "realtime", "cpu-used": "7", "lag-in-frames": "0", **_CONSTANT}
)


def ordinary(crf: int, sigma_px: float = 0.0) -> Coding:
    """Return H.264 as files hold it, by x264's ``veryfast`` at a constant rate factor."""
    return Coding("libx264", {"preset": "veryfast", "crf": str(crf), **_QUIET}, sigma_px)


def pan(sharp: Pixels, seed: int) -> Pixels:
    """Return uint8 (24, H, W, 3): a window that drifts and trembles over a photograph.

    The window has 640 x 360 pixels, less where seven eighths of the photograph are smaller.
    """
    rng = np.random.default_rng(seed)
    height, width = sharp.shape[:2]
    w, h = (
        min(most, max(2, side * 7 // 16 * 2))
        for most, side in zip(SIZE, (width, height), strict=True)
    )
    steps = DRIFT_PX * rng.standard_normal(2) + TREMOR_PX * rng.standard_normal((FRAMES, 2))
    path = steps.cumsum(0)
    room = np.maximum(np.array([height, width]) - (h, w), 1e-6)
    # Reflected where it reaches the photograph's edge, so that it never stands still there.
    path = (path - path.mean(0) + room / 2) % (2 * room)
    path = np.minimum(path, 2 * room - path)
    image = Image.fromarray(sharp)
    affine, bicubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    moved = [image.transform((w, h), affine, (1, 0, x, 0, 1, y), bicubic) for y, x in path]
    return np.stack([np.array(frame) for frame in moved])


def coded(frames: Pixels, coding: Coding) -> Pixels:
    """Return ``frames`` (T, H, W, 3), H and W even, after coding and decoding.

    Raises:
        DataError: the codec is missing from this build of FFmpeg, or dropped frames.
    """
    from whet.degrade.codecs import video_codecs

    soft_frames = [
        soft(frame, 0, sigma_px=coding.sigma_px) if coding.sigma_px else frame for frame in frames
    ]
    try:
        packets = video_codecs.code(
            soft_frames, video_codecs.Coding(coding.codec, coding.options, FPS)
        )
        decoded = video_codecs.decode(packets, coding.codec)
    except ValueError as error:
        raise DataError(
            f"this build of PyAV cannot code by {coding.codec} ({error}); install a complete one"
        ) from error
    if len(decoded) != len(frames):
        raise DataError(
            f"{coding.codec} returned {len(decoded)} of {len(frames)} frames; "
            "install a complete build of PyAV"
        )
    return np.stack([decoded[i].to_ndarray(format="rgb24") for i in range(len(frames))])


def clip_files(folder: Path) -> list[Path]:
    """Return the videos of a folder.

    Raises:
        DataError: it holds none.
    """
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise DataError(f"{folder} holds no video ({', '.join(VIDEO_SUFFIXES)}); name another")
    return found


def halved_clip(path: Path) -> Pixels:
    """Return the first 24 frames of a video at half its size: uint8 (T, H, W, 3), sides even.

    Raises:
        DataError: it cannot be decoded or has fewer frames.
    """
    try:
        frames = list(_first_frames(path))
    except (OSError, av.FFmpegError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); leave it out") from error
    if len(frames) < FRAMES:
        raise DataError(f"{path} has {len(frames)} frames, {FRAMES} are needed; leave it out")
    return np.stack(frames)


def _first_frames(path: Path) -> Iterator[Pixels]:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == FRAMES:
                return
            size = (frame.width // 4 * 2, frame.height // 4 * 2)
            image = Image.fromarray(frame.to_ndarray(format="rgb24"))
            yield np.array(image.resize(size, Image.Resampling.BICUBIC))
