"""A video through a session, from file to file.

Nothing is written but the result; a run that may be interrupted and go on keeps
its encoded segments beside it, see :mod:`whet.video.encode.segments`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import av.error

from whet.errors import Kind, MediaError
from whet.files import replacing
from whet.runtime.session import check_strength
from whet.video.decode.reading import Span, why
from whet.video.decode.source import VideoSource
from whet.video.digest import write_digest
from whet.video.encode import segments
from whet.video.encode.concat import join
from whet.video.encode.encoding import CONTAINERS, SAME, Container, Encoding, usual_codec
from whet.video.encode.segments import SegmentsSink, fingerprint, remove_segments, segments_folder
from whet.video.encode.sink import VideoSink
from whet.video.frames import Treatment
from whet.video.inventory import inventory
from whet.video.jobs import default_target
from whet.video.pipeline import Outcome, Sink, run
from whet.video.sharpness_gate import Gate

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["RestoredVideo", "container_of", "default_target", "restore_video"]

_PROFESSIONAL = (".mxf", ".dv", ".gxf")


@dataclass(frozen=True)
class RestoredVideo:
    """What became of a video.

    Attributes:
        target: the file that was written; if interrupted, ``NAME.partial.SUFFIX``, or the
            folder of the finished segments.
        frames: number of frames in it.
        seconds: wall time.
        interrupted: Ctrl-C came; the file is playable and ends early.
        notes: what was wrong with the source or could not be kept, in sentences.
        passed: how many of the frames were sharp and are as they were.
        kept: how many of them an earlier run had finished.
        same, changed, lost: what of the source the result holds, read from both
            (:class:`~whet.video.inventory.Inventory`); empty after an interruption.
        framemd5: file of the frames' checksums, where they were asked for.
        resumable: finished segments are kept, and the same call goes on behind them.
    """

    target: Path
    frames: int
    seconds: float
    interrupted: bool
    notes: tuple[str, ...]
    passed: int = 0
    kept: int = 0
    resumable: bool = False
    same: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    framemd5: Path | None = None

    @property
    def summary(self) -> str:
        """How many frames, how fast, and what did not have to be restored."""
        fps = (self.frames - self.kept) / self.seconds if self.seconds else 0.0
        words = f"{self.frames} frames in {self.seconds:.1f} s ({fps:.1f} fps)"
        if self.kept:
            words += f", {self.kept} finished earlier"
        if self.passed:
            words += f", {self.passed} passed as they were: sharp already"
        return words

    @property
    def what_was_kept(self) -> str:
        """What of the source the result holds, and what is another now."""
        changes = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in self.changed.items())
        words = [f"kept: {', '.join(self.same)}"] if self.same else []
        return "; ".join([*words, f"changed: {changes}"] if changes else words)

    @property
    def how_it_ended(self) -> str:
        """What is left after Ctrl-C."""
        if self.resumable:
            return f"interrupted: {self.target} keeps {self.frames} frames"
        return f"interrupted: {self.target} plays, and holds the first {self.frames} frames"


def restore_video(
    session: Session,
    source: Path | str,
    target: Path | str | None = None,
    *,
    strength: float = 1.0,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    gate: bool = True,
    steady: bool = True,
    resume: bool = False,
    deinterlace: bool = False,
    start_s: float = 0.0,
    duration_s: float | None = None,
    audio: str | None = None,
    subtitles: bool = True,
    framemd5: bool = False,
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
        codec: a key of ``encoding.CODECS``, an encoder's name, or "same"; None takes the
            container's usual one.
        crf: constant rate factor, lower is better and larger.
        preset: the encoder's speed setting.
        gate: let frames pass that are sharp already; see :mod:`whet.video.sharpness_gate`.
        steady: keep restoration from trembling; see :mod:`whet.video.stabilise`.
        resume: keep finished segments beside the target until it is complete, and go on behind
            those that an earlier call with the same arguments left.
        deinterlace: make a picture of each field of interlaced video, at twice its rate.
        start_s: where to begin, in seconds from the beginning.
        duration_s: how many seconds to restore; None goes to the end.
        audio: codec to convert sound to, such as ``aac``, ``opus`` or ``flac``; None copies it.
        subtitles: keep them; text is converted where the container wants it spelt differently.
        framemd5: write a checksum of every frame of the result beside it.
        overwrite: whether an existing file may be replaced, and kept segments be given up.
        progress: called after every frame with the number of restored frames
            and the number expected, None where the file does not say.

    Returns:
        A report. After Ctrl-C, the frames so far are finished as a playable
        ``NAME.partial.SUFFIX`` beside the target, or with ``resume`` as the last segment,
        and the report says so; a second Ctrl-C gives them up, finished segments excepted.

    Raises:
        MediaError: the source cannot be read, or the target cannot be written.
    """
    check_strength(strength, MediaError)
    source = Path(source)
    goal = default_target(source, codec if codec != SAME else None) if target is None else target
    container = container_of(target := Path(goal))
    if source.resolve() == target.resolve():
        raise MediaError(f"{source} cannot be written while it is read; choose another target")
    started = time.perf_counter()
    reader = VideoSource(
        source,
        Span(start_s, duration_s),
        deinterlace=deinterlace,
        from_zero=container.format != "mpegts",
    )
    try:
        usual = codec or usual_codec(reader, container)
        # Segments hold one stream each, and transparency is a second one.
        encoding = Encoding(container, usual, crf, preset, audio, subtitles, alpha=not resume)
        job = _Job(session, reader, target, encoding, strength, gate, steady, overwrite, progress)
        made = job.in_segments() if resume else job.at_once()
        if not made.interrupted:
            made = _looked_at(made, reader, encoding, framemd5)
    except av.error.FFmpegError as error:
        raise MediaError(f"{target} cannot be written: {why(error)}") from error
    finally:
        reader.close()
    return replace(made, seconds=time.perf_counter() - started)


def container_of(target: Path) -> Container:
    """Return the container that a file name asks for.

    Raises:
        MediaError: whet writes none of that name.
    """
    container = CONTAINERS.get(target.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        raise MediaError(
            f"{target}: whet writes no {target.suffix!r} videos; use one of {known}",
            Kind.UNSUPPORTED,
        )
    return container


def _looked_at(
    made: RestoredVideo, reader: VideoSource, encoding: Encoding, framemd5: bool
) -> RestoredVideo:
    """Read a finished result, and add to the report what of the source it holds."""
    found = inventory(reader, made.target)
    # Of a span, chapters may lie elsewhere; and what was dropped by name is not missed.
    unasked = set(found.lost) - ({"subtitles"} if not encoding.subtitles else set())
    unasked -= set() if reader.span.whole else {"chapters", "closed captions"}
    said = " ".join(made.notes)
    missed = [f"{name} could not be kept" for name in found.lost if name in unasked]
    if "pixel shape" in found.changed:
        before, after = found.changed["pixel shape"]
        missed.append(f"pixel shape {before} could not be kept and is {after}; .mp4 holds it")
    notes = [*made.notes, *(note for note in missed if note.split(" could")[0] not in said)]
    professional = reader.path.suffix.lower() in _PROFESSIONAL
    if professional and encoding.container.format != "matroska":
        notes.append(
            f"{reader.path.suffix} became {made.target.suffix}: what only {reader.path.suffix} "
            "holds stays behind; FFV1 in .mkv loses nothing of the picture"
        )
    return replace(
        made,
        notes=tuple(dict.fromkeys(notes)),
        same=found.same,
        changed=found.changed,
        lost=found.lost,
        framemd5=write_digest(made.target) if framemd5 else None,
    )


class _InterruptedError(Exception):
    """Leaves :func:`replacing` when the file has got its partial name instead."""


@dataclass(frozen=True)
class _Job:
    """The arguments of :func:`restore_video`, checked and opened."""

    session: Session
    reader: VideoSource
    target: Path
    encoding: Encoding
    strength: float
    gate: bool
    steady: bool
    overwrite: bool
    progress: Callable[[int, int | None], None] | None

    def at_once(self) -> RestoredVideo:
        """Write the target as it is restored."""
        target = self.target
        partial = target.with_name(f"{target.stem}.partial{target.suffix}")
        try:
            with replacing(target, overwrite=self.overwrite, error=MediaError) as temporary:
                sink = VideoSink(temporary, self.reader, self.encoding)
                outcome = self._run(sink)
                if outcome.interrupted:
                    temporary.replace(partial)
                    raise _InterruptedError
        except _InterruptedError:
            target = partial
        return self._report(target, outcome, sink.notes)

    def in_segments(self) -> RestoredVideo:
        """Write what is missing of the segments, then the target from all of them."""
        target, reader = self.target, self.reader
        folder = segments_folder(target)
        if target.exists() and not self.overwrite:
            raise MediaError(f"{target} exists already", Kind.EXISTS)
        card = self.session.card
        treatment = {"strength": self.strength, "gate": self.gate, "steady": self.steady}
        reading = {"deinterlace": reader.deinterlaced, "span": asdict(reader.span)}
        claim = fingerprint(reader.path, card, self.encoding, {**treatment, **reading})
        try:
            sink = SegmentsSink(
                folder,
                reader,
                self.encoding,
                claim,
                overwrite=self.overwrite,
                frames=self.segment_frames,
            )
            kept, passed = sink.frames, sink.passed
            passing = bool(sink.segments) and sink.segments[-1].last_passed
            # Steadying looks back, but never past a multiple of this.
            looks_back = self.steady and not passing and kept != reader.frame_count
            warm = kept % self.segment_frames if looks_back else 0
            reader.skip(kept - warm)
            outcome = self._run(sink, kept, passing, warm)
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(f"{folder} cannot be written: {why(error)}") from error
        outcome = replace(outcome, frames=kept + outcome.frames, passed=passed + outcome.passed)
        if outcome.interrupted:
            return self._report(folder, outcome, sink.notes, kept, resumable=True)
        with replacing(target, overwrite=self.overwrite, error=MediaError) as temporary:
            notes = join(temporary, reader, self.encoding, sink.segments)
        remove_segments(folder)
        return self._report(target, outcome, [*sink.notes, *notes], kept)

    @property
    def segment_frames(self) -> int:
        """Frames of a segment, after which steadying begins anew too."""
        if getattr(self.session, "slow", False):
            return segments.SLOW_SEGMENT_FRAMES
        return segments.SEGMENT_FRAMES

    def _run(self, sink: Sink, kept: int = 0, passing: bool = False, warm: int = 0) -> Outcome:
        def tell(frames: int) -> None:
            if self.progress:
                self.progress(kept + frames, self.reader.frame_count)

        treatment = Treatment(
            self.strength,
            Gate(passing) if self.gate else None,
            self.segment_frames if self.steady else 0,
        )
        start = kept - warm
        return run(
            self.session, self.reader, sink, treatment, start=start, warm=warm, progress=tell
        )

    def _report(
        self,
        target: Path,
        outcome: Outcome,
        notes: Sequence[str],
        kept: int = 0,
        resumable: bool = False,
    ) -> RestoredVideo:
        return RestoredVideo(
            target=target,
            frames=outcome.frames,
            passed=outcome.passed,
            kept=kept,
            seconds=0.0,
            interrupted=outcome.interrupted,
            resumable=resumable,
            notes=tuple(dict.fromkeys((*notes, *self.reader.notes))),
        )
