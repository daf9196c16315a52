"""Pictures taken in, restored one after the other, and given back.

A request takes a slot before its body is read, so that memory is bounded by
the number of slots. Work cannot be interrupted inside a runtime: when it takes
too long its request is answered, but its slot stays taken until it ends.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whet import image
from whet.artifact import shipped
from whet.errors import InputError
from whet.image import Picture
from whet.metrics import psnr, ssim
from whet.runtime import Session, open_session
from whet.stills.files import restore_picture
from whet.web.problems import RefusedError
from whet.web.settings import Settings

__all__ = ["Answer", "PictureJobs", "Scores", "Slot", "known_model", "model_names"]

Result = TypeVar("Result")

_TIMING_SIDE_PX = 512
_TIMINGS = 3
_PSNR_CEILING_DB = 100.0
_NEWEST_SHARE = 0.3  # weight of the newest picture in the running mean of how long one takes


@dataclass(frozen=True)
class Answer:
    """A restored picture, encoded.

    Attributes:
        data: the file.
        format: a key of ``whet.image.codecs.FORMATS``.
        pixels: of the picture.
        seconds: in the network, without decoding and encoding.
        notes: what could not be kept, in sentences.
    """

    data: bytes
    format: str
    pixels: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """PSNR in dB and SSIM of the uploaded and of the restored picture."""

    psnr_degraded: float
    ssim_degraded: float
    psnr_restored: float
    ssim_restored: float


class _Sent(io.BytesIO):
    """Bytes under the name that errors give them."""

    name = "the picture"


class Slot:
    """Room for one request."""

    def __init__(self, pool: ThreadPoolExecutor, max_seconds: float) -> None:
        self._pool = pool
        self._max_seconds = max_seconds
        self.job: Future[Any] | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run ``work`` when a worker is free.

        Raises:
            RefusedError: 503, waiting and working took too long together.
        """
        self.job = job = self._pool.submit(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), self._max_seconds)
        except TimeoutError:
            sentence = f"this took more than {self._max_seconds:g} s; try a smaller picture"
            raise RefusedError(503, sentence, {"Retry-After": "10"}) from None


class PictureJobs:
    """Restores for many requests with few workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.workers, "whet-serve")
        self._sessions: dict[str, Session] = {}
        self._opening = Lock()
        self._job_seconds = 1.0
        self._timing: set[str] = set()
        self.taken = 0
        """Slots taken, by requests that wait as well as by those at work."""
        self.seconds_per_mpx: dict[str, float] = {}
        """Model -> seconds per megapixel on this machine, measured once: it does not change with
        what else is going on, so that models can be told apart by it."""

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Take a slot while the block runs.

        Raises:
            RefusedError: 429, every slot is taken; its Retry-After is an estimate.
        """
        if self.taken >= self._settings.workers + self._settings.waiting:
            wait = math.ceil(self.taken * self._job_seconds / self._settings.workers)
            seconds = str(min(max(wait, 1), 120))
            sentence = f"{self.taken} pictures are waiting already; try again in {seconds} s"
            raise RefusedError(429, sentence, {"Retry-After": seconds})
        self.taken += 1
        slot = Slot(self._pool, self._settings.max_seconds)
        loop = asyncio.get_running_loop()
        try:
            yield slot
        finally:
            if slot.job is None:
                self._leave()
            else:
                # Called at once if the job has ended, else from its thread.
                slot.job.add_done_callback(lambda _: self._leave_from(loop))

    def _leave(self) -> None:
        self.taken -= 1

    def _leave_from(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the server has stopped meanwhile
            loop.call_soon_threadsafe(self._leave)

    def restore(
        self, data: bytes, model: str, strength: float, suffix: str | None, quality: int | None
    ) -> Answer:
        """Restore an encoded picture; into its own format where ``suffix`` is None.

        Raises:
            WhetError: it cannot be read, or not be written like this.
        """
        started = time.perf_counter()
        picture = self._read(data)
        after, seconds = self._restored(picture, model, strength)
        stream = io.BytesIO()
        notes = after.metadata.notes
        notes += image.write(after, stream, suffix, quality=quality)
        encoded = stream.getvalue()
        self._job_seconds = _mixed(self._job_seconds, time.perf_counter() - started)
        return Answer(encoded, str(image.sniff(encoded[:32])), _area(picture), seconds, notes)

    def score(self, data: bytes, reference: bytes, model: str, strength: float) -> Scores:
        """Compare a picture, untouched and restored, with a reference of the same size.

        Raises:
            WhetError: one of them cannot be read, or their sizes differ.
        """
        picture, sharp = self._read(data), _bytes(self._read(reference))
        degraded = _bytes(picture)
        if degraded.shape != sharp.shape:
            (high, wide), (height, width) = degraded.shape[:2], sharp.shape[:2]
            raise InputError(
                f"the picture has {wide} x {high} pixels, the reference {width} x {height}; "
                "choose one of the same size"
            )
        restored = _bytes(self._restored(picture, model, strength)[0])
        before, after = ((_psnr(p, sharp), ssim(p, sharp)) for p in (degraded, restored))
        return Scores(*before, *after)

    def time_models(self) -> None:
        """Measure, one after the other behind the pictures that wait, every model, once."""
        for name in model_names():
            if name not in self._timing:
                self._timing.add(name)
                self._pool.submit(self._time, name)

    def close(self) -> None:
        """Drop what waits; what is being worked on ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, data: bytes) -> Picture:
        return image.read(_Sent(data), max_pixels=self._settings.max_pixels)

    def _restored(self, picture: Picture, model: str, strength: float) -> tuple[Picture, float]:
        session = self.session(model)
        started = time.perf_counter()
        after = restore_picture(session, picture, strength)
        seconds = time.perf_counter() - started
        return after, seconds

    def session(self, model: str) -> Session:
        """Return the one session of a model, which several threads may use."""
        with self._opening:
            if model not in self._sessions:
                settings = self._settings
                self._sessions[model] = open_session(
                    model, runtime=settings.runtime, threads=settings.threads
                )
            return self._sessions[model]

    def _time(self, name: str) -> None:
        session = self.session(name)
        side = _TIMING_SIDE_PX
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        session.restore(noise)  # the first run allocates
        seconds = min(_seconds(partial(session.restore, noise)) for _ in range(_TIMINGS))
        self.seconds_per_mpx[name] = seconds / side**2 * 1e6


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def model_names() -> tuple[str, ...]:
    """Return the names that may be asked for; int8 twins are chosen where they are faster."""
    names = shipped()
    return tuple(n for n in names if n.removesuffix("-int8") == n or n[:-5] not in names)


def known_model(name: str) -> str:
    """Return the name of a model that may be asked for.

    Raises:
        RefusedError: 422, there is none of that name.
    """
    if name not in (known := model_names()):
        raise RefusedError(422, f"no model {name!r}; choose from {', '.join(known)}")
    return name


def _area(picture: Picture) -> int:
    return int(picture.pixels.shape[0] * picture.pixels.shape[1])


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return min(psnr(a, b), _PSNR_CEILING_DB)  # JSON knows no infinity


def _mixed(mean: float, newest: float) -> float:
    return (1 - _NEWEST_SHARE) * mean + _NEWEST_SHARE * newest


def _bytes(picture: Picture) -> NDArray[np.uint8]:
    """Return 8-bit pixels; 16 bits are rounded (257 = 65535 / 255)."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) + 128) // 257
    return pixels.astype(np.uint8)
