"""Old television and home video: film grain, two fields of 288 lines, MPEG-2 or DV, deinterlaced.

The fields of a frame are taken a fiftieth of a second apart; the upper one, whose lines a
deinterlacer keeps, shows the picture unmoved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from whet.conditions import Condition
from whet.degrade.codecs.call_native import moved_views
from whet.degrade.codecs.programs import Pixels, in_bytes
from whet.degrade.codecs.video_codecs import Coding, code, decode
from whet.degrade.lens import blurred, convolved, gaussian_kernel
from whet.degrade.one_by_one import log_uniform

__all__ = ["Archive"]

FPS = 25
CLIP_FRAMES = 5
KEPT = 3
"""One that other frames predict and are predicted from, before and behind."""
SOFT_PX = (0.4, 1.4)
"""Along a line, of analogue tubes and tapes; between lines a camera's filter leaves half of it."""
GRAINLESS, GRAIN_LEVELS, GRAIN_PX = 0.2, (1.0, 9.0), (0.4, 1.2)
SPEED_PX = 1.5
"""Scale of the motion from one field to the next."""
STILL_PROBABILITY = 0.35
DV_PROBABILITY = 0.3
MPEG2_QUANTISER = (2, 12)
LARGEST_QUANTISER = 31
DV_CODING = 0.12
"""DV's quantisers follow the picture; its loss is about that of JPEG at quality 88."""
PAL = (576, 720)
FILTERS = ("yadif", "bwdif", "lines")
"""Programs' deinterlacers, and a player's: missing lines are the mean of their neighbours."""


@dataclass(frozen=True)
class Archive:
    """Attributes:
    soft_px: along a line.
    grain_levels, grain_px: standard deviation and size of the grain.
    path: (2 T, 2) where each field looks, right and down in pixels.
    quantiser: of MPEG-2; None is DV.
    deinterlacer: one of :data:`FILTERS`.
    """

    soft_px: float
    grain_levels: float
    grain_px: float
    path: NDArray[np.float64]
    quantiser: int | None
    deinterlacer: str

    @classmethod
    def draw(cls, rng: Generator) -> Archive:
        grainless, grain = rng.random() < GRAINLESS, log_uniform(rng, *GRAIN_LEVELS)
        still, velocity = rng.random() < STILL_PROBABILITY, SPEED_PX * rng.standard_normal(2)
        fields = np.arange(2 * CLIP_FRAMES)[:, None] - 2 * KEPT
        digital = rng.random() < DV_PROBABILITY
        quantiser = int(rng.integers(MPEG2_QUANTISER[0], MPEG2_QUANTISER[1] + 1))
        return cls(
            log_uniform(rng, *SOFT_PX),
            0.0 if grainless else grain,
            float(rng.uniform(*GRAIN_PX)),
            fields * velocity * (not still),
            None if digital else quantiser,
            FILTERS[int(rng.integers(len(FILTERS)))],
        )

    @property
    def condition(self) -> Condition:
        coding = DV_CODING if self.quantiser is None else self.quantiser / LARGEST_QUANTISER
        return Condition("archive", self.soft_px, self.grain_levels, coding, 0.0)

    def spoil(self, sharp: Pixels, rng: Generator) -> Pixels:
        height, width = sharp.shape[:2]
        kernel = gaussian_kernel(self.soft_px, self.soft_px / 2)
        fields = moved_views(in_bytes(blurred(sharp, kernel)), self.path, rng)
        fields = [self._grainy(field, rng) for field in fields]
        framed = [_framed(field, PAL if self.quantiser is None else None) for field in fields]
        frames = [_woven(*framed[i : i + 2]) for i in range(0, len(framed), 2)]
        coding = Coding("dvvideo" if self.quantiser is None else "mpeg2video", self._options(), FPS)
        decoded = decode(code(frames, coding), coding.codec)
        shown = [decoded[number] for number in sorted(decoded)]
        if self.deinterlacer == "lines":
            whole = _lines(shown[KEPT].to_ndarray(format="rgb24"))
        else:
            whole = _filtered(shown, self.deinterlacer)[KEPT]
        return whole[:height, :width]

    def _options(self) -> dict[str, str]:
        if self.quantiser is None:
            return {}
        step = str(self.quantiser)
        return {"qmin": step, "qmax": step, "flags": "+ildct+ilme", "bf": "2", "g": "12"}

    def _grainy(self, field: Pixels, rng: Generator) -> Pixels:
        if not self.grain_levels:
            return field
        grain = rng.standard_normal((*field.shape[:2], 1), dtype=np.float32)
        soft = convolved(grain, gaussian_kernel(self.grain_px, self.grain_px, fine=1))
        return in_bytes(field + soft * (self.grain_levels / max(1e-3, float(soft.std()))))


def _framed(field: Pixels, size: tuple[int, int] | None) -> Pixels:
    """Extend a picture, mirrored, to ``size``, or to sides that interlaced coding takes."""
    height, width = field.shape[:2]
    rows, columns = size or (max(32, height + -height % 32), max(32, width + -width % 16))
    if height > rows or width > columns:
        rows, columns = height + -height % 32, width + -width % 16
    border = ((0, rows - height), (0, columns - width), (0, 0))
    return np.pad(field, border, "symmetric")


def _woven(upper: Pixels, lower: Pixels) -> Pixels:
    """Take the even lines of one picture and the odd lines of another."""
    frame = upper.copy()
    frame[1::2] = lower[1::2]
    return frame


def _lines(frame: Pixels) -> Pixels:
    """Replace odd lines by the mean of their neighbours."""
    whole = frame.copy()
    below = np.concatenate([frame[2::2], frame[-2:-1]])[: len(frame) // 2]
    whole[1::2] = ((frame[0::2].astype(np.uint16) + below + 1) // 2).astype(np.uint8)
    return whole


def _filtered(frames: Sequence[Any], name: str) -> list[Pixels]:
    """Deinterlace PyAV's frames by a filter of FFmpeg's, one picture for each frame."""
    from av.filter import Graph

    graph: Any = Graph()
    first = frames[0]
    time_base = f"1/{FPS}"
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=time_base
    )
    between = graph.add(name, "mode=send_frame:parity=tff:deint=all")
    sink = graph.add("buffersink")
    source.link_to(between)
    between.link_to(sink)
    graph.configure()
    shown: list[Pixels] = []
    for frame in (*frames, None):
        graph.push(frame)
        shown += _pulled(graph)
    return shown


def _pulled(graph: Any) -> list[Pixels]:
    import av

    pulled: list[Pixels] = []
    while True:
        try:
            pulled.append(graph.pull().to_ndarray(format="rgb24"))
        except (av.error.BlockingIOError, av.error.EOFError):
            return pulled
