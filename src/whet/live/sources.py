"""Where live frames come from: a camera, a stream, the screen, or a file in its own time.

A frame is kept as FFmpeg decoded it until somebody wants its pixels, so that
those which come too late cost nothing. A source that breaks off is opened
again, after ever longer waits; only a file ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from whet.errors import MediaError
from whet.image import Pixels
from whet.live.addresses import Address
from whet.video.rgb import TO_RGB, colours

__all__ = ["Clock", "Feed", "Grab", "Steady", "WallClock", "open_feed"]

_OPEN_S, _READ_S = 10.0, 5.0  # a stream silent for longer is taken for lost
_BEHIND_S = 0.5  # a file decoded later than this has its schedule moved
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
        pixels: converts it to uint8 (H, W, 3); all frames of a source have one size.
    """

    time_s: float
    arrived_s: float
    pixels: Callable[[], Pixels]


class Feed(Protocol):
    """An open source of frames.

    Attributes:
        finite: it has an end, as a file has; otherwise its end means that it was lost.
        size: width and height as announced, which a rotation tag may swap; 0 if unknown.
    """

    finite: bool
    size: tuple[int, int]

    def __iter__(self) -> Iterator[Grab]:
        """Yield frames as they come.

        Raises:
            MediaError: the source was lost.
        """

    def close(self) -> None:
        """Release the device or connection."""


class _AvFeed:
    """A source that FFmpeg has opened."""

    def __init__(self, address: Address, loop: bool, clock: Clock, to_rgb: _ToRgb) -> None:
        self._address, self._loop, self._clock, self._to_rgb = address, loop, clock, to_rgb
        self._open()
        known_end = address.format is None and self._container.duration is not None
        self.finite = Path(address.url).is_file() or known_end
        context = self._stream.codec_context
        self.size = (context.width, context.height)
        # Decoding frames side by side holds as many back: right for files alone.
        self._stream.thread_type = "AUTO" if self.finite else "SLICE"

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
        if not self._container.streams.video:
            self._container.close()
            raise MediaError(f"{address.name} holds no video stream; name one that does")
        self._stream = self._container.streams.video[0]

    def __iter__(self) -> Iterator[Grab]:
        clock, start_s = self._clock, self._clock.now()
        for time_s, frame in self._frames():
            if self.finite:
                wait_s = start_s + time_s - clock.now()
                if wait_s > 0:
                    clock.sleep(wait_s)
                elif wait_s < -_BEHIND_S:
                    start_s -= wait_s
            now_s = clock.now()
            shown_s = time_s if self.finite else now_s - start_s
            yield Grab(shown_s, now_s, lambda frame=frame: self._to_rgb(frame))  # type: ignore[misc]

    def _frames(self) -> Iterator[tuple[float, Any]]:
        """Yield frames with their times from the first on, round after round of a loop."""
        began_s, step_s = 0.0, 0.0
        while True:
            time_s, first_pts = began_s, None
            for frame in self._decoded():
                if first_pts is None:
                    first_pts = frame.pts or 0
                step_s = float(1 / (self._stream.average_rate or Fraction(25)))
                if frame.pts is not None:
                    time_s = began_s + float((frame.pts - first_pts) * frame.time_base)
                yield time_s, frame
                time_s += step_s
            if not (self._loop and self.finite) or first_pts is None:
                return
            began_s = time_s
            self._container.close()
            self._open()

    def _decoded(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue  # a torn packet: the next key frame mends the picture
                yield from frames
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(_reason(error)) from error

    def close(self) -> None:
        self._container.close()


class _ToRgb:
    """Converts decoded frames to RGB, all in the size of the first and upright."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: Any) -> Pixels:
        self._size = self._size or (frame.width, frame.height)
        matrix, full_range = colours(frame)
        rgb = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format="gbrp",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=TO_RGB,
        )
        upright = np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))
        return np.ascontiguousarray(upright)


def open_feed(address: Address, *, loop: bool, clock: Clock) -> Callable[[], Feed]:
    """Return a function that opens ``address``, as often as it takes.

    Args:
        address: from :func:`~whet.live.addresses.address_of`.
        loop: begin a file again at its end.
        clock: of the run.
    """
    to_rgb = _ToRgb()
    return lambda: _AvFeed(address, loop, clock, to_rgb)


class Steady:
    """Frames of a source that is opened again whenever it is lost.

    Args:
        name: of the source, for people.
        reopen: opens it.
        clock: measures and waits.
        stop: set when nobody wants frames any more.
        note: told what happens, in sentences.

    Attributes:
        size: width and height as the source announced them.
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
        self.size = self._feed.size
        self.reconnected = 0

    def __iter__(self) -> Iterator[Grab]:
        while not self._stop.is_set():
            reason = "it ended"
            began_s = self._clock.now() - self._began_s if self.reconnected else 0.0
            try:
                for grab in self._feed:
                    if self._stop.is_set():
                        return
                    yield Grab(began_s + grab.time_s, grab.arrived_s, grab.pixels)
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
