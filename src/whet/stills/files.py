"""Pictures through a session: one, many, a pipe, or a hundred megapixels in bands.

Decoding, restoring and encoding overlap: while the session works on one
picture, threads read the next ones and write the last. A run that was
interrupted is started again with the same words: finished files are skipped,
and there are no half-written ones.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from whet import image
from whet.errors import ImageError, Kind, WhetError
from whet.files import reason
from whet.image import MAX_PIXELS, Picture
from whet.image.sharpness import looks_motion_blurred
from whet.runtime.session import check_strength
from whet.stills.jobs import Job, plan
from whet.stills.picture import (
    is_large_tiff,
    restore_large_tiff,
    restore_picture,
)
from whet.stills.report import Restored, RunReport
from whet.stills.side_by_side import side_by_side

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["Restored", "RunReport", "restore_file", "restore_files", "restore_picture"]

_IN_FLIGHT = 2  # pictures that wait decoded, and that wait to be encoded


@dataclass(frozen=True)
class _Options:
    """How every picture of a run is treated; the arguments of :func:`restore_file`."""

    strength: float
    compare: bool
    overwrite: bool
    quality: int | None
    max_pixels: int
    mark: bool = True
    strip: bool = False
    allow_damage: bool = False
    whole: bool = False
    """Never in bands: the session cuts pictures itself."""

    def __post_init__(self) -> None:
        check_strength(self.strength, ImageError)


def _is_slow(session: Session) -> bool:
    """Whether a session takes minutes for a picture, and keeps its own tiles meanwhile."""
    return getattr(session, "slow", False)


def _passes_in_bands(job: Job, options: _Options) -> bool:
    """Whether a job's picture never needs to be in memory as a whole."""
    if options.whole or options.compare or options.strength == 0 or job.from_pipe:
        return False
    to_tiff = job.target.suffix.lower() in (".tif", ".tiff")
    return to_tiff and job.source.is_file() and is_large_tiff(job.source, options.max_pixels)


def _pass_in_bands(session: Session, job: Job, options: _Options) -> Restored:
    """Restore one large TIFF; its seconds include decoding and encoding."""
    started = time.perf_counter()
    _make_folder(job.target.parent)
    notes = restore_large_tiff(
        session,
        job.source,
        job.target,
        strength=options.strength,
        overwrite=options.overwrite,
        max_pixels=options.max_pixels,
        mark=options.mark,
        strip=options.strip,
    )
    _keep_times(job)
    return Restored(job, None, job.notes + notes, time.perf_counter() - started)


def _timed(session: Session, before: Picture, options: _Options) -> tuple[Picture, float]:
    started = time.perf_counter()
    mark = options.mark and not options.strip
    after = restore_picture(session, before, options.strength, mark=mark)
    return after, time.perf_counter() - started


def _read(job: Job, options: _Options) -> Picture:
    source = sys.stdin.buffer if job.from_pipe else job.source
    picture = image.read(source, max_pixels=options.max_pixels, allow_damage=options.allow_damage)
    if options.strip:
        picture = replace(picture, metadata=image.stripped(picture.metadata))
    return picture


def _finish(
    job: Job, before: Picture, after: Picture, seconds: float, options: _Options
) -> Restored:
    """Encode and write one job's pictures, and give the result its source's times."""
    notes = job.notes + after.metadata.notes
    height, width = after.pixels.shape[:2]
    blurred = (height, width) if looks_motion_blurred(after.pixels) else None
    if job.to_pipe:
        shown = side_by_side(before, after) if options.compare else after
        notes += image.write(shown, sys.stdout.buffer, job.format, quality=options.quality)
        sys.stdout.buffer.flush()
        return Restored(job, None, notes, seconds, blurred)
    _make_folder(job.target.parent)
    # Before the result, whose presence means that the job is finished; one
    # that an interrupted run left behind is as good.
    if job.compared and (options.overwrite or not job.compared.exists()):
        pair = side_by_side(before, after)
        image.write(pair, job.compared, quality=options.quality, overwrite=options.overwrite)
    notes += image.write(
        after, job.target, job.format, quality=options.quality, overwrite=options.overwrite
    )
    _keep_times(job)
    return Restored(job, job.compared, notes, seconds, blurred)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{folder} cannot be created: {reason(error)}") from error


def _keep_times(job: Job) -> None:
    """Give the result its source's times, where the file system lets us."""
    if not job.from_pipe and job.source.is_file() and job.target.is_file():
        with suppress(OSError):
            times = job.source.stat()
            os.utime(job.target, ns=(times.st_atime_ns, times.st_mtime_ns))


def restore_file(
    session: Session,
    source: Path | str,
    target: Path | str,
    *,
    strength: float = 1.0,
    compare: bool = False,
    overwrite: bool = False,
    quality: int | None = None,
    max_pixels: int = MAX_PIXELS,
    mark: bool = True,
    strip: bool = False,
    allow_damage: bool = False,
) -> Restored:
    """Restore one picture file.

    Args:
        session: an open session.
        source: path, or ``-`` for standard input.
        target: path, its suffix names the format; or ``-`` for standard output
            in the source's format. Written completely or not at all, with the
            source's access and modification times.
        strength: scales what restoration changes, 0 to 2.
        compare: also write a side-by-side picture, ``NAME-compare.SUFFIX``; with
            target ``-`` the side-by-side picture is what is written.
        overwrite: whether existing files may be replaced.
        quality: see :func:`whet.image.write`.
        max_pixels, allow_damage: see :func:`whet.image.read`.
        mark: name whet, model and strength in the XMP history.
        strip: write no metadata but what the pixels need to be shown: colour and resolution.

    Raises:
        ImageError: source or target cannot be used; the message says why.
    """
    options = _Options(
        strength, compare, overwrite, quality, max_pixels, mark, strip, allow_damage,
        _is_slow(session),
    )  # fmt: skip
    job = Job(Path(source), Path(target))
    if compare and not job.to_pipe:
        beside = job.target.with_name(f"{job.target.stem}-compare{job.target.suffix}")
        job = replace(job, compared=beside)
    if job.target.is_file() and not overwrite:
        raise ImageError(f"{target} exists already", Kind.EXISTS)
    if _passes_in_bands(job, options):
        return _pass_in_bands(session, job, options)
    before = _read(job, options)
    after, seconds = _timed(session, before, options)
    return _finish(job, before, after, seconds, options)


def restore_files(
    session: Session,
    sources: Sequence[Path | str],
    target: Path | str | None = None,
    *,
    strength: float = 1.0,
    compare: bool = False,
    overwrite: bool = False,
    quality: int | None = None,
    suffix: str | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
    recursive: bool = True,
    mark: bool = True,
    strip: bool = False,
    allow_damage: bool = False,
    progress: Callable[[RunReport, int], None] | None = None,
) -> RunReport:
    """Restore many pictures; one that fails does not stop the others.

    Args:
        session: an open session; it is called from this thread only.
        sources, target, suffix, name, recursive: see :func:`whet.stills.jobs.plan`; ``name``
            may hold ``{model}`` and ``{strength}`` too.
        strength, compare, overwrite, quality, max_pixels, mark, strip, allow_damage: see
            :func:`restore_file`; without ``overwrite`` a job whose target exists
            is skipped, so that a run can be resumed.
        progress: called after every picture with the report so far and the
            number of jobs.

    Raises:
        ImageError: see ``plan``; anything about single pictures is in the report.
    """
    options = _Options(
        strength, compare, overwrite, quality, max_pixels, mark, strip, allow_damage,
        _is_slow(session),
    )  # fmt: skip
    report = RunReport()
    jobs = plan(
        sources,
        target,
        suffix=suffix,
        name=name,
        fields={"model": session.card.name, "strength": f"{strength:g}"},
        compare=compare,
        recursive=recursive,
    )
    wanted: list[Job] = []
    for job in jobs:
        if not overwrite and not job.to_pipe and job.source.resolve() == job.target.resolve():
            raise ImageError(
                f"{job.source} would be replaced by its result; choose another folder",
                Kind.EXISTS,
            )
        finished = not overwrite and job.target.is_file()
        (report.skipped if finished else wanted).append(job)
    for _ in _overlapped(session, wanted, options, report):
        if progress:
            progress(report, len(jobs))
    return report


def _overlapped(
    session: Session, jobs: Sequence[Job], options: _Options, report: RunReport
) -> Iterator[None]:
    """Run jobs with decoding ahead and encoding behind; yield when something is finished."""
    writing: deque[tuple[Job, Future[Restored]]] = deque()

    def settle(waiting: int) -> None:
        while len(writing) > waiting or (writing and writing[0][1].done()):
            job, task = writing.popleft()
            with _failures(job, report):
                report.done.append(task.result())

    with (
        ThreadPoolExecutor(_IN_FLIGHT, "whet-decode") as readers,
        ThreadPoolExecutor(_IN_FLIGHT, "whet-encode") as writers,
    ):
        try:
            for job, loading in _ahead(readers, jobs, options):
                with _failures(job, report):
                    before = loading.result()
                    if before is None:
                        report.done.append(_pass_in_bands(session, job, options))
                    else:
                        after, seconds = _timed(session, before, options)
                        task = writers.submit(_finish, job, before, after, seconds, options)
                        writing.append((job, task))
                settle(_IN_FLIGHT)
                yield
        except BaseException:
            # What is restored is still written; what is not even read can wait.
            readers.shutdown(wait=False, cancel_futures=True)
            raise
        for waiting in reversed(range(len(writing))):
            settle(waiting)
            yield


def _ahead(
    readers: ThreadPoolExecutor, jobs: Sequence[Job], options: _Options
) -> Iterator[tuple[Job, Future[Picture | None]]]:
    """Yield jobs in order, each with its picture or, for one that passes in bands, None."""

    def load(job: Job) -> Picture | None:
        return None if _passes_in_bands(job, options) else _read(job, options)

    loading: deque[tuple[Job, Future[Picture | None]]] = deque()
    for job in jobs:
        loading.append((job, readers.submit(load, job)))
        if len(loading) > _IN_FLIGHT:
            yield loading.popleft()
    yield from loading


@contextmanager
def _failures(job: Job, report: RunReport) -> Iterator[None]:
    """Put what one picture raises into the report, with the remedy."""
    try:
        yield
    except WhetError as error:
        report.failed.append((job, error))
    except MemoryError:
        sentence = f"{job.source} does not fit into memory; close other programs"
        report.failed.append((job, ImageError(sentence, Kind.TOO_LARGE)))
