"""What whoever sits in a call gets: frames at their coded size, not shrunk but coded.

A camera or a head moves over the picture for some frames, which are coded in real-time settings
by the codecs that calls use; one frame is kept, the one in which nothing has moved. Now and then
the sender changes its resolution on the way, or a frame is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from whet.conditions import Condition
from whet.degrade.codecs.programs import Pixels, in_bytes, resized
from whet.degrade.codecs.video_codecs import Coding, code, decode
from whet.degrade.lens import blurred, gaussian_kernel
from whet.degrade.one_by_one import KERNELS, log_uniform
from whet.degrade.resize import equal_blur_px

__all__ = ["CallNative", "draw_coding", "moved_views"]

FRAMES = (9, 14)
EARLIEST_KEPT = 2
"""A call's first frames are its worst and are seen for the shortest time."""
SPEEDS_PX, SPEED_SHARES = (0.0, 0.6, 2.0), (0.25, 0.4, 0.35)
"""Scale of the velocity per frame: still, a head, a hand-held camera."""
TREMBLE_PX, TREMBLE_PROBABILITY = 0.5, 0.7
WHOLE_PX_PROBABILITY = 0.4
NOISELESS, NOISE_LEVELS = 0.4, (0.5, 3.0)
SOFT_PROBABILITY, SOFT_PX = 0.15, (0.5, 1.3)
SWITCH_PROBABILITY, SWITCH_FACTOR = 0.08, (1.25, 2.0)
LOSS_PROBABILITY = 0.05
REACH_PX = 48
"""No frame moves further from the kept one."""
MULTIPLE = 2
SMALLEST_PX = 32

H264_LIVE, H264_FILE, VP8, VP9 = 0.28, 0.52, 0.67, 0.92
"""Cumulative shares; the rest is AV1."""


def draw_coding(rng: Generator) -> tuple[Coding, float]:
    """Draw a codec in real-time settings, and the measure of how hard it codes, 0 to 1."""
    sort, even = rng.random(), rng.random()
    speed = int(rng.integers(4, 10))
    if sort < H264_FILE:
        live = sort < H264_LIVE
        low, high = (18.0, 38.0) if live else (17.0, 34.0)
        crf = low + (high - low) * even
        quiet = "log-level=none"
        options = {"preset": "veryfast" if live or speed < 7 else "medium", "crf": f"{crf:.1f}"}
        if live:
            options |= {"tune": "zerolatency", "profile": "baseline"}
            quiet = "keyint=infinite:scenecut=0:" + quiet
        return Coding("libx264", {**options, "x264-params": quiet}), crf / 51
    if sort < VP9:
        old = sort < VP8
        low, high = (8, 55) if old else (18, 57)
        step = round(low + (high - low) * even)
        quality = {name: str(step) for name in ("qmin", "qmax", "crf")}
        live_options = {"deadline": "realtime", "lag-in-frames": "0"}
        # Below zero VP8 keeps to a speed; above it chooses one by the clock, never the same twice.
        used = {"cpu-used": str(-speed if old else max(6, speed - 1))}
        coding = Coding("libvpx" if old else "libvpx-vp9", {**live_options, **used, **quality})
        return coding, step / 63
    step = round(25 + 30 * even)
    options = {"preset": "11", "crf": str(step), "svtav1-params": "lp=1:pred-struct=1"}
    return Coding("libsvtav1", options), step / 63


@dataclass(frozen=True)
class CallNative:
    """Attributes:
    path: (T, 2) where each frame looks, right and down in pixels, 0 at the one kept.
    kept: its index.
    noise_levels, soft_px: of the camera.
    coding, hardness: see :func:`draw_coding`.
    switch: from this frame on it is sent smaller by ``factor`` and enlarged by the receiver.
    lost: index of a frame that never arrives, or None.
    """

    path: NDArray[np.float64]
    kept: int
    noise_levels: float
    soft_px: float
    coding: Coding
    hardness: float
    switch: int
    factor: float
    lost: int | None

    @classmethod
    def draw(cls, rng: Generator) -> CallNative:
        count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
        kept = int(rng.integers(EARLIEST_KEPT, count))
        velocity = rng.standard_normal(2) * rng.choice(SPEEDS_PX, p=SPEED_SHARES)
        tremble = TREMBLE_PX * rng.standard_normal((count, 2))
        steps = velocity + tremble * (rng.random() < TREMBLE_PROBABILITY)
        path = steps.cumsum(0)
        path -= path[kept]
        path = np.rint(path) if rng.random() < WHOLE_PX_PROBABILITY else path
        noiseless, noise = rng.random() < NOISELESS, log_uniform(rng, *NOISE_LEVELS)
        soft, sigma = rng.random() < SOFT_PROBABILITY, float(rng.uniform(*SOFT_PX))
        coding, hardness = draw_coding(rng)
        switched, switch = rng.random() < SWITCH_PROBABILITY, int(rng.integers(1, count))
        factor = float(rng.uniform(*SWITCH_FACTOR))
        lossy, lost = rng.random() < LOSS_PROBABILITY, int(rng.integers(1, kept))
        return cls(
            path.clip(-REACH_PX, REACH_PX),
            kept,
            0.0 if noiseless else noise,
            sigma if soft else 0.0,
            coding,
            hardness,
            switch if switched else count,
            factor,
            lost if lossy else None,
        )

    @property
    def condition(self) -> Condition:
        enlarged = equal_blur_px(self.factor) if self.switch <= self.kept else 0.0
        blur = float(np.hypot(self.soft_px, enlarged))
        return Condition("call-native", blur, self.noise_levels, self.hardness, 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        height, width = sharp.shape[:2]
        views = moved_views(_even(sharp), self.path, rng, self.noise_levels, self.soft_px)
        switched = self.switch <= self.kept
        # Frames after a change of size begin with a key frame: what was before does not matter.
        views = views[self.switch :] if switched else views[: self.switch]
        kept = self.kept - (self.switch if switched else 0)
        size = (views[0].shape[0], views[0].shape[1])
        if switched:
            views = [resized(view, _shrunk(size, self.factor), KERNELS[0]) for view in views]
        frame = self._received(views, kept)
        # Graphics hardware enlarges bilinearly.
        out = resized(frame, size, KERNELS[1]) if switched else frame
        return out[:height, :width]

    def _received(self, views: list[Pixels], kept: int) -> Pixels:
        packets = code(views, self.coding)
        received = [p for p in packets if self.lost is None or p.pts != self.lost]
        frames = decode(received, self.coding.codec)
        if kept not in frames and self.lost is not None:
            # A decoder that shows nothing until it can go on: as if nothing had been lost.
            return replace(self, lost=None)._received(views, kept)
        pixels: Pixels = frames[kept].to_ndarray(format="rgb24")
        return pixels


def _shrunk(size: tuple[int, int], factor: float) -> tuple[int, int]:
    height, width = (max(SMALLEST_PX, MULTIPLE * round(side / factor / MULTIPLE)) for side in size)
    return height, width


def _even(sharp: Pixels) -> Pixels:
    """Extend a picture to sides that every codec takes: even, and not too short."""
    height, width = sharp.shape[:2]
    below, right = (max(SMALLEST_PX, side + -side % MULTIPLE) - side for side in (height, width))
    return np.pad(sharp, ((0, below), (0, right), (0, 0)), mode="edge")


def moved_views(
    sharp: Pixels,
    path: NDArray[np.float64],
    rng: Generator,
    noise_levels: float = 0.0,
    soft_px: float = 0.0,
) -> list[Pixels]:
    """Return what a camera sees of ``sharp`` along ``path`` (T, 2), right and down in pixels.

    Frames have the size of ``sharp``, whose edges are mirrored; shifts by part of a pixel are
    bicubic; a row of zeros is the picture itself. Each frame has noise of its own.
    """
    height, width = sharp.shape[:2]
    reach = int(np.ceil(np.abs(path).max())) + 2
    source = sharp
    if soft_px:
        source = in_bytes(blurred(sharp, gaussian_kernel(soft_px, soft_px, fine=1)))
    wide = Image.fromarray(np.pad(source, ((reach, reach), (reach, reach), (0, 0)), "symmetric"))
    views = []
    for x, y in path + reach:
        if x == round(x) and y == round(y):
            left, top = int(x), int(y)
            view = np.asarray(wide.crop((left, top, left + width, top + height)))
        else:
            move = (1, 0, x, 0, 1, y)
            view = np.asarray(
                wide.transform((width, height), Image.Transform.AFFINE, move, KERNELS[0])
            )
        if noise_levels:
            view = in_bytes(view + noise_levels * rng.standard_normal(view.shape))
        views.append(np.ascontiguousarray(view))
    return views
