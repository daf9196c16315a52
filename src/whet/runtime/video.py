"""A video through a session: decode, restore and encode at the same time.

Three threads pass frames along two short queues: one decodes, the caller's
restores, one encodes. A slow stage holds the others back, so memory holds a
dozen frames whatever the length. Nothing is written but the result.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import av.error

from whet.errors import MediaError
from whet.image import replacing
from whet.runtime.media import Frame, Item, VideoSource, why
from whet.runtime.video_sink import CONTAINERS, Container, VideoSink

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["RestoredVideo", "default_target", "restore_video"]

_QUEUED = 4  # frames between two stages
_POLL_S = 0.1


@dataclass(frozen=True)
class RestoredVideo:
    """What became of a video.

    Attributes:
        target: the file that was written; ``NAME.partial.SUFFIX`` if interrupted.
        frames: number of restored frames in it.
        seconds: wall time.
        interrupted: Ctrl-C came; the file is playable and ends early.
        notes: what was wrong with the source or could not be kept, in sentences.
    """

    target: Path
    frames: int
    seconds: float
    interrupted: bool
    notes: tuple[str, ...]


def default_target(source: Path) -> Path:
    """Return ``NAME-whet.SUFFIX`` beside the source; .mp4 where its container is only read."""
    suffix = source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"
    return source.with_name(f"{source.stem}-whet{suffix}")


class _Channel:
    """A short queue between two threads that never blocks a stage for good."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Item | None] = queue.Queue(_QUEUED)
        self.stopped = threading.Event()
        """Set when the reading side wants no more, or the writing side must not go on."""

    def put(self, item: Item | None) -> bool:
        """Hand over an item, None for the end; false if nobody wants it."""
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_POLL_S)
                return True
        return False

    def __iter__(self) -> Iterator[Item]:
        while not self.stopped.is_set():
            with suppress(queue.Empty):
                item = self._queue.get(timeout=_POLL_S)
                if item is None:
                    return
                yield item


class _Stage(threading.Thread):
    """A thread whose failure is kept for the thread that joins it."""

    def __init__(self, name: str, work: Callable[[], None], outlet: _Channel) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._outlet = work, outlet
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as failure:
            self.failure = failure
            self._outlet.stopped.set()

    def finish(self) -> None:
        """Wait for the end and raise what the thread raised."""
        self.join()
        if self.failure is not None:
            raise self.failure


def restore_video(
    session: Session,
    source: Path | str,
    target: Path | str | None = None,
    *,
    strength: float = 1.0,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> RestoredVideo:
    """Restore a video file; sound, subtitles, chapters and times stay as they are.

    Args:
        session: an open session; it is called from this thread only.
        source: a file that FFmpeg can read; animated GIF and WebP are videos too.
        target: where to write; None means :func:`default_target`. It appears
            when it is complete.
        strength: scales what restoration changes, 0 to 2.
        codec: a key of ``media.CODECS`` or an encoder's name; None takes the
            container's usual one.
        crf: constant rate factor, lower is better and larger.
        preset: the encoder's speed setting.
        overwrite: whether an existing file may be replaced.
        progress: called after every frame with the number of restored frames
            and the number expected, None where the file does not say.

    Returns:
        A report. After Ctrl-C, the frames so far are finished as a playable
        ``NAME.partial.SUFFIX`` beside the target, and the report says so; a
        second Ctrl-C gives up and leaves nothing.

    Raises:
        MediaError: the source cannot be read, or the target cannot be written.
    """
    if not 0 <= strength <= 2:
        raise MediaError(f"strength is {strength}; choose 0 (nothing) to 2, 1 is normal")
    source = Path(source)
    target = default_target(source) if target is None else Path(target)
    container = CONTAINERS.get(target.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        raise MediaError(f"{target}: whet writes no {target.suffix!r} videos; use one of {known}")
    if source.resolve() == target.resolve():
        raise MediaError(f"{source} cannot be written while it is read; choose another target")
    started = time.perf_counter()
    partial = target.with_name(f"{target.stem}.partial{target.suffix}")
    reader = VideoSource(source)
    try:
        with replacing(target, overwrite=overwrite, error=MediaError) as temporary:
            sink = _sink(temporary, reader, container, codec, crf, preset)
            frames, interrupted = _pipeline(session, reader, sink, strength, progress)
            if interrupted:
                temporary.replace(partial)
                raise _InterruptedError
    except _InterruptedError:
        target = partial
    except av.error.FFmpegError as error:
        raise MediaError(f"{target} cannot be written: {why(error)}") from error
    finally:
        reader.close()
    seconds = time.perf_counter() - started
    notes = (*sink.notes, *reader.notes)
    return RestoredVideo(target, frames, seconds, interrupted, notes)


class _InterruptedError(Exception):
    """Leaves :func:`replacing` when the file has got its partial name instead."""


def _sink(
    path: Path,
    reader: VideoSource,
    container: Container,
    codec: str | None,
    crf: int | None,
    preset: str | None,
) -> VideoSink:
    return VideoSink(path, reader, container, codec or container.codec, crf=crf, preset=preset)


def _pipeline(
    session: Session,
    reader: VideoSource,
    sink: VideoSink,
    strength: float,
    progress: Callable[[int, int | None], None] | None,
) -> tuple[int, bool]:
    """Run the three stages to the end; return the frames, and whether Ctrl-C came."""
    decoded, restored = _Channel(), _Channel()
    decode = _Stage("whet-decode", lambda: _feed(reader, decoded), decoded)
    encode = _Stage("whet-encode", lambda: _drain(restored, sink), restored)

    def finish() -> None:
        decoded.stopped.set()
        restored.put(None)
        decode.finish()
        encode.finish()

    frames, interrupted = 0, False
    decode.start()
    encode.start()
    try:
        try:
            for item in decoded:
                if isinstance(item, Frame) and strength:
                    item = replace(item, pixels=session.restore(item.pixels, strength))
                if not restored.put(item):
                    break
                if isinstance(item, Frame):
                    frames += 1
                    if progress:
                        progress(frames, reader.frame_count)
            finish()
        except KeyboardInterrupt:
            interrupted = True
            if frames == 0:
                raise
            finish()
    except BaseException:
        for channel, stage in ((decoded, decode), (restored, encode)):
            channel.stopped.set()
            stage.join()
        sink.abandon()
        raise
    return frames, interrupted


def _feed(reader: Iterable[Item], decoded: _Channel) -> None:
    """Decode until the end, or until nobody wants more."""
    for item in reader:
        if not decoded.put(item):
            return
    decoded.put(None)


def _drain(restored: _Channel, sink: VideoSink) -> None:
    """Encode until the end and finish the file; leave it open if the run was given up."""
    for item in restored:
        sink.write(item)
    if not restored.stopped.is_set():
        sink.close()
