"""Videos: taken in, restored one after the other, handed out, and forgotten.

A video has a folder of its own below a temporary one that only this user can read. Its
upload is called ``source`` there, whatever its name was, and is deleted when the work on
it ends. The result is deleted when it is asked for, or a while after somebody asked last.

Videos have a thread of their own, so that pictures need not wait for the end of a film;
both use the same sessions, and share the processor.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from whet.errors import WhetError
from whet.runtime import Session
from whet.video.run import restore_video
from whet.web.leftovers import Folder
from whet.web.problems import RefusedError, refusal_of
from whet.web.settings import Settings
from whet.web.videos.containers import HEAD_BYTES, Kind, Shape, kind_of, shape_of

__all__ = ["State", "Video", "VideoQueue"]

State = Literal["reserved", "uploading", "waiting", "working", "done", "failed"]

_RESERVED_S = 60.0  # a place without an upload
_UNASKED_S = 180.0  # what nobody waits for any more; browsers ask once a minute when hidden
_KEPT_S = 900.0  # a result
_SWEEP_S = 15.0
_LOG = logging.getLogger("whet.serve")


class _StoppedError(Exception):
    """Leaves a restoration whose result nobody wants any more."""


@dataclass
class Video:
    """A video at this server; written by one thread at a time, read by all.

    Attributes:
        id: 128 random bits, the only key to it.
        frames: restored so far.
        detail: why it failed, in a sentence.
        notes: what could not be kept, in sentences.
        until: when it is forgotten, by ``time.monotonic``.
    """

    id: str
    folder: Path
    model: str
    strength: float
    state: State = "reserved"
    kind: Kind | None = None
    shape: Shape | None = None
    frames: int = 0
    detail: str | None = None
    notes: tuple[str, ...] = ()
    until: float = field(default_factory=lambda: time.monotonic() + _RESERVED_S)
    started: float = 0.0
    first_frame: float = 0.0
    last_frame: float = 0.0
    dropped: bool = False
    job: Future[None] | None = None

    @property
    def source(self) -> Path:
        """The upload."""
        return self.folder / "source"

    @property
    def result(self) -> Path:
        """What is written for it."""
        return self.folder / f"result{self.kind.suffix if self.kind else ''}"

    @property
    def fps(self) -> float | None:
        """Frames a second, since the first one was done."""
        seconds = self.last_frame - self.first_frame
        return (self.frames - 1) / seconds if self.frames > 1 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes if nothing changes."""
        expected = self.shape.frames if self.shape else None
        if not self.fps or not expected:
            return None
        return max(expected - self.frames, 0) / self.fps


class VideoQueue:
    """All videos of a server.

    Args:
        settings: limits.
        session: returns the session of a model.
    """

    def __init__(self, settings: Settings, session: Callable[[str], Session]) -> None:
        self._settings = settings
        self._session = session
        self._pool = ThreadPoolExecutor(1, "whet-video")
        self._videos: dict[str, Video] = {}
        self._place: Folder | None = None
        self.ended: Callable[[Video], None] = lambda _: None
        """Called from the working thread after every video."""

    def __len__(self) -> int:
        return len(self._videos)

    def reserve(self, model: str, strength: float, size: int) -> Video:
        """Give a place to a video of ``size`` bytes.

        Raises:
            RefusedError: 413 it is too large, 429 every place is taken.
        """
        self._hold(size)
        self.sweep()
        if len(self._videos) >= self._settings.videos:
            left = [v.seconds_left or 30.0 for v in self._videos.values() if v.state == "working"]
            seconds = str(min(max(math.ceil(min(left, default=30.0)), 5), 120))
            sentence = f"{len(self._videos)} videos are here already; try again in {seconds} s"
            raise RefusedError(429, sentence, {"Retry-After": seconds})
        if self._place is None:
            self._place = Folder()
        id = secrets.token_urlsafe(16)
        folder = self._place.path / secrets.token_hex(8)
        folder.mkdir()
        self._videos[id] = video = Video(id, folder, model, strength)
        return video

    def find(self, id: str) -> Video:
        """Return a video, and keep it for longer if it is not finished.

        Raises:
            RefusedError: 404, there is none, or it was forgotten.
        """
        self.sweep()
        if (video := self._videos.get(id)) is None:
            raise RefusedError(404, "there is no such video; it may have been deleted, send again")
        if video.state in ("waiting", "working"):
            video.until = time.monotonic() + _UNASKED_S
        return video

    async def receive(self, video: Video, chunks: AsyncIterator[bytes]) -> None:
        """Write an upload to its file, look at it, and let it wait for its turn.

        Raises:
            RefusedError: it came before, is too large or long, or no video. Its place is
                free again.
        """
        if video.state != "reserved":
            raise RefusedError(409, "this video was sent already; start a new one")
        settings = self._settings
        video.state, video.until = "uploading", math.inf
        try:
            video.kind = await self._write(video.source, chunks)
            look = asyncio.to_thread(
                shape_of, video.source, settings.max_pixels, settings.max_video_seconds
            )
            video.shape = await asyncio.wait_for(look, settings.max_seconds)
        except TimeoutError:
            self.drop(video)
            raise RefusedError(422, "the video takes too long to open; convert it first") from None
        except WhetError as error:
            self.drop(video)
            raise _refusal(error, video) from error
        except BaseException:
            self.drop(video)
            raise
        video.state, video.until = "waiting", time.monotonic() + _UNASKED_S
        video.job = self._pool.submit(self._work, video)

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> Kind:
        """Write a body to a file; stop as soon as it is too large, or clearly no video."""
        head, kind, size = b"", None, 0
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                self._hold(size)
                if kind is None:
                    head += chunk[:HEAD_BYTES]
                    if len(head) >= HEAD_BYTES:
                        kind = _known(head)
                await asyncio.to_thread(file.write, chunk)
        return kind or _known(head)

    def _hold(self, size: int) -> None:
        """Hold a size against the limit."""
        if size > (limit := self._settings.max_video_bytes):
            raise RefusedError(
                413,
                f"the video is larger than {limit / 1e6:.0f} MB; cut it, or send a smaller one",
                {"Connection": "close"},
            )

    def _work(self, video: Video) -> None:
        """Restore one video."""
        video.started = time.monotonic()
        try:
            if video.dropped:
                return
            video.state = "working"
            made = restore_video(
                self._session(video.model),
                video.source,
                video.result,
                strength=video.strength,
                progress=lambda frames, _: self._note(video, frames),
            )
            video.notes, video.state = _unnamed(video, made.notes), "done"
        except _StoppedError:
            pass
        except (WhetError, RefusedError) as error:
            video.detail, video.state = _unnamed(video, [str(error)])[0], "failed"
        except Exception:
            _LOG.exception("video failed")
            video.detail, video.state = "something went wrong; the log says what", "failed"
        finally:
            video.until = time.monotonic() + _KEPT_S
            video.source.unlink(missing_ok=True)
            self.ended(video)

    def _note(self, video: Video, frames: int) -> None:
        """Take note of a finished frame; leave the restoration where it must end."""
        video.frames, video.last_frame = frames, time.monotonic()
        if frames == 1:
            video.first_frame = video.last_frame
        if video.dropped:
            raise _StoppedError
        limit = self._settings.max_video_work
        if video.last_frame - video.started > limit:
            raise RefusedError(
                503, f"this took more than {limit:g} s; cut the video, or choose a smaller model"
            )

    def drop(self, video: Video) -> None:
        """Forget a video: stop its work and delete its files."""
        video.dropped = True
        self._videos.pop(video.id, None)
        if video.job is None:
            _delete(video)
        else:
            video.job.cancel()
            # Called at once if the job has ended, else from its thread.
            video.job.add_done_callback(lambda _: _delete(video))

    def sweep(self) -> None:
        """Forget what nobody asked for in time."""
        now = time.monotonic()
        for video in [v for v in self._videos.values() if v.until < now]:
            self.drop(video)

    async def sweep_forever(self) -> None:
        """Sweep now and then, for files must not wait for the next visitor."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep()

    def close(self) -> None:
        """Stop and delete everything; returns when the frame at work is done."""
        for video in list(self._videos.values()):
            self.drop(video)
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._place is not None:
            self._place.close()


def _delete(video: Video) -> None:
    shutil.rmtree(video.folder, ignore_errors=True)


def _known(head: bytes) -> Kind:
    if not head:
        raise RefusedError(415, "the video is empty; send the file as the body of the request")
    if (kind := kind_of(head)) is None:
        raise RefusedError(415, "this is no video that whet can read; convert it to MP4 first")
    return kind


def _refusal(error: WhetError, video: Video) -> RefusedError:
    """Return the refusal for a file that FFmpeg cannot make use of, without its path."""
    return RefusedError(refusal_of(error).status, _unnamed(video, [str(error)])[0])


def _unnamed(video: Video, sentences: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return sentences without the paths of temporary files."""
    names = ((str(video.source), "the video"), (str(video.result), "the result"))
    for path, name in names:
        sentences = [sentence.replace(path, name) for sentence in sentences]
    return tuple(sentences)
