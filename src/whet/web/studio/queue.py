"""Pictures for heavy networks: one at a time, the others wait and are told how long.

All of a picture is in memory, and its tiles are not kept: what a visitor sends leaves nothing on
this machine's disk. A picture that nobody asks for any more is given up between two tiles.
"""

from __future__ import annotations

import io
import logging
import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whet import image
from whet.errors import WhetError
from whet.fetch.weights import is_here
from whet.image import Picture
from whet.stills.picture import restore_picture
from whet.studio import STUDIO, open_studio
from whet.studio.session import StudioSession, TileDone
from whet.web.problems import RefusedError
from whet.web.settings import Settings

__all__ = ["SlowPicture", "State", "StudioQueue", "heavy_names"]

State = Literal["waiting", "working", "done", "failed"]

PLACES = 4
_UNASKED_S = 180.0  # browsers ask once a minute when hidden
_KEPT_S = 900.0  # a result
_PREVIEW_PX = 1600
_LOG = logging.getLogger("whet.serve")


class _StoppedError(Exception):
    """Leaves a picture that nobody wants any more."""


@dataclass
class SlowPicture:
    """A picture at this server; written by one thread at a time, read by all.

    Attributes:
        id: 128 random bits, the only key to it.
        expected_seconds: from the estimate, until its own tiles say better.
        so_far: 8-bit copy in which finished tiles appear.
        until: when it is forgotten, by ``time.monotonic``.
    """

    id: str
    model: str
    strength: float
    picture: Picture
    expected_seconds: float
    so_far: NDArray[np.uint8]
    state: State = "waiting"
    tiles: int = 0
    tiles_expected: int | None = None
    seconds_left: float | None = None
    result: bytes = b""
    detail: str | None = None
    notes: tuple[str, ...] = ()
    until: float = field(default_factory=lambda: time.monotonic() + _UNASKED_S)
    dropped: bool = False
    job: Future[None] | None = None

    @property
    def remaining_seconds(self) -> float:
        """How long it holds up those behind it."""
        if self.state not in ("waiting", "working"):
            return 0.0
        return self.expected_seconds if self.seconds_left is None else self.seconds_left


class StudioQueue:
    """All such pictures of a server.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, "whet-studio")
        self._pictures: dict[str, SlowPicture] = {}
        self._sessions: dict[str, StudioSession] = {}
        self._taken = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def reserve(self) -> None:
        """Take a place before a body is read.

        Raises:
            RefusedError: 429, every place is taken.
        """
        self.sweep()
        if len(self._pictures) + self._taken >= PLACES:
            wait = min((p.remaining_seconds for p in self._pictures.values()), default=30.0)
            seconds = str(round(min(max(wait, 5), 120)))
            sentence = f"{PLACES} pictures are here already; try again in {seconds} s"
            raise RefusedError(429, sentence, {"Retry-After": seconds})
        self._taken += 1

    def leave(self) -> None:
        """Give back a place that :meth:`reserve` took."""
        self._taken -= 1

    def add(self, data: bytes, model: str, strength: float) -> SlowPicture:
        """Read a picture and let it wait for its turn.

        Raises:
            WhetError: it cannot be read, or the model cannot be opened.
        """
        picture = image.read(data, max_pixels=self._settings.max_pixels)
        height, width = picture.pixels.shape[:2]
        session = self._session(model)
        entry = SlowPicture(
            secrets.token_urlsafe(16),
            model,
            strength,
            picture,
            session.estimate_seconds(height, width),
            _bytes(picture.pixels).copy(),
        )
        self._pictures[entry.id] = entry
        entry.job = self._pool.submit(self._work, entry)
        return entry

    def _session(self, model: str) -> StudioSession:
        if model not in self._sessions:
            settings = self._settings
            session = open_studio(model, settings.runtime, settings.threads)
            session.keeps_tiles = False
            self._sessions[model] = session
        return self._sessions[model]

    def find(self, id: str) -> SlowPicture:
        """Return a picture, and keep it for longer if it is not finished.

        Raises:
            RefusedError: 404, there is none, or it was forgotten.
        """
        self.sweep()
        if (entry := self._pictures.get(id)) is None:
            sentence = "there is no such picture; it may have been deleted, send again"
            raise RefusedError(404, sentence)
        if entry.state in ("waiting", "working"):
            entry.until = time.monotonic() + _UNASKED_S
        return entry

    def ahead(self, entry: SlowPicture) -> list[SlowPicture]:
        """Return those that are restored before a picture that waits."""
        if entry.state != "waiting":
            return []
        before = []
        for other in self._pictures.values():  # in the order in which they came
            if other is entry:
                break
            if other.state in ("waiting", "working"):
                before.append(other)
        return before

    def _work(self, entry: SlowPicture) -> None:
        """Restore one picture."""
        session = self._sessions[entry.model]

        def tell(done: TileDone) -> None:
            if entry.dropped:
                raise _StoppedError
            entry.tiles, entry.tiles_expected = done.number, done.total
            entry.seconds_left = done.seconds_left
            done.box.of(entry.so_far)[...] = _bytes(done.pixels)

        try:
            if entry.dropped:
                return
            entry.state, session.on_tile = "working", tell
            after = restore_picture(session, entry.picture, entry.strength)
            stream = io.BytesIO()
            entry.notes = after.metadata.notes + image.write(after, stream)
            entry.result, entry.state = stream.getvalue(), "done"
        except _StoppedError:
            pass
        except WhetError as error:
            entry.detail, entry.state = str(error), "failed"
        except Exception:
            _LOG.exception("heavy picture failed")
            entry.detail, entry.state = "something went wrong; the log says what", "failed"
        finally:
            session.on_tile = None
            entry.until = time.monotonic() + _KEPT_S

    def preview(self, entry: SlowPicture) -> bytes:
        """Return a JPEG of the picture with the tiles that are finished, at most 1600 px wide."""
        step = -(-max(entry.so_far.shape[:2]) // _PREVIEW_PX)
        stream = io.BytesIO()
        small = np.ascontiguousarray(entry.so_far[::step, ::step])
        image.write(Picture(small, None), stream, ".jpg")
        return stream.getvalue()

    def drop(self, entry: SlowPicture) -> None:
        """Forget a picture; work on it ends with the tile that is being restored."""
        entry.dropped = True
        self._pictures.pop(entry.id, None)
        if entry.job is not None:
            entry.job.cancel()

    def sweep(self) -> None:
        """Forget what nobody asked for in time."""
        now = time.monotonic()
        for entry in [e for e in self._pictures.values() if e.until < now]:
            self.drop(entry)

    def close(self) -> None:
        """Drop everything; returns when the tile at work is done."""
        for entry in list(self._pictures.values()):
            self.drop(entry)
        self._pool.shutdown(wait=True, cancel_futures=True)


def heavy_names() -> tuple[str, ...]:
    """Return the heavy networks whose weights are here: visitors start no downloads."""
    return tuple(name for name, named in STUDIO.items() if is_here(named.weights))


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
