"""Live frames through a model: always the latest, never a queue.

Three threads work at the same time: one takes frames from the source and keeps
the latest, one restores it, and the caller's shows or encodes what was
restored. A frame that is replaced before its turn is dropped and counted, so
what is seen is never older than a frame's work in each of them. A
:class:`~whet.live.model_ladder.Ladder` picks the model by what that work takes.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whet.errors import MediaError
from whet.live.latest_frame import Grabber, Handoff, LatestFrame
from whet.live.model_ladder import PASS_THROUGH, Ladder, percentile
from whet.live.picture import Form, split
from whet.live.restorer import LiveRestorer, Rung
from whet.live.sinks import QUIT, SPLIT, LiveSink, OpenSink
from whet.live.sources import Clock, Grab, Sound
from whet.runtime.session import check_strength
from whet.runtime.yuv420 import Planes

__all__ = ["LiveOptions", "LiveReport", "run_live"]

_POLL_S = 0.05  # how often a window is looked after while no frame comes
_RECENT = 120  # frames whose latency is on screen
_JOIN_S = 6.0  # a source that hangs is left behind after this


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


def run_live(
    rungs: Sequence[Rung],
    source: Iterable[Grab | Sound],
    form: Form,
    open_sink: OpenSink,
    options: LiveOptions,
    *,
    clock: Clock,
    stop: threading.Event,
    note: Callable[[str], None],
    status: Callable[[str], None] = lambda _: None,
    log: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> LiveReport:
    """Show the newest frame of ``source`` through the best model that keeps up, until the end.

    Args:
        rungs: models from the wanted one down; :data:`PASS_THROUGH` follows by itself.
        source: frames as they come; it is iterated in a thread of its own.
        form: of its frames.
        open_sink: called when the first frame is there.
        options: see there.
        clock: the one that times the source's frames.
        stop: may be set from outside to end the run; it is set at the end.
        note: told in sentences when the model changes.
        status: told the state in short, after every frame.
        log: given one record per frame and one per change of model.

    Raises:
        MediaError: no frame came at all, the sink failed, or an option is out of range.
    """
    check_strength(options.strength, MediaError)
    rungs = [*rungs, Rung(PASS_THROUGH, None)]
    restorer = LiveRestorer(rungs, form, strength=options.strength, steady=options.steady)
    # The first frame through each model also pays for compiling it, before any is late.
    costs_ms = restorer.costs_ms(clock)
    ladder = Ladder([rung.name for rung in rungs], options.fps, costs_ms)
    if ladder.rung:
        note(
            f"a frame takes {costs_ms[0]:.1f} ms of {ladder.budget_ms:.1f} with {rungs[0].name}: "
            f"begins with {ladder.name}"
        )
    latest = LatestFrame()
    grabber = Grabber(source, latest)
    grabber.start()
    try:
        first = _wait(latest, stop)
        if first is None:
            grabber.join(_JOIN_S)
            raise grabber.failure or MediaError("not one frame came; check the source")
        with open_sink(form) as sink:
            stage = _Stage(ladder, sink, options, clock, (note, status, log))
            work = _Work(restorer, ladder, stage, clock, first, latest)
            report = stage.play(work, latest, grabber.sounds, stop)
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


@dataclass(frozen=True)
class _Restored:
    """A frame that is ready to be shown."""

    grab: Grab
    planes: Planes
    model: str
    taken_s: float
    restored_s: float


class _Work(threading.Thread):
    """Restores the latest frame, over and over."""

    def __init__(
        self,
        restorer: LiveRestorer,
        ladder: Ladder,
        stage: _Stage,
        clock: Clock,
        first: Grab,
        latest: LatestFrame,
    ) -> None:
        super().__init__(name="whet-restore", daemon=True)
        self._restorer, self._ladder, self._stage = restorer, ladder, stage
        self._clock, self._first, self._latest = clock, first, latest
        self.done: Handoff[_Restored] = Handoff()
        self.failure: BaseException | None = None

    def run(self) -> None:
        grab: Grab | None = self._first
        try:
            while not self._latest.ended or grab is not None:
                if grab is not None:
                    self.done.put(self._restored(grab))
                if self.done.closed:
                    return
                grab = self._latest.take(_POLL_S)
        except BaseException as failure:
            self.failure = failure
        finally:
            self.done.close()

    def _restored(self, grab: Grab) -> _Restored:
        taken_s = self._clock.now()
        rung, model = self._ladder.rung, self._ladder.name
        degraded = grab.planes()
        restored = self._restorer.restore(rung, degraded)
        if self._stage.split and model != PASS_THROUGH:
            restored = split(degraded, restored)
        return _Restored(grab, restored, model, taken_s, self._clock.now())


class _Stage:
    """The caller's side of a run: what is done with each frame that was restored."""

    def __init__(
        self,
        ladder: Ladder,
        sink: LiveSink,
        options: LiveOptions,
        clock: Clock,
        tell: tuple[
            Callable[[str], None], Callable[[str], None], Callable[[Mapping[str, Any]], None]
        ],
    ) -> None:
        self._ladder, self._sink, self._options, self._clock = ladder, sink, options, clock
        self._note, self._status, self._log = tell
        self.split = options.split
        self._latencies_ms = array("d")
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._frames_by: dict[str, int] = {}
        self._first_time_s: float | None = None
        self._caption = "whet live"

    def play(
        self, work: _Work, latest: LatestFrame, sounds: deque[Sound], stop: threading.Event
    ) -> LiveReport:
        """Show what ``work`` restores, until the end."""
        began_s = self._clock.now()
        work.start()
        try:
            while True:
                if (restored := work.done.take(_POLL_S)) is not None:
                    self._show(restored, latest.dropped, restored.taken_s - began_s)
                    self._hear(sounds)
                self._obey(stop)
                elapsed_s = self._clock.now() - began_s
                duration_s = self._options.duration_s
                over = duration_s is not None and elapsed_s >= duration_s
                if over or stop.is_set() or work.done.ended:
                    break
        finally:
            work.done.close()
            work.join(_JOIN_S)
        if work.failure is not None:
            raise work.failure
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
                self.split = not self.split

    def _hear(self, sounds: deque[Sound]) -> None:
        assert self._first_time_s is not None
        while sounds:
            sound = sounds.popleft()
            self._sink.hear(sound.samples, sound.time_s - self._first_time_s)

    def _show(self, restored: _Restored, dropped: int, at_s: float) -> None:
        grab, began_s = restored.grab, self._clock.now()
        if self._first_time_s is None:
            self._first_time_s = grab.time_s
        self._sink.show(restored.planes, grab.time_s - self._first_time_s, self._caption)
        shown_s = self._clock.now()
        latency_ms = 1000 * (shown_s - grab.arrived_s)
        restore_ms = 1000 * (restored.restored_s - restored.taken_s)
        show_ms = 1000 * (shown_s - began_s)
        self._latencies_ms.append(latency_ms)
        self._recent_ms.append(latency_ms)
        self._frames_by[restored.model] = self._frames_by.get(restored.model, 0) + 1
        recent = np.percentile(self._recent_ms, (50, 95))
        self._caption = (
            f"whet live: {restored.model}, latency p50 {recent[0]:.0f} ms, "
            f"p95 {recent[1]:.0f} ms, {dropped} dropped"
        )
        self._status(self._caption)
        self._log(
            {
                "at_s": round(at_s, 4),
                "time_s": round(grab.time_s, 4),
                "model": restored.model,
                "restore_ms": round(restore_ms, 3),
                "show_ms": round(show_ms, 3),
                "latency_ms": round(latency_ms, 3),
                "dropped": dropped,
            }
        )
        self._judge(max(restore_ms, show_ms), at_s)

    def _judge(self, busy_ms: float, at_s: float) -> None:
        move = self._ladder.record(busy_ms)
        if move is None:
            return
        self._note(str(move))
        self._log({"at_s": round(at_s, 4), "event": "model", **asdict(move)})
