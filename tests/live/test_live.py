"""The live loop: the latest frame, the model that keeps up, sources that come back.

Time is a number that the fakes move, and frames come when the test lets them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from whet.artifact import shipped
from whet.errors import MediaError
from whet.live.latest_frame import Handoff, LatestFrame
from whet.live.model_ladder import PASS_THROUGH
from whet.live.picture import Form, split
from whet.live.restorer import TRIALS, Rung, smaller_models
from whet.live.run import LiveOptions, LiveReport, run_live
from whet.live.sources import Grab, Sound, Steady
from whet.runtime.yuv420 import Planes

SIZE = (6, 8)  # height, width
FORM = Form(8, 6)
LEARNING = 1 + TRIALS  # frames through each model before a run begins
PATIENCE_S = 20


@pytest.fixture(autouse=True)
def _leave_hanging_sources_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources in step wait for a next frame that will not be shown."""
    monkeypatch.setattr("whet.live.run._JOIN_S", 0.05)


def frame(level: int) -> Planes:
    planes = Planes.empty(*SIZE)
    for plane, value in zip(planes, (level, 128, 128), strict=True):
        plane[:] = value
    return planes


def grab(index: int, arrived_s: float = 0.0) -> Grab:
    return Grab(index / 10, arrived_s, lambda: frame(index))


class FakeClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.time_s = 100.0
        self.slept_s: list[float] = []

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.time_s += seconds


class Brighter:
    """A session for planes that adds a level and takes a while, from its first real frame on.

    Those before, by which a run learns what it costs, take ``costs_ms``.
    """

    at_once = 1

    def __init__(
        self, clock: FakeClock, takes_ms: float = 0, add: int = 100, costs_ms: float = 1
    ) -> None:
        self.clock, self.takes_ms, self.add, self.costs_ms = clock, takes_ms, add, costs_ms
        self.seen: list[int] = []

    def planar(self, colours: Any) -> Brighter:
        return self

    def blocks(self, planes: Planes) -> np.ndarray:
        return np.array(planes.y)

    def planes(self, blocks: np.ndarray, height: int, width: int) -> Planes:
        planes = frame(0)
        planes.y[:] = blocks
        return planes

    def restore(self, blocks: np.ndarray, strength: float = 1.0) -> np.ndarray:
        trial = len(self.seen) < LEARNING
        self.seen.append(int(blocks[-1, -1]))
        self.clock.time_s += (self.costs_ms if trial else self.takes_ms) / 1000
        return blocks + np.uint8(round(self.add * strength))


class Screen:
    """A sink that remembers; ``keys`` maps the number of shown frames to what is pressed then."""

    def __init__(self, keys: Mapping[int, str] | None = None) -> None:
        self.keys = dict(keys or {})
        self.shown: list[tuple[float, np.ndarray]] = []
        self.polls = 0
        self.heard: list[tuple[float, Any]] = []
        self.ready = threading.Semaphore(0)
        self.size: tuple[int, int] | None = None
        self.completed = False

    @contextmanager
    def open(self, form: Form) -> Iterator[Screen]:
        self.size = (form.width, form.height)
        yield self
        self.completed = True

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        self.shown.append((time_s, planes.y.copy()))
        self.ready.release()

    def hear(self, sound: Any, time_s: float) -> None:
        self.heard.append((time_s, sound))

    def pressed(self) -> tuple[str, ...]:
        self.polls += 1
        key = self.keys.pop(len(self.shown), None)
        return (key,) if key else ()

    @property
    def levels(self) -> list[int]:
        return [int(pixels[0, -1]) for _, pixels in self.shown]


def in_step(screen: Screen, clock: FakeClock, count: int) -> Iterator[Grab]:
    """Yield each frame after the one before was shown, so that none is dropped."""
    for index in range(count):
        yield grab(index, clock.now())
        assert screen.ready.acquire(timeout=PATIENCE_S)


class Run:
    """A run with everything it said."""

    def __init__(self, rungs: list[Rung], source: Any, screen: Screen, clock: FakeClock) -> None:
        self.rungs, self.source, self.screen, self.clock = rungs, source, screen, clock
        self.notes: list[str] = []
        self.states: list[str] = []
        self.log: list[Mapping[str, Any]] = []
        self.stop = threading.Event()

    def go(self, **options: Any) -> LiveReport:
        return run_live(
            self.rungs,
            self.source,
            FORM,
            self.screen.open,
            LiveOptions(**options),
            clock=self.clock,
            stop=self.stop,
            note=self.notes.append,
            status=self.states.append,
            log=self.log.append,
        )


def stepped(count: int, *sessions: tuple[str, float], keys: Mapping[int, str] | None = None) -> Run:
    """Return a run of ``count`` frames that arrive in step, with sessions of stated cost in ms."""
    clock, screen = FakeClock(), Screen(keys)
    rungs = [Rung(name, Brighter(clock, takes_ms)) for name, takes_ms in sessions]
    return Run(rungs, in_step(screen, clock, count), screen, clock)


# The latest frame


def test_a_newer_frame_replaces_the_one_that_waits() -> None:
    latest = LatestFrame()
    for index in range(5):
        latest.put(grab(index))
    assert latest.dropped == 4
    taken = latest.take(0)
    assert taken is not None
    assert taken.time_s == 0.4
    assert latest.take(0) is None


def test_the_last_frame_is_still_given_after_the_source_closed() -> None:
    latest = LatestFrame()
    latest.put(grab(1))
    latest.close()
    assert not latest.ended
    assert latest.take(0) is not None
    assert latest.ended
    assert latest.take(PATIENCE_S) is None  # at once, or this test takes very long


def test_frames_that_come_while_one_is_restored_are_dropped_and_counted() -> None:
    clock, screen = FakeClock(), Screen()
    restoring, flooded = threading.Event(), threading.Event()

    class Slow(Brighter):
        def restore(self, blocks: np.ndarray, strength: float = 1.0) -> np.ndarray:
            if len(self.seen) == LEARNING:
                restoring.set()
                assert flooded.wait(PATIENCE_S)
            return super().restore(blocks, strength)

    def flood() -> Iterator[Grab]:
        yield grab(0, clock.now())
        assert restoring.wait(PATIENCE_S)
        yield from (grab(index, clock.now()) for index in range(1, 10))
        flooded.set()

    report = Run([Rung("slow", Slow(clock))], flood(), screen, clock).go()
    assert screen.levels == [100, 109]  # the first, and the latest of nine
    assert (report.frames, report.dropped) == (2, 8)


def test_pixels_of_dropped_frames_are_never_converted() -> None:
    converted = []

    def costly(index: int) -> Planes:
        converted.append(index)
        return frame(index)

    latest = LatestFrame()
    for index in range(4):
        latest.put(Grab(0.0, 0.0, lambda index=index: costly(index)))
    assert converted == []
    taken = latest.take(0)
    assert taken is not None
    taken.planes()
    assert converted == [3]


# The loop


def test_every_frame_in_time_is_restored_and_shown_with_its_time() -> None:
    run = stepped(5, ("small", 1))
    report = run.go()
    assert run.screen.levels == [100, 101, 102, 103, 104]
    assert [time for time, _ in run.screen.shown] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert run.screen.size == (8, 6)
    assert run.screen.completed
    assert (report.frames, report.dropped, report.models) == (5, 0, {"small": 5})


def test_latency_counts_from_arrival_to_having_shown() -> None:
    run = stepped(20, ("small", 12))
    report = run.go()
    assert report.latency_p50_ms == pytest.approx(12)
    assert report.latency_p95_ms == pytest.approx(12)
    assert report.seconds == pytest.approx(20 * 0.012)
    assert report.fps == pytest.approx(1000 / 12)
    assert "latency p50 12 ms, p95 12 ms" in run.states[-1]


def test_log_holds_one_record_per_frame_and_one_per_change() -> None:
    run = stepped(60, ("small", 200), ("nano", 20))
    run.go(fps=20)
    frames = [record for record in run.log if "event" not in record]
    assert len(frames) == 60
    assert frames[0] == {
        "at_s": 0.0,
        "time_s": 0.0,
        "model": "small",
        "restore_ms": pytest.approx(200),
        "show_ms": 0.0,
        "latency_ms": pytest.approx(200),
        "dropped": 0,
    }
    (change,) = [record for record in run.log if "event" in record]
    assert (change["event"], change["before"], change["after"]) == ("model", "small", "nano")


def test_falls_to_a_smaller_model_and_says_so() -> None:
    run = stepped(60, ("small", 200), ("nano", 20))
    report = run.go(fps=20)
    assert run.notes == ["a frame takes 200.0 ms (p95) of 50.0: small -> nano"]
    assert list(report.models) == ["small", "nano"]
    assert report.models["small"] < 10


def test_falls_to_frames_as_they_are_when_no_model_keeps_up() -> None:
    run = stepped(80, ("small", 200), ("nano", 90))
    report = run.go(fps=20)
    assert list(report.models) == ["small", "nano", PASS_THROUGH]
    assert run.screen.levels[-1] == 79  # untouched


def test_climbs_back_once_the_machine_is_free() -> None:
    run = stepped(400, ("small", 200), ("nano", 10))

    def relieve() -> Iterator[Grab]:
        for index, item in enumerate(in_step(run.screen, run.clock, 400)):
            if index == 50:
                run.rungs[0].session.takes_ms = 25  # type: ignore[union-attr]
            yield Grab(item.time_s, run.clock.now(), lambda: frame(7))

    run.source = relieve()
    run.go(fps=20)
    assert [note.split(": ")[1] for note in run.notes] == ["small -> nano", "nano -> small"]


def test_strength_reaches_the_session() -> None:
    run = stepped(2, ("small", 1))
    run.go(strength=0.5)
    assert run.screen.levels == [50, 51]
    with pytest.raises(MediaError, match="choose 0"):
        stepped(2, ("small", 1)).go(strength=2.5)


def test_ends_after_the_stated_time() -> None:
    run = stepped(1000, ("small", 100))
    report = run.go(duration_s=0.95, fps=1)
    assert report.frames in (9, 10)  # the tenth may be on its way when the time is over
    assert run.screen.completed


def test_stopping_from_outside_completes_what_was_shown() -> None:
    run = stepped(1000, ("small", 1))
    show = run.screen.show

    def interrupted(*args: Any) -> None:
        show(*args)
        if len(run.screen.shown) == 3:
            run.stop.set()

    run.screen.show = interrupted  # type: ignore[method-assign]
    assert run.go().frames == 3
    assert run.screen.completed


def test_a_key_ends_the_run() -> None:
    run = stepped(1000, ("small", 1), keys={4: "quit"})
    assert run.go().frames == 4
    assert run.stop.is_set()


def test_a_key_toggles_the_split_view() -> None:
    run = stepped(4, ("small", 1), keys={1: "split", 3: "split"})

    def after_keys() -> Iterator[Grab]:
        for item in in_step(run.screen, run.clock, 4):
            heard = run.screen.polls + 2  # what was pressed has been obeyed by then
            while run.screen.shown and run.screen.polls < heard:
                time.sleep(0.005)
            yield item

    run.source = after_keys()
    run.go()
    left = [int(pixels[0, 0]) for _, pixels in run.screen.shown]
    assert left == [100, 1, 2, 103]
    assert run.screen.levels == [100, 101, 102, 103]


def test_split_view_halves_both_pictures() -> None:
    before, after = frame(10), frame(200)
    view = split(before, after)
    assert (view.y[:, :4] == 10).all()
    assert (view.y[:, 4:6] == 235).all()
    assert (view.y[:, 6:] == 200).all()
    assert (before.y == 10).all()
    assert (after.y == 200).all()


def test_no_frame_at_all_is_an_error() -> None:
    clock, screen = FakeClock(), Screen()
    with pytest.raises(MediaError, match="not one frame came"):
        Run([], iter(()), screen, clock).go()
    assert screen.size is None


def test_a_bug_in_the_source_is_not_swallowed() -> None:
    run = stepped(3, ("small", 1))

    def broken() -> Iterator[Grab]:
        yield grab(0)
        raise ZeroDivisionError

    run.source = broken()
    with pytest.raises(ZeroDivisionError):
        run.go()


def test_begins_with_the_best_model_that_is_expected_to_keep_up() -> None:
    run = stepped(30, ("base", 400), ("small", 20), ("nano", 5))
    for rung, costs_ms in zip(run.rungs, (400, 20, 5), strict=True):
        rung.session.costs_ms = costs_ms  # type: ignore[union-attr]
    report = run.go(fps=30)
    assert run.notes == ["a frame takes 400.0 ms of 33.3 with base: begins with small"]
    assert report.models == {"small": 30}


def test_restoring_and_showing_happen_at_the_same_time() -> None:
    """The first frame is not shown to the end before the second one is being restored."""
    clock, screen = FakeClock(), Screen()
    showing, restoring = threading.Event(), threading.Event()
    show = screen.show

    class Watched(Brighter):
        def restore(self, blocks: np.ndarray, strength: float = 1.0) -> np.ndarray:
            if len(self.seen) == LEARNING + 1:
                restoring.set()
            return super().restore(blocks, strength)

    def shown(planes: Planes, time_s: float, caption: str) -> None:
        showing.set()
        assert restoring.wait(PATIENCE_S)
        show(planes, time_s, caption)

    def source() -> Iterator[Grab]:
        yield grab(0)
        assert showing.wait(PATIENCE_S)
        yield grab(1)

    screen.show = shown  # type: ignore[method-assign]
    report = Run([Rung("nano", Watched(clock))], source(), screen, clock).go()
    assert (report.frames, report.dropped) == (2, 0)


def test_who_hands_over_waits_until_the_last_one_was_taken() -> None:
    handoff: Handoff[int] = Handoff()
    put: list[int] = []

    def hand_over() -> None:
        for item in range(3):
            handoff.put(item)
            put.append(item)
        handoff.close()

    worker = threading.Thread(target=hand_over)
    worker.start()
    assert [handoff.take(PATIENCE_S) for _ in range(3)] == [0, 1, 2]
    worker.join(PATIENCE_S)
    assert handoff.ended
    handoff.put(9)  # nobody wants it any more
    assert handoff.take(0) is None


def test_sound_reaches_the_sink_with_its_time() -> None:
    clock, screen = FakeClock(), Screen()

    def source() -> Iterator[Grab | Sound]:
        yield Sound(0.95, "early")
        yield Grab(1.0, clock.now(), lambda: frame(1))
        assert screen.ready.acquire(timeout=PATIENCE_S)
        yield Sound(1.25, "later")
        yield Grab(1.5, clock.now(), lambda: frame(2))
        assert screen.ready.acquire(timeout=PATIENCE_S)

    Run([Rung("nano", Brighter(clock))], source(), screen, clock).go()
    assert [what for _, what in screen.heard] == ["early", "later"]
    assert [time for time, _ in screen.heard] == pytest.approx([-0.05, 0.25])


@pytest.mark.skipif(not {"nano", "small"} <= set(shipped()), reason="models are not in this copy")
def test_ladder_of_a_model_holds_the_smaller_shipped_ones() -> None:
    assert smaller_models("nano") == ()
    assert "nano" in smaller_models("small")
    assert "small" not in smaller_models("small")


# Sources that come and go


class FakeFeed:
    """Frames, and then what happens."""

    form = FORM

    def __init__(self, levels: list[int], end: str | None = None, finite: bool = False) -> None:
        self.levels, self.end, self.finite = levels, end, finite
        self.closed = False

    def __iter__(self) -> Iterator[Grab]:
        for index, level in enumerate(self.levels):
            yield Grab(index / 10, 0.0, lambda level=level: frame(level))
        if self.end:
            raise MediaError(self.end)

    def close(self) -> None:
        self.closed = True


class Plug:
    """Opens what it is given, in turn; an error stands for a failed attempt."""

    def __init__(self, *outcomes: FakeFeed | MediaError) -> None:
        self.outcomes = list(outcomes)

    def __call__(self) -> FakeFeed:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, MediaError):
            raise outcome
        return outcome


def steady(plug: Plug) -> tuple[Steady, FakeClock, list[str]]:
    clock, notes = FakeClock(), []
    return Steady("camera 0", plug, clock, threading.Event(), notes.append), clock, notes


def levels(source: Steady) -> list[int]:
    return [int(item.planes().y[0, 0]) for item in source]


def test_a_camera_that_vanishes_and_returns_goes_on() -> None:
    gone = MediaError("no such device")
    first = FakeFeed([1, 2], "No such device")
    source, clock, notes = steady(Plug(first, gone, gone, FakeFeed([3, 4], finite=True)))
    assert levels(source) == [1, 2, 3, 4]
    assert first.closed
    assert clock.slept_s == [0.5, 1.0, 2.0]
    assert source.reconnected == 1
    assert notes == [
        "camera 0 was lost (No such device)",
        "trying camera 0 again in 0.5 s",
        "trying camera 0 again in 1 s",
        "trying camera 0 again in 2 s",
        "camera 0 is back after 3.5 s",
    ]


def test_times_go_on_where_a_camera_returns() -> None:
    source, _, _ = steady(Plug(FakeFeed([1, 2], "gone"), FakeFeed([3, 4], finite=True)))
    times = [item.time_s for item in source]
    assert times == pytest.approx([0, 0.1, 0.5, 0.6])  # half a second without it


def test_waits_grow_to_eight_seconds_and_are_announced_no_more() -> None:
    gone = MediaError("gone")
    source, clock, notes = steady(
        Plug(FakeFeed([1], "gone"), *[gone] * 7, FakeFeed([2], finite=True))
    )
    assert levels(source) == [1, 2]
    assert clock.slept_s == [0.5, 1, 2, 4, 8, 8, 8, 8]
    assert notes[-2:] == ["trying camera 0 again every 8 s", "camera 0 is back after 39.5 s"]


def test_a_stream_that_just_ends_is_lost_but_a_file_has_ended() -> None:
    source, _, notes = steady(Plug(FakeFeed([1]), FakeFeed([2], finite=True)))
    assert levels(source) == [1, 2]
    assert notes[0] == "camera 0 was lost (it ended)"
    source, _, notes = steady(Plug(FakeFeed([1], finite=True)))
    assert levels(source) == [1]
    assert notes == []


def test_a_file_that_breaks_off_ends_with_a_note() -> None:
    source, _, notes = steady(Plug(FakeFeed([1], "Invalid data", finite=True)))
    assert levels(source) == [1]
    assert notes == ["camera 0: reading stopped early: Invalid data"]


def test_a_source_that_does_not_open_in_the_first_place_is_an_error() -> None:
    with pytest.raises(MediaError, match="plug it in"):
        steady(Plug(MediaError("plug it in")))


def test_stopping_ends_the_attempts() -> None:
    clock, notes, stop = FakeClock(), [], threading.Event()
    plug = Plug(FakeFeed([1], "gone"), *[MediaError("gone")] * 99)
    source = Steady("camera 0", plug, clock, stop, notes.append)
    sleep = clock.sleep

    def interrupted(seconds: float) -> None:
        sleep(seconds)
        if len(clock.slept_s) == 3:
            stop.set()

    clock.sleep = interrupted  # type: ignore[method-assign]
    assert levels(source) == [1]
    assert len(clock.slept_s) == 3


def test_a_run_survives_the_loss_of_its_camera() -> None:
    clock, screen = FakeClock(), Screen()
    notes: list[str] = []

    class InStep(FakeFeed):
        def __iter__(self) -> Iterator[Grab]:
            for item in super().__iter__():
                yield item
                assert screen.ready.acquire(timeout=PATIENCE_S)

    plug = Plug(InStep([1, 2], "unplugged"), MediaError("still gone"), InStep([3, 4], finite=True))
    run = Run([Rung("nano", Brighter(clock))], None, screen, clock)
    run.source = Steady("camera 0", plug, clock, run.stop, notes.append)
    report = run.go()
    assert screen.levels == [101, 102, 103, 104]
    assert (report.frames, report.dropped) == (4, 0)
    assert screen.completed
    assert notes[-1].startswith("camera 0 is back")
