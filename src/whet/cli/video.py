"""``whet video``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli.console import bar, note, out
from whet.cli.options import AsJson, Model, Overwrite, Quiet, Runtime, Strength, Threads
from whet.errors import MediaError

if TYPE_CHECKING:
    from whet.runtime import Session
    from whet.video.jobs import Job
    from whet.video.run import RestoredVideo

__all__ = ["seconds_of", "video"]


def video(
    inputs: Annotated[list[str], typer.Argument(help="videos, folders or globs")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="file, or folder for several")
    ] = None,
    model: Model = "nano",
    strength: Strength = 1.0,
    codec: Annotated[
        str | None, typer.Option(help="h264, hevc, av1, vp9, ffv1 (for archives), same, ...")
    ] = None,
    crf: Annotated[int | None, typer.Option(help="lower is better and larger")] = None,
    preset: Annotated[str | None, typer.Option(help="the encoder's speed")] = None,
    start: Annotated[
        str | None, typer.Option(help="where to begin: seconds, or H:MM:SS from the beginning")
    ] = None,
    duration: Annotated[str | None, typer.Option(help="how much to restore, likewise")] = None,
    preview: Annotated[
        float | None,
        typer.Option(min=0.1, help="only show so many seconds, before and after side by side"),
    ] = None,
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="a picture for each field, at twice the rate")
    ] = False,
    audio: Annotated[
        str | None, typer.Option(help="convert sound: aac, opus, flac, ...; else it is copied")
    ] = None,
    drop_subtitles: Annotated[
        bool, typer.Option("--drop-subtitles", help="leave subtitles out")
    ] = False,
    framemd5: Annotated[
        bool, typer.Option("--framemd5", help="write checksums of the result's frames beside it")
    ] = False,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="let frames pass that are sharp already")
    ] = True,
    steady: Annotated[
        bool, typer.Option("--steady/--no-steady", help="keep still scenes from trembling")
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="keep finished parts, and go on behind them")
    ] = False,
    runtime: Runtime = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sharpen videos; sound, subtitles, chapters and frame times are kept."""
    from whet.cli.studio import opened
    from whet.video.jobs import plan

    jobs = plan(inputs, output, codec)
    treatment = {"strength": strength, "gate": gate, "steady": steady, "overwrite": overwrite}
    start_s = None if start is None else seconds_of(start)
    if preview is not None:
        with opened(model, runtime, threads, quiet=quiet, tiles=False) as session:
            shown = {**treatment, "seconds": preview, "start_s": start_s}
            _preview(session, inputs, output, shown)
        return
    options = {
        **treatment,
        "codec": codec,
        "crf": crf,
        "preset": preset,
        "start_s": start_s or 0.0,
        "duration_s": None if duration is None else seconds_of(duration),
        "deinterlace": deinterlace,
        "audio": audio,
        "subtitles": not drop_subtitles,
        "framemd5": framemd5,
        "resume": resume,
    }
    single = len(jobs) == 1 and not Path(inputs[0]).is_dir()
    with opened(model, runtime, threads, quiet=quiet, tiles=False) as session:
        done, failed = _restored(session, jobs, options, single=single, quiet=quiet)
    if as_json:
        made = [_in_data(job, restored) for job, restored in done]
        said = [{"source": str(job.source), "error": error} for job, error in failed]
        out(json.dumps(made[0] if single else {"done": made, "failed": said}))
    elif not quiet:
        for _, restored in done:
            if restored.same:
                note(restored.what_was_kept)
            note(restored.summary)
            out(str(restored.target))
    interrupted = any(restored.interrupted for _, restored in done)
    raise typer.Exit(130 if interrupted else 2 if failed else 0)


def seconds_of(text: str) -> float:
    """Read a time: ``90``, ``1:30``, ``0:01:30.5``.

    Raises:
        MediaError: it is none.
    """
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or min(numbers) < 0:
        raise MediaError(f"{text!r} is no time; give seconds, such as 90, or H:MM:SS")
    seconds = 0.0
    for number in numbers:
        seconds = 60 * seconds + number
    return seconds


def _restored(
    session: Session, jobs: list[Job], options: dict[str, Any], *, single: bool, quiet: bool
) -> tuple[list[tuple[Job, RestoredVideo]], list[tuple[Job, str]]]:
    """Restore one video after the other; one that fails does not stop the others."""
    from whet.cli.studio import say_how_long
    from whet.stills.picture import said_by
    from whet.studio import forget_kept
    from whet.video.run import restore_video

    done: list[tuple[Job, RestoredVideo]] = []
    failed: list[tuple[Job, str]] = []
    for job in jobs:
        title = "sharpening" if single else job.source.name
        try:
            if not single:
                job.target.parent.mkdir(parents=True, exist_ok=True)
            say_how_long(session, job.source, resume=options["resume"], quiet=quiet)
            with bar(title, quiet=quiet) as advance:
                restored = restore_video(
                    session, job.source, job.target, progress=advance, **options
                )
        except MediaError as error:
            if single:
                raise
            failed.append((job, str(error)))
            note(str(error) if str(job.source) in str(error) else f"{job.source}: {error}")
            continue
        done.append((job, restored))
        for sentence in (*restored.notes, *said_by(session)):
            note(sentence if single else f"{job.source}: {sentence}")
        forget_kept(session, safe=not restored.interrupted)
        if restored.interrupted:
            note(restored.how_it_ended + ("; --resume goes on" if restored.resumable else ""))
            break
    return done, failed


def _in_data(job: Job, restored: RestoredVideo) -> dict[str, Any]:
    beside = restored.framemd5
    return {
        "source": str(job.source),
        **vars(restored),
        "target": str(restored.target),
        "framemd5": None if beside is None else str(beside),
    }


def _preview(
    session: Session, inputs: list[str], output: str | None, options: dict[str, Any]
) -> None:
    from whet.video.preview import preview_video

    if len(inputs) != 1:
        raise MediaError("a preview is of one video; name one")
    target = None if output is None else Path(output)
    out(str(preview_video(session, inputs[0], target, **options)))
