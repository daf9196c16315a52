"""Where live frames come from: a camera, a stream, the screen, or a file in its own time.

A frame is kept as FFmpeg decoded it until somebody wants its planes, so that
those which come too late cost nothing. A source that breaks off is opened
again, after ever longer waits; only a file ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import av
import av.error

from whet.errors import MediaError
from whet.live.addresses import Address
from whet.live.picture import Form, ToPlanes
from whet.runtime.yuv420 import Planes

__all__ = ["Clock", "Feed", "Grab", "Sound", "Steady", "WallClock", "open_feed"]

_OPEN_S, _READ_S = 10.0, 5.0  # a stream silent for longer is taken for lost
_BEHIND_S = 0.5  # a file decoded later than this has its schedule moved
_DRIFT_S = 0.25  # of the sound of a source without an end against its picture
_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # before each new attempt; the last one repeats


class Clock(Protocol):
    """Time, and waiting: tests bring their own."""

    def now(self) -> float:
        """Return seconds since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Wait, or until nobody wants frames any more."""


class WallClock:
    """The time of the machine; ``stop`` cuts every wait short."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)


@dataclass(frozen=True)
class Grab:
    """One frame that came in.

    Attributes:
        time_s: when it is to be shown, from the first frame on.
        arrived_s: what the clock said when it was there.
        planes: converts it; all frames of a source have one form.
    """

    time_s: float
    arrived_s: float
    planes: Callable[[], Planes]


@dataclass(frozen=True)
class Sound:
    """A piece of sound that came in.

    Attributes:
        time_s: when it begins, on the clock of :attr:`Grab.time_s`.
        samples: FFmpeg's frame.
    """

    time_s: float
    samples: Any


class Feed(Protocol):
    """An open source of frames.

    Attributes:
        finite: it has an end, as a file has; otherwise its end means that it was lost.
        form: of its frames.
    """

    finite: bool
    form: Form

    def __iter__(self) -> Iterator[Grab | Sound]:
        """Yield frames, and sound, as they come.

        Raises:
            MediaError: the source was lost.
        """

    def close(self) -> None:
        """Release the device or connection."""


class _AvFeed:
    """A source that FFmpeg has opened, and its first frame decoded."""

    def __init__(
        self, address: Address, loop: bool, clock: Clock, sound: bool, first: _First
    ) -> None:
        self._address, self._loop, self._clock, self._wants_sound = address, loop, clock, sound
        self._open()
        known_end = address.format is None and self._container.duration is not None
        self.finite = Path(address.url).is_file() or known_end
        # Decoding frames side by side holds as many back: right for files alone.
        self._stream.thread_type = "AUTO" if self.finite else "SLICE"
        try:
            self._begin(first)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, first: _First) -> None:
        self._items = self._decoded()
        self._waiting: list[Any] = []
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, av.VideoFrame):
                break
        else:
            raise MediaError(f"{self._address.name}: not one frame came; {self._address.remedy}")
        if first.to_planes is None:
            aspect = self._stream.sample_aspect_ratio
            first.to_planes = ToPlanes(item, aspect, sound=self._sound is not None)
        self._to_planes = first.to_planes
        self.form = self._to_planes.form

    def _open(self) -> None:
        address = self._address
        try:
            self._container: Any = av.open(
                address.url,
                format=address.format,
                options=dict(address.options),
                timeout=(_OPEN_S, _READ_S),
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise MediaError(
                f"{address.name} cannot be opened ({_reason(error)}); {address.remedy}"
            ) from error
        streams = self._container.streams
        if not streams.video:
            self._container.close()
            raise MediaError(f"{address.name} holds no video stream; name one that does")
        self._stream = streams.video[0]
        self._sound = streams.audio[0] if streams.audio and self._wants_sound else None

    def __iter__(self) -> Iterator[Grab | Sound]:
        clock, start_s = self._clock, self._clock.now()
        heard_s: float | None = None  # where the sound of a source without an end is
        for time_s, item in self._timed():
            if not isinstance(item, av.VideoFrame):
                if not self.finite:
                    now_s = clock.now() - start_s
                    together = heard_s is not None and abs(now_s - heard_s) < _DRIFT_S
                    time_s = heard_s if together and heard_s is not None else now_s
                    heard_s = time_s + item.samples / item.sample_rate
                yield Sound(time_s, item)
                continue
            if self.finite:
                wait_s = start_s + time_s - clock.now()
                if wait_s > 0:
                    clock.sleep(wait_s)
                elif wait_s < -_BEHIND_S:
                    start_s -= wait_s
            now_s = clock.now()
            shown_s = time_s if self.finite else now_s - start_s
            yield Grab(shown_s, now_s, partial(self._to_planes, item))

    def _timed(self) -> Iterator[tuple[float, Any]]:
        """Yield frames with their times from the first on, round after round of a loop."""
        began_s, step_s = 0.0, 0.0
        while True:
            time_s, first_s = began_s, None
            early: list[Any] = []  # sound that is decoded sooner than the frame it goes with
            for item in chain(self._waiting, self._items):
                own_s = None if item.pts is None else float(item.pts * item.time_base)
                if not isinstance(item, av.VideoFrame):
                    if own_s is not None and first_s is None:
                        early.append((own_s, item))
                    elif own_s is not None and first_s is not None:
                        yield began_s + own_s - first_s, item
                    continue
                if first_s is None:
                    first_s = own_s or 0.0
                    for heard_s, sound in early:
                        yield began_s + heard_s - first_s, sound
                step_s = float(1 / (self._stream.average_rate or Fraction(25)))
                if own_s is not None:
                    time_s = began_s + own_s - first_s
                yield time_s, item
                time_s += step_s
            if not (self._loop and self.finite) or first_s is None:
                return
            began_s = time_s
            self._container.close()
            self._open()
            self._waiting, self._items = [], self._decoded()

    def _decoded(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux([s for s in (self._stream, self._sound) if s]):
                try:
                    items = packet.decode()
                except av.error.InvalidDataError:
                    continue  # a torn packet: the next key frame mends the picture
                yield from items
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(_reason(error)) from error

    def close(self) -> None:
        self._container.close()


class _First:
    """Keeps the form of a source's first frame for whenever it is opened again."""

    to_planes: ToPlanes | None = None


def open_feed(
    address: Address, *, loop: bool, clock: Clock, sound: bool = False
) -> Callable[[], Feed]:
    """Return a function that opens ``address``, as often as it takes.

    Args:
        address: from :func:`~whet.live.addresses.address_of`.
        loop: begin a file again at its end.
        clock: of the run.
        sound: yield the source's sound, where it has any.
    """
    first = _First()
    return lambda: _AvFeed(address, loop, clock, sound, first)


class Steady:
    """Frames of a source that is opened again whenever it is lost.

    Args:
        name: of the source, for people.
        reopen: opens it.
        clock: measures and waits.
        stop: set when nobody wants frames any more.
        note: told what happens, in sentences.

    Attributes:
        form: of the frames.
        reconnected: how often the source was lost and came back.

    Raises:
        MediaError: it cannot be opened in the first place.
    """

    def __init__(
        self,
        name: str,
        reopen: Callable[[], Feed],
        clock: Clock,
        stop: threading.Event,
        note: Callable[[str], None],
    ) -> None:
        self._name, self._reopen = name, reopen
        self._clock, self._stop, self._note = clock, stop, note
        self._feed = reopen()
        self._began_s = clock.now()
        self.form = self._feed.form
        self.reconnected = 0

    def __iter__(self) -> Iterator[Grab | Sound]:
        while not self._stop.is_set():
            reason = "it ended"
            began_s = self._clock.now() - self._began_s if self.reconnected else 0.0
            try:
                for item in self._feed:
                    if self._stop.is_set():
                        return
                    yield replace(item, time_s=began_s + item.time_s)
            except MediaError as error:
                reason = str(error)
                if self._feed.finite:
                    self._note(f"{self._name}: reading stopped early: {reason}")
            finally:
                self._feed.close()
            if self._feed.finite:
                return
            self._note(f"{self._name} was lost ({reason})")
            self._reconnect()

    def _reconnect(self) -> None:
        lost_s = self._clock.now()
        attempt = 0
        while not self._stop.is_set():
            wait_s = _WAITS_S[min(attempt, len(_WAITS_S) - 1)]
            if attempt < len(_WAITS_S):
                often = "every" if attempt == len(_WAITS_S) - 1 else "in"
                self._note(f"trying {self._name} again {often} {wait_s:g} s")
            self._clock.sleep(wait_s)
            attempt += 1
            if self._stop.is_set():
                return
            try:
                self._feed = self._reopen()
            except MediaError:
                continue
            self.reconnected += 1
            self._note(f"{self._name} is back after {self._clock.now() - lost_s:.1f} s")
            return


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {_READ_S:g} s"
    return getattr(error, "strerror", None) or str(error)
