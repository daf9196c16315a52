"""Which model a live picture gets: the best one that keeps within its time.

Nothing here reads a clock. A :class:`Ladder` is told how long each frame took
and answers when the model should change, so its behaviour is a function of
those numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CALM_SHARE", "PASS_THROUGH", "Ladder", "Move", "percentile"]

PASS_THROUGH = "pass-through"
"""The lowest rung of every ladder: frames as they come."""

CALM_SHARE = 0.6
"""Where it is not known how long the next better model takes, it is tried while the present one
needs at most this share of the budget. A trial that fails costs a window and doubles the wait for
the next."""

HEADROOM = 0.9
"""Share of the budget that the next better model must be expected to keep within."""

_NOTHING_MS = 0.5  # a rung that takes less tells nothing of how busy the machine is
_SETTLING = 3  # frames after a change, which pay for compiling and cold caches
_LEAST = 3  # frames before anything is judged: one hiccup is no trend
_PATIENCE, _LONGEST_PATIENCE = 3, 96  # windows


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, interpolated between neighbours; 0 for no values."""
    return float(np.percentile(values, percent)) if len(values) else 0.0


@dataclass(frozen=True)
class Move:
    """A change of model.

    Attributes:
        before, after: names of rungs; the same where there is nothing lower to fall to.
        p95_ms: what the frames of the last window took.
        budget_ms: what they may take.
    """

    before: str
    after: str
    p95_ms: float
    budget_ms: float

    def __str__(self) -> str:
        took = f"a frame takes {self.p95_ms:.1f} ms (p95) of {self.budget_ms:.1f}"
        if self.before == self.after:
            return f"{took} even with {self.after}; lower the frame rate or the size"
        return f"{took}: {self.before} -> {self.after}"


class Ladder:
    """Models from the wanted one down to none, and the rung in use.

    Frames are judged by the window, one second's worth. The rung is left
    downwards when the window's 95th percentile is over the budget, or as soon as
    fewer frames have taken as long as the whole window may. It is left upwards
    after several windows on end in which the next better model would have kept
    within the budget, by what it took when the run began; each time it fails at
    once all the same, the next trial waits twice as long, up to a minute and a
    half. The first rung is the best that keeps within the budget by that measure.

    Args:
        names: of rungs, best first; the last is what is fallen to in the end.
        fps: frames per second to keep up with.
        costs_ms: what a frame takes on each rung with nothing beside it; empty where unknown.
    """

    def __init__(self, names: Sequence[str], fps: float, costs_ms: Sequence[float] = ()) -> None:
        self.budget_ms = 1000 / fps
        self._names, self._costs_ms = tuple(names), tuple(costs_ms)
        within = [rung for rung, cost in enumerate(costs_ms) if cost <= self.budget_ms]
        self._rung = within[0] if within else max(0, len(costs_ms) - 1)
        self._window_frames = max(10, round(fps))
        self._window_ms: list[float] = []
        self._settling = _SETTLING
        self._calm = 0
        self._patience = _PATIENCE
        self._windows_here = 0
        self._on_trial = False
        self._hopeless = False

    @property
    def rung(self) -> int:
        """Index of the model in use; 0 is the wanted one."""
        return self._rung

    @property
    def name(self) -> str:
        """Name of the model in use."""
        return self._names[self._rung]

    def _expected_ms(self, p95_ms: float) -> float:
        """Return what a frame would take on the rung above, by what it takes on this one."""
        if not self._costs_ms:
            return p95_ms / CALM_SHARE * HEADROOM
        here, above = self._costs_ms[self._rung], self._costs_ms[self._rung - 1]
        slower = max(1.0, p95_ms / here) if here > _NOTHING_MS else 1.0
        return max(p95_ms, above * slower)

    def record(self, busy_ms: float) -> Move | None:
        """Take note of one frame's time; return the change that follows, if any.

        Args:
            busy_ms: that the slowest of the things done to it at the same time took.
        """
        if self._settling:
            self._settling -= 1
            return None
        window = self._window_ms
        window.append(busy_ms)
        spent = sum(window) > self.budget_ms * self._window_frames
        if len(window) < self._window_frames and not (spent and len(window) >= _LEAST):
            return None
        p95_ms = percentile(window, 95)
        window.clear()
        self._windows_here += 1
        if spent or p95_ms > self.budget_ms:
            return self._fall(p95_ms)
        self._hopeless = False
        if self._on_trial and self._windows_here >= _PATIENCE:
            self._on_trial, self._patience = False, _PATIENCE
        calm = self._rung and self._expected_ms(p95_ms) <= HEADROOM * self.budget_ms
        self._calm = self._calm + 1 if calm else 0
        if self._calm >= self._patience:
            self._on_trial = True
            return self._go(self._rung - 1, p95_ms)
        return None

    def _fall(self, p95_ms: float) -> Move | None:
        self._calm = 0
        if self._on_trial:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
            self._on_trial = False
        if self._rung < len(self._names) - 1:
            return self._go(self._rung + 1, p95_ms)
        if self._hopeless:  # has been said
            return None
        self._hopeless = True
        return Move(self.name, self.name, p95_ms, self.budget_ms)

    def _go(self, rung: int, p95_ms: float) -> Move:
        before, self._rung = self.name, rung
        self._calm = self._windows_here = 0
        self._settling = _SETTLING
        return Move(before, self.name, p95_ms, self.budget_ms)
