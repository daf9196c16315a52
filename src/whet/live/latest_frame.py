"""The latest frame, handed from the thread that takes frames to the one that shows them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from whet.live.sources import Grab

__all__ = ["Grabber", "LatestFrame"]


class LatestFrame:
    """Holds one frame between two threads: putting replaces, taking empties.

    Attributes:
        dropped: frames that were replaced before anybody took them.
        ended: no frame will come any more, and none is left.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._grab: Grab | None = None
        self._closed = False
        self.dropped = 0

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._closed and self._grab is None

    def put(self, grab: Grab) -> None:
        """Make ``grab`` the latest frame."""
        with self._changed:
            self.dropped += self._grab is not None
            self._grab = grab
            self._changed.notify()

    def close(self) -> None:
        """Say that no frame follows."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, timeout_s: float) -> Grab | None:
        """Return the latest frame once there is one; None after the time, or at the end."""
        with self._changed:
            if self._grab is None and not self._closed:
                self._changed.wait(timeout_s)
            grab, self._grab = self._grab, None
            return grab


class Grabber(threading.Thread):
    """Takes frames as they come; keeps what went wrong for whoever joins it."""

    def __init__(self, source: Iterable[Grab], latest: LatestFrame) -> None:
        super().__init__(name="whet-grab", daemon=True)
        self._source, self._latest = source, latest
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for grab in self._source:
                self._latest.put(grab)
        except BaseException as failure:
            self.failure = failure
        finally:
            self._latest.close()
