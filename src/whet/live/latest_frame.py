"""Frames from thread to thread: the latest to who restores it, each one to who shows it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from whet.live.sources import Grab, Sound

__all__ = ["Grabber", "Handoff", "LatestFrame"]

T = TypeVar("T")

_MOST_SOUNDS = 1000  # pieces that wait: 20 s as most codecs cut it


class Handoff(Generic[T]):
    """Holds one item between two threads: who puts the next one waits until it was taken.

    Attributes:
        ended: nothing will come any more, and nothing is left.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        with self._changed:
            return self._closed

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._closed and self._item is None

    def put(self, item: T) -> None:
        """Hand ``item`` over, once the one before is gone; after :meth:`close`, drop it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is None)
            if not self._closed:
                self._item = item
                self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing follows; whoever waits goes on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """Return the item once there is one; None after the time, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None, timeout_s)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item


class LatestFrame(Handoff[Grab]):
    """Holds one frame between two threads: putting replaces, taking empties.

    Attributes:
        dropped: frames that were replaced before anybody took them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0

    def put(self, item: Grab) -> None:
        """Make ``item`` the latest frame."""
        with self._changed:
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify_all()


class Grabber(threading.Thread):
    """Takes frames as they come; keeps what went wrong for whoever joins it.

    Attributes:
        sounds: what was heard and nobody has taken yet.
    """

    def __init__(self, source: Iterable[Grab | Sound], latest: LatestFrame) -> None:
        super().__init__(name="whet-grab", daemon=True)
        self._source, self._latest = source, latest
        self.sounds: deque[Sound] = deque(maxlen=_MOST_SOUNDS)
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for item in self._source:
                if isinstance(item, Sound):
                    self.sounds.append(item)
                else:
                    self._latest.put(item)
        except BaseException as failure:
            self.failure = failure
        finally:
            self._latest.close()
