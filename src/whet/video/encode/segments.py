"""Long videos in segments: what an interrupted run has finished is not restored again.

Beside the output stands a folder, ``NAME.whet-segments``, while the run lasts. Every ten seconds of
video, encoded, become one NUT file in it (FFmpeg's own format, which keeps packets as the encoder
made them, and which players take), and a small JSON file that says when its frames are shown. A
segment counts once its JSON file is there; both get their names when complete. At the end their
packets and all other packets of the source are copied, in the source's order, into the output,
and the folder is removed.

Why so: encoded segments take the room of the output and not of its frames; nothing but whole files
is trusted, so a power cut costs one segment; times travel as integers of the source's time base,
which no container rounds; and sound, subtitles and chapters are copied once, from the source, as in
a run without segments. The source is decoded again up to where the run goes on: that takes a
fraction of the time of restoring, and is exact where seeking is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.context import Flags as CodecFlags
from av.format import Flags as FormatFlags

from whet.errors import Kind, MediaError
from whet.files import replacing
from whet.version import __version__
from whet.video.decode.source import Frame, Item, VideoSource
from whet.video.encode.encoding import Container, Encoding
from whet.video.encode.sink import VideoSink

if TYPE_CHECKING:
    from whet.artifact import Card

__all__ = [
    "SEGMENT_FRAMES",
    "SLOW_SEGMENT_FRAMES",
    "Segment",
    "SegmentsSink",
    "fingerprint",
    "remove_segments",
    "segments_folder",
]

SEGMENT_FRAMES = 250
"""Frames of a segment: what encoders take for a group of pictures anyway."""

SLOW_SEGMENT_FRAMES = 24
"""The same for sessions that take a minute for a frame: an interruption costs an hour at most."""

_NUT = Container("nut")
_GLOBAL_HEADER: int = cast(Any, FormatFlags.global_header).value
_RUN = "run.json"
_OURS = r"\d{6}\.(nut|json|part)|\.whet-[0-9a-f]{12}\.part"


@dataclass(frozen=True)
class Segment:
    """A finished segment.

    Attributes:
        file: its video.
        times: ``(pts, duration)`` of its packets in the source's time base, in coded order.
        passed: frames that passed as they were.
        last_passed: the last frame did.
    """

    file: Path
    times: Sequence[tuple[int, int]]
    passed: int
    last_passed: bool


def segments_folder(target: Path) -> Path:
    """Return where the segments of a target are kept while they are needed."""
    return target.with_name(f"{target.name}.whet-segments")


def fingerprint(
    source: Path, card: Card, encoding: Encoding, treatment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all that segments depend on; those of another run must not be joined."""
    status = source.stat()
    return {
        "source": [str(source.resolve()), status.st_size, status.st_mtime_ns],
        "model": [card.name, card.precision, card.weights_sha256],
        "encoding": asdict(encoding),
        **treatment,
        "versions": [__version__, av.__version__],
    }


def remove_segments(folder: Path) -> None:
    """Remove what a run has put into its folder, and the folder if nothing else is in it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name == _RUN or re.fullmatch(_OURS, path.name):
                path.unlink()
        folder.rmdir()


class SegmentsSink:
    """Encodes frames into segments; goes on behind those that an earlier run finished.

    Args:
        folder: of the segments; made where it is missing.
        source: what is restored.
        encoding: how.
        run: :func:`fingerprint` of the run.
        overwrite: begin anew whatever stands there.
        frames: of a segment; None means :data:`SEGMENT_FRAMES`.

    Attributes:
        segments: the finished ones.
        notes: see :class:`~whet.video.encode.sink.VideoSink`.

    Raises:
        MediaError: the folder holds another run's segments, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        source: VideoSource,
        encoding: Encoding,
        run: Mapping[str, Any],
        *,
        overwrite: bool,
        frames: int | None = None,
    ) -> None:
        self._frames = SEGMENT_FRAMES if frames is None else frames
        self._folder, self._source, self._encoding = folder, source, encoding
        self.notes: list[str] = []
        self._open: _SegmentSink | None = None
        if overwrite and (folder / _RUN).exists():
            remove_segments(folder)
        if not folder.parent.is_dir():
            raise MediaError(f"{folder.parent}: no such folder; create it first")
        folder.mkdir(exist_ok=True)
        _claim(folder, run)
        self.segments = list(_finished(folder))

    @property
    def frames(self) -> int:
        """Frames in finished segments."""
        return sum(len(segment.times) for segment in self.segments)

    @property
    def passed(self) -> int:
        """Frames in finished segments that passed as they were."""
        return sum(segment.passed for segment in self.segments)

    def write(self, item: Item) -> None:
        """Encode a frame; other packets wait for :func:`~whet.video.encode.concat.join`."""
        if not isinstance(item, Frame):
            return
        if self._open is None:
            self._open = _SegmentSink(self._stem(".part"), self._source, self._encoding)
            self.notes = self._open.notes
        self._open.write(item)
        self._open.passed += item.passed
        self._open.last_passed = item.passed
        self._open.frames += 1
        if self._open.frames >= self._frames:
            self._finish_part()

    def _stem(self, suffix: str) -> Path:
        return self._folder / f"{len(self.segments):06}{suffix}"

    def _finish_part(self) -> None:
        if self._open is None:
            return
        done, self._open = self._open, None
        done.close()
        file, said = self._stem(".nut"), self._stem(".json")
        self._stem(".part").replace(file)
        segment = Segment(file, done.times, done.passed, done.last_passed)
        with replacing(said, overwrite=True, error=MediaError) as temporary:
            facts = {
                "times": segment.times,
                "passed": segment.passed,
                "last_passed": segment.last_passed,
            }
            temporary.write_text(json.dumps(facts))
        self.segments.append(segment)

    def close(self) -> None:
        """Finish the last segment, however short."""
        self._finish_part()

    def abandon(self) -> None:
        """Give the open segment up; finished ones stay."""
        if self._open is not None:
            self._open.abandon()
            with suppress(OSError):
                self._stem(".part").unlink(missing_ok=True)
        if not self.segments:  # a folder with nothing to go on from would only be in the way
            remove_segments(self._folder)


def _claim(folder: Path, run: Mapping[str, Any]) -> None:
    """Write down whose segments these are, or check that they are this run's."""
    said = folder / _RUN
    text = json.dumps(run, indent=1)
    if said.exists():
        if json.dumps(_read_json(said), indent=1) != text:
            raise MediaError(
                f"{folder} holds another run's segments (other source, model, version or options); "
                "delete it to begin anew",
                Kind.EXISTS,
            )
        return
    with replacing(said, error=MediaError) as temporary:
        temporary.write_text(text)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise MediaError(f"{path} is damaged; delete the folder it is in") from error


def _finished(folder: Path) -> Iterator[Segment]:
    """Yield the segments from the first on, up to the first that is missing."""
    index = 0
    while (said := folder / f"{index:06}.json").exists():
        file = said.with_suffix(".nut")
        if not file.exists():
            return
        facts = _read_json(said)
        times = [(int(pts), int(duration)) for pts, duration in facts["times"]]
        yield Segment(file, times, int(facts["passed"]), bool(facts["last_passed"]))
        index += 1


class _SegmentSink(VideoSink):
    """A segment being written: the video alone, with the times of its packets on record."""

    def __init__(self, path: Path, source: VideoSource, encoding: Encoding) -> None:
        self.times: list[tuple[int, int]] = []
        self.frames = self.passed = 0
        self.last_passed = False
        self._final = av.ContainerFormat(encoding.container.format, "w")
        super().__init__(path, source, replace(encoding, container=_NUT), alone=True)

    def _add_video(self, *settings: Any) -> Any:
        video = super()._add_video(*settings)
        if not self._final.flags & _GLOBAL_HEADER:  # wants it in every group
            video.codec_context.flags &= ~CodecFlags.global_header
        return video

    def _put(self, packet: Any) -> None:
        self.times.append((packet.pts, packet.duration))
        super()._put(packet)
