"""Decode, restore and encode at the same time.

Three threads pass frames along two short queues: one decodes, the caller's
restores, one encodes. A slow stage holds the others back, so memory holds a
dozen frames whatever the length.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from whet.video.decode.source import Frame, Item, VideoSource
from whet.video.frames import FrameRestorer, Treatment

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["Outcome", "Sink", "run"]

_QUEUED = 4  # frames between two stages
_POLL_S = 0.1


class Sink(Protocol):
    """Takes what a pipeline makes; called from one thread."""

    def write(self, item: Item) -> None:
        """Take a frame, or a packet of another stream."""

    def close(self) -> None:
        """Finish what was written."""

    def abandon(self) -> None:
        """Release everything without finishing it."""


@dataclass(frozen=True)
class Outcome:
    """What went through a pipeline.

    Attributes:
        frames: number of frames that were handed to the sink.
        passed: how many of them passed as they were.
        interrupted: Ctrl-C came, and the sink was closed early.
    """

    frames: int
    passed: int
    interrupted: bool


class _Channel:
    """A short queue between two threads that never blocks a stage for good."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(_QUEUED)
        self.stopped = threading.Event()
        """Set when the reading side wants no more, or the writing side must not go on."""

    def put(self, item: Item | None) -> bool:
        """Hand over an item, None for the end; false if nobody wants it."""
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_POLL_S)
                return True
        return False

    def __iter__(self) -> Iterator[Item]:
        while not self.stopped.is_set():
            with suppress(queue.Empty):
                item = self._queue.get(timeout=_POLL_S)
                if item is None:
                    return
                yield item


class _Stage(threading.Thread):
    """A thread whose failure is kept for the thread that joins it."""

    def __init__(self, name: str, work: Callable[[], None], outlet: _Channel) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._outlet = work, outlet
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as failure:
            self.failure = failure
            self._outlet.stopped.set()

    def finish(self) -> None:
        """Wait for the end and raise what the thread raised."""
        self.join()
        if self.failure is not None:
            raise self.failure


def run(
    session: Session,
    reader: VideoSource,
    sink: Sink,
    treatment: Treatment,
    *,
    start: int = 0,
    warm: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Run the three stages to the end, or to Ctrl-C.

    Args:
        session: is called from this thread only.
        reader: what is left of it is decoded.
        sink: is closed at the end, abandoned on failure.
        treatment: what is done to frames.
        start: number of the first frame that is left.
        warm: frames that are restored and not handed on: those behind them depend on them.
        progress: called after every frame with the number of frames so far.
    """
    decoded, restored = _Channel(), _Channel()
    decode = _Stage("whet-decode", lambda: _feed(reader, decoded), decoded)
    encode = _Stage("whet-encode", lambda: _drain(restored, sink), restored)

    def finish() -> None:
        decoded.stopped.set()
        restored.put(None)
        decode.finish()
        encode.finish()

    frames, passed, interrupted = 0, 0, False
    restorer = FrameRestorer(session, reader, treatment, start)
    decode.start()
    encode.start()
    try:
        try:
            with restorer:
                for item in _restored(_warmed(decoded, restorer, warm), restorer):
                    if not restored.put(item):
                        break
                    if isinstance(item, Frame):
                        frames += 1
                        passed += item.passed
                        if progress:
                            progress(frames)
            finish()
        except KeyboardInterrupt:
            interrupted = True
            if frames == 0:
                raise
            finish()
    except BaseException:
        for channel, stage in ((decoded, decode), (restored, encode)):
            channel.stopped.set()
            stage.join()
        sink.abandon()
        raise
    return Outcome(frames, passed, interrupted)


def _restored(decoded: Iterable[Item], restorer: FrameRestorer) -> Iterator[Item]:
    """Yield all items in order, with a few frames begun ahead of the one that is waited for."""
    begun: deque[Callable[[], Item]] = deque()
    for item in decoded:
        begun.append(restorer.begin(item) if isinstance(item, Frame) else partial(_itself, item))
        if len(begun) > restorer.ahead:
            yield begun.popleft()()
    while begun:
        yield begun.popleft()()


def _warmed(decoded: Iterable[Item], restorer: FrameRestorer, warm: int) -> Iterator[Item]:
    """Yield the items behind the first ``warm`` frames, which are restored for what they leave."""
    for item in decoded:
        if not warm:
            yield item
        elif isinstance(item, Frame):
            warm -= 1
            restorer.begin(item, share=1.0)()


def _itself(item: Item) -> Item:
    return item


def _feed(reader: Iterable[Item], decoded: _Channel) -> None:
    """Decode until the end, or until nobody wants more."""
    for item in reader:
        if not decoded.put(item):
            return
    decoded.put(None)


def _drain(restored: _Channel, sink: Sink) -> None:
    """Encode until the end and finish the file; leave it open if the run was given up."""
    for item in restored:
        sink.write(item)
    if not restored.stopped.is_set():
        sink.close()
