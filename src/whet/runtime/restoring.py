"""Which way the frames of one video go through a session: as RGB, or as planes, several at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from whet.runtime.gate import Gate
from whet.runtime.media import Frame, VideoSource
from whet.runtime.planes import Planes
from whet.runtime.session import PlanarSession, planar_session

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["Restoring"]

Pending = Callable[[], Frame]


class Restoring:
    """Takes the frames of a video in order, and gives them back in order.

    Planes are restored by threads of its own, RGB by the caller's when the result is asked for.

    Args:
        session: an open session.
        reader: of the video; it is told to yield planes where the session takes them.
        strength: scales what restoration changes; 0 lets every frame pass uncounted.
        gate: decides which frames pass; None restores all.
    """

    def __init__(
        self, session: Session, reader: VideoSource, strength: float, gate: Gate | None
    ) -> None:
        self._session, self._strength, self._gate = session, strength, gate
        colours = reader.planar
        self._planar: PlanarSession | None = None
        if colours is not None and strength:
            self._planar = planar_session(session, colours)
        reader.as_planes = colours is not None and (self._planar is not None or not strength)
        lanes = self._planar.at_once if self._planar else 1
        self.ahead = lanes if self._planar else 0
        """Frames to begin before the first of them is asked for."""
        self._pool = ThreadPoolExecutor(lanes, "whet-restore")

    def begin(self, frame: Frame) -> Pending:
        """Begin a frame; what is returned waits for its result."""
        share = self._share(frame) if self._strength else None
        if share is None:
            return lambda: frame
        if share == 0:
            return lambda: replace(frame, passed=True)
        pixels, strength = frame.pixels, self._strength * share
        if not isinstance(pixels, Planes):
            return lambda: replace(frame, pixels=self._session.restore(pixels, strength))
        assert self._planar is not None
        future = self._pool.submit(self._planar.restore, pixels, strength)
        return lambda: replace(frame, pixels=future.result())

    def _share(self, frame: Frame) -> float:
        if self._gate is None:
            return 1.0
        pixels = frame.pixels
        return self._gate.share(pixels.y if isinstance(pixels, Planes) else pixels)

    def __enter__(self) -> Restoring:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
