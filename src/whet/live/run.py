"""Live frames through a model: always the latest, never a queue.

One thread takes frames from the source and keeps the latest; the caller's
thread restores it and shows it. A frame that is replaced before its turn is
dropped and counted, so what is seen is never older than one frame's work. A
:class:`~whet.live.model_ladder.Ladder` picks the model by what that work takes.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.artifact import read_card, resolve, shipped
from whet.errors import MediaError
from whet.image import Pixels
from whet.live.latest_frame import Grabber, LatestFrame
from whet.live.model_ladder import PASS_THROUGH, Ladder, percentile
from whet.live.sinks import QUIT, SPLIT, LiveSink, OpenSink
from whet.live.sources import Clock, Grab
from whet.video.stabilise import Stabiliser

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = [
    "LiveOptions",
    "LiveReport",
    "Rung",
    "run_live",
    "smaller_models",
    "split",
    "warm",
]

_POLL_S = 0.05  # how often a window is looked after while no frame comes
_RECENT = 120  # frames whose latency is on screen
_JOIN_S = 6.0  # a source that hangs is left behind after this


@dataclass(frozen=True)
class Rung:
    """A model to choose from; without a session, frames pass as they are."""

    name: str
    session: Session | None


@dataclass(frozen=True)
class LiveOptions:
    """What a person asked for.

    Attributes:
        fps: frames per second to keep up with.
        strength: scales what restoration changes, 0 to 2.
        split: begin with the split view.
        duration_s: end after so many seconds; None goes on.
        steady: keep restoration from trembling; see :mod:`whet.video.stabilise`.
    """

    fps: float = 30
    strength: float = 1.0
    split: bool = False
    duration_s: float | None = None
    steady: bool = True


@dataclass(frozen=True)
class LiveReport:
    """What became of a live run.

    Attributes:
        frames: shown.
        dropped: came in, but a newer one came before their turn.
        seconds: from the first frame to the end.
        latency_p50_ms, latency_p95_ms: from a frame's arrival to having shown it.
        models: frames per model.
    """

    frames: int
    dropped: int
    seconds: float
    latency_p50_ms: float
    latency_p95_ms: float
    models: Mapping[str, int]

    @property
    def fps(self) -> float:
        """Frames shown per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return everything, for machines."""
        return {**asdict(self), "fps": self.fps}

    def __str__(self) -> str:
        models = ", ".join(f"{name} {count}" for name, count in self.models.items())
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({self.fps:.1f} fps), "
            f"{self.dropped} dropped; latency p50 {self.latency_p50_ms:.1f} ms, "
            f"p95 {self.latency_p95_ms:.1f} ms; {models}"
        )


def smaller_models(model: str | Path) -> tuple[str, ...]:
    """Return the shipped models that compute less than ``model``, the largest first.

    Raises:
        ModelError: there is no such model.
    """
    wanted_kmac = read_card(resolve(model)).kmac_per_px
    cards = {name: read_card(path) for name, path in shipped().items()}
    kmac = {n: c.kmac_per_px for n, c in cards.items() if c.precision == "float32"}
    smaller = [name for name in kmac if kmac[name] < wanted_kmac]
    return tuple(sorted(smaller, key=lambda name: -kmac[name]))


def warm(rungs: Sequence[Rung], width: int, height: int) -> None:
    """Let every model see a frame of the size to come: the first one pays for compiling."""
    blank = np.zeros((height, width, 3), np.uint8)
    for rung in rungs:
        if rung.session is not None and blank.size:
            rung.session.restore(blank)


def split(degraded: Pixels, restored: Pixels) -> Pixels:
    """Return the left half of ``degraded`` beside the right half of ``restored``, a line between.

    Both uint8 (H, W, 3); neither is changed.
    """
    middle = degraded.shape[1] // 2
    view = restored.copy()
    view[:, :middle] = degraded[:, :middle]
    view[:, middle : middle + 2] = 255
    return view


def run_live(
    rungs: Sequence[Rung],
    source: Iterable[Grab],
    open_sink: OpenSink,
    options: LiveOptions,
    *,
    clock: Clock,
    stop: threading.Event,
    note: Callable[[str], None],
    status: Callable[[str], None] = lambda _: None,
    log: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> LiveReport:
    """Show the latest frame of ``source`` through the best model that keeps up, until the end.

    Args:
        rungs: models from the wanted one down; :data:`PASS_THROUGH` follows by itself.
        source: frames as they come; it is iterated in a thread of its own.
        open_sink: called with width and height of the first frame.
        options: see there.
        clock: the one that times the source's frames.
        stop: may be set from outside to end the run; it is set at the end.
        note: told in sentences when the model changes.
        status: told the state in short, after every frame.
        log: given one record per frame and one per change of model.

    Raises:
        MediaError: no frame came at all, the sink failed, or an option is out of range.
    """
    if not 0 <= options.strength <= 2:
        raise MediaError(f"strength is {options.strength}; choose 0 (nothing) to 2, 1 is normal")
    latest = LatestFrame()
    grabber = Grabber(source, latest)
    grabber.start()
    try:
        first = _wait(latest, stop)
        if first is None:
            grabber.join(_JOIN_S)
            raise grabber.failure or MediaError("not one frame came; check the source")
        height, width = first.pixels().shape[:2]
        with open_sink(width, height) as sink:
            stage = _Stage(rungs, sink, options, clock, (note, status, log))
            report = stage.play(first, latest, stop)
    finally:
        stop.set()
        grabber.join(_JOIN_S)
    if grabber.failure is not None:
        raise grabber.failure
    return report


def _wait(latest: LatestFrame, stop: threading.Event) -> Grab | None:
    while not (stop.is_set() or latest.ended):
        if (grab := latest.take(_POLL_S)) is not None:
            return grab
    return None


class _Stage:
    """The caller's side of a run: what is done with each frame that is taken."""

    def __init__(
        self,
        rungs: Sequence[Rung],
        sink: LiveSink,
        options: LiveOptions,
        clock: Clock,
        tell: tuple[
            Callable[[str], None], Callable[[str], None], Callable[[Mapping[str, Any]], None]
        ],
    ) -> None:
        self._rungs = [*rungs, Rung(PASS_THROUGH, None)]
        self._sink, self._options, self._clock = sink, options, clock
        self._note, self._status, self._log = tell
        self._ladder = Ladder([rung.name for rung in self._rungs], options.fps)
        self._split = options.split
        self._stabiliser = Stabiliser()
        self._latencies_ms = array("d")
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._frames_by: dict[str, int] = {}
        self._first_time_s: float | None = None
        self._caption = "whet live"

    def play(self, first: Grab, latest: LatestFrame, stop: threading.Event) -> LiveReport:
        """Show ``first`` and whatever is latest after it."""
        began_s = self._clock.now()
        grab: Grab | None = first
        while True:
            if grab is not None:
                self._show(grab, latest.dropped, self._clock.now() - began_s)
            self._obey(stop)
            elapsed_s = self._clock.now() - began_s
            over = self._options.duration_s is not None and elapsed_s >= self._options.duration_s
            if over or stop.is_set() or latest.ended:
                break
            grab = latest.take(_POLL_S)
        return LiveReport(
            frames=len(self._latencies_ms),
            dropped=latest.dropped,
            seconds=self._clock.now() - began_s,
            latency_p50_ms=percentile(self._latencies_ms, 50),
            latency_p95_ms=percentile(self._latencies_ms, 95),
            models=dict(self._frames_by),
        )

    def _obey(self, stop: threading.Event) -> None:
        for action in self._sink.pressed():
            if action == QUIT:
                stop.set()
            elif action == SPLIT:
                self._split = not self._split

    def _show(self, grab: Grab, dropped: int, at_s: float) -> None:
        taken_s = self._clock.now()
        rung = self._rungs[self._ladder.rung]
        degraded = grab.pixels()
        view = self._restored(rung, degraded)
        restored_s = self._clock.now()
        if self._first_time_s is None:
            self._first_time_s = grab.time_s
        self._sink.show(view, grab.time_s - self._first_time_s, self._caption)
        shown_s = self._clock.now()
        latency_ms = 1000 * (shown_s - grab.arrived_s)
        self._latencies_ms.append(latency_ms)
        self._recent_ms.append(latency_ms)
        self._frames_by[rung.name] = self._frames_by.get(rung.name, 0) + 1
        recent = np.percentile(self._recent_ms, (50, 95))
        self._caption = (
            f"whet live: {rung.name}, latency p50 {recent[0]:.0f} ms, p95 {recent[1]:.0f} ms, "
            f"{dropped} dropped"
        )
        self._status(self._caption)
        self._log(
            {
                "at_s": round(at_s, 4),
                "time_s": round(grab.time_s, 4),
                "model": rung.name,
                "restore_ms": round(1000 * (restored_s - taken_s), 3),
                "show_ms": round(1000 * (shown_s - restored_s), 3),
                "latency_ms": round(latency_ms, 3),
                "dropped": dropped,
            }
        )
        self._judge(1000 * (shown_s - taken_s), at_s)

    def _restored(self, rung: Rung, degraded: Pixels) -> Pixels:
        if rung.session is None:
            self._stabiliser.reset()
            return degraded
        restored: Pixels = rung.session.restore(degraded, self._options.strength)
        if self._options.steady:
            restored = self._stabiliser(degraded, restored)
        return split(degraded, restored) if self._split else restored

    def _judge(self, busy_ms: float, at_s: float) -> None:
        move = self._ladder.record(busy_ms)
        if move is None:
            return
        self._note(str(move))
        self._log({"at_s": round(at_s, 4), "event": "model", **asdict(move)})
