"""The way of a video's frames through a session: as RGB, or as planes and several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whet.runtime.session import PlanarSession, planar_session
from whet.runtime.yuv420 import Planes
from whet.video.decode.source import Frame, VideoSource
from whet.video.sharpness_gate import Gate
from whet.video.stabilise import Stabiliser

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["FrameRestorer", "Treatment"]

Pending = Callable[[], Frame]


@dataclass(frozen=True)
class Treatment:
    """What is done to frames.

    Attributes:
        strength: scales what restoration changes; 0 lets every frame pass uncounted.
        gate: decides which frames pass; None restores all.
        steady_frames: keep restoration from trembling (:mod:`whet.video.stabilise`), and begin
            anew after so many frames, so that a run that goes on need not know all before; 0
            does not.
    """

    strength: float = 1.0
    gate: Gate | None = None
    steady_frames: int = 0


@dataclass(frozen=True)
class _Begun:
    """A frame in blocks of planes, on its way: whole, or its fields."""

    blocks: Sequence[NDArray[np.uint8]]
    strength: float
    restored: Sequence[Future[Any]]


class FrameRestorer:
    """Takes the frames of a video in order, and gives them back in order.

    Planes are restored by threads of its own, RGB by the caller's when the result is asked for.
    A frame that equals the one before to the byte is not restored again.

    Args:
        session: an open session.
        reader: of the video; it is told to yield planes where the session takes them.
        treatment: what to do.
        start: number of the first frame that will come.
    """

    def __init__(
        self, session: Session, reader: VideoSource, treatment: Treatment, start: int = 0
    ) -> None:
        self._session, self._treatment = session, treatment
        colours, strength = reader.planar, treatment.strength
        self._planar: PlanarSession | None = None
        if colours is not None and strength:
            self._planar = planar_session(session, colours)
        reader.as_planes = colours is not None and (self._planar is not None or not strength)
        self.ahead = self._planar.at_once if self._planar else 0
        """Frames to begin before the first of them is asked for."""
        self._pool = ThreadPoolExecutor(max(1, self.ahead), "whet-restore")
        self._begun: _Begun | None = None
        self._stabilisers: list[Stabiliser] = []  # of the frame, or of each of its fields
        self._asked = start
        self._shown: tuple[_Begun, Planes] | None = None

    def begin(self, frame: Frame, share: float | None = None) -> Pending:
        """Begin a frame; what is returned waits for its result, and is to be called in order.

        Args:
            frame: the next one.
            share: of restoration; None asks the gate.
        """
        if not self._treatment.strength:
            return lambda: frame
        share = self._share(frame) if share is None else share
        if share == 0:
            self._begun = None
            return lambda: self._pass(frame)
        strength = self._treatment.strength * share
        if not isinstance(frame.pixels, Planes):
            return lambda: self._rgb(frame, strength)
        begun = self._begun = self._begin(frame.pixels, strength, frame.fields)
        return lambda: self._planes(frame, begun)

    def _share(self, frame: Frame) -> float:
        if self._treatment.gate is None:
            return 1.0
        pixels = frame.pixels
        seen = pixels.y if isinstance(pixels, Planes) else pixels
        # Between two fields lie combs, which are no sharpness.
        return self._treatment.gate.share(seen[::2] if frame.fields else seen)

    def _begin(self, planes: Planes, strength: float, fields: bool) -> _Begun:
        assert self._planar is not None
        parts = [planes.field(0), planes.field(1)] if fields else [planes]
        blocks, last = [self._planar.blocks(part) for part in parts], self._begun
        if last and last.strength == strength and _equal(last.blocks, blocks):
            return last
        restored = [self._pool.submit(self._planar.restore, part, strength) for part in blocks]
        return _Begun(blocks, strength, restored)

    # What follows happens when results are asked for: in the order of the frames.

    def _pass(self, frame: Frame) -> Frame:
        self._count()
        self._stabilisers = []
        self._shown = None
        return replace(frame, passed=True)

    def _rgb(self, frame: Frame, strength: float) -> Frame:
        self._count()
        pixels = frame.pixels
        assert not isinstance(pixels, Planes)
        parts = [pixels[0::2], pixels[1::2]] if frame.fields else [pixels]
        steady = self._stabilised(parts, [self._session.restore(part, strength) for part in parts])
        if not frame.fields:
            return replace(frame, pixels=steady[0])
        woven = np.empty_like(pixels)
        woven[0::2], woven[1::2] = steady
        return replace(frame, pixels=woven)

    def _planes(self, frame: Frame, begun: _Begun) -> Frame:
        anew = self._count()
        if self._shown is None or self._shown[0] is not begun or anew:
            restored = [future.result() for future in begun.restored]
            steady = self._stabilised(begun.blocks, restored)
            self._shown = (begun, self._whole(frame, steady))
        return replace(frame, pixels=self._shown[1])

    def _whole(self, frame: Frame, blocks: Sequence[NDArray[Any]]) -> Planes:
        """Return the planes of a frame from the blocks of all of it or of its two fields."""
        assert self._planar is not None
        assert isinstance(frame.pixels, Planes)
        height, width = frame.pixels.shape
        if not frame.fields:
            return self._planar.planes(blocks[0], height, width)
        woven = Planes.empty(height, width)
        for first, part in enumerate(blocks):
            field = self._planar.planes(part, (height + 1 - first) // 2, width)
            for target, plane in zip(woven, field, strict=True):
                lines = target[first::2]
                lines[:] = plane[: len(lines)]
        return woven

    def _stabilised(
        self, degraded: Sequence[NDArray[Any]], restored: Sequence[NDArray[Any]]
    ) -> Sequence[NDArray[Any]]:
        if not self._treatment.steady_frames:
            return restored
        if len(self._stabilisers) != len(degraded):
            self._stabilisers = [Stabiliser() for _ in degraded]
        each = zip(self._stabilisers, degraded, restored, strict=True)
        return [steady(before, after) for steady, before, after in each]

    def _count(self) -> bool:
        """Count a frame; return whether stabiliser begins anew with it."""
        period = self._treatment.steady_frames
        anew = period > 0 and self._asked % period == 0
        if anew:
            self._stabilisers = []
        self._asked += 1
        return anew

    def __enter__(self) -> FrameRestorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _equal(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))
