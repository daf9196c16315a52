"""How long an answer can have taken, by this server's own clock.

Screening leaves out whoever answers faster than anybody can look, so the times that
browsers send are checked against the one that passed here. Only differences of a clock that
tells no time of day are looked at, and only the present trial of each participant is known.
"""

from __future__ import annotations

import time
from threading import Lock

__all__ = ["Stopwatch"]


class Stopwatch:
    """Notes when the pictures of a trial were first asked for."""

    def __init__(self) -> None:
        self._started: dict[str, tuple[str, float]] = {}
        self._lock = Lock()

    def start(self, token: str, trial: str) -> None:
        """Begin to measure a trial; again is harmless."""
        with self._lock:
            if self._started.get(token, ("", 0.0))[0] != trial:
                self._started[token] = trial, time.monotonic()

    def checked(self, token: str, trial: str, claimed_ms: int) -> int:
        """Return how long an answer took, in ms: as claimed, and no more than passed here.

        What passed here stands where nothing is claimed; the claim, where a server that was
        started anew in between has measured nothing.
        """
        with self._lock:
            known, started = self._started.get(token, ("", 0.0))
        if known != trial:
            return claimed_ms
        passed_ms = max(1, round((time.monotonic() - started) * 1e3))
        return min(claimed_ms or passed_ms, passed_ms)

    def forget(self, token: str) -> None:
        """Forget a participant who withdrew."""
        with self._lock:
            self._started.pop(token, None)
