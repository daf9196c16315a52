"""The command line: every command, no logic.

Errors that whet raises on purpose are printed on one line and end with exit
code 2; anything else is a bug and keeps its traceback. Nothing heavy is
imported before a command needs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from whet import __version__
from whet.cli import study, workshop
from whet.cli.bench import bench
from whet.cli.console import bar, note, out
from whet.cli.live import live
from whet.cli.serve import serve
from whet.errors import WhetError

__all__ = ["app", "main"]

app = typer.Typer(
    name="whet",
    help="Sharpen images and video with small networks; distil your own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Model = Annotated[
    str, typer.Option("--model", "-m", help="nano, small, ..., or the path of an .onnx file")
]
Strength = Annotated[float, typer.Option(help="0 leaves the picture alone, 1 is full, up to 2")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace outputs that exist")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Runtime = Annotated[str, typer.Option(help="auto, openvino or onnxruntime")]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    del version


@app.command()
def image(
    inputs: Annotated[list[str], typer.Argument(help="pictures, folders, globs, or - for a pipe")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="file or folder, or - for a pipe")
    ] = None,
    model: Model = "small",
    strength: Strength = 1.0,
    compare: Annotated[bool, typer.Option("--compare", help="write a side-by-side too")] = False,
    quality: Annotated[int | None, typer.Option(help="JPEG, WebP and AVIF quality, 1-100")] = None,
    suffix: Annotated[str | None, typer.Option("--format", help="such as .png")] = None,
    runtime: Runtime = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="refuse larger pictures; default: 2^28")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sharpen pictures: files, folders and globs, with everything they carry kept."""
    from whet.image import MAX_PIXELS
    from whet.runtime import open_session
    from whet.stills.files import restore_files

    target = "-" if output is None and inputs == ["-"] else output
    session = open_session(model, runtime=runtime, threads=threads)
    with bar("sharpening", quiet=quiet or target == "-") as advance:
        report = restore_files(
            session,
            inputs,
            target,
            strength=strength,
            compare=compare,
            overwrite=overwrite,
            quality=quality,
            suffix=suffix,
            max_pixels=max_pixels or MAX_PIXELS,
            progress=lambda r, total: advance(len(r.done) + len(r.skipped) + len(r.failed), total),
        )
    for restored in report.done:
        for sentence in restored.notes:
            note(f"{restored.job.source}: {sentence}")
    for job in report.skipped:
        note(f"{job.target} exists and was left alone; --overwrite replaces it")
    for job, sentence in report.failed:
        note(f"{job.source}: {sentence}" if str(job.source) not in sentence else sentence)
    if as_json:
        # A pipe carries the picture alone.
        (note if target == "-" else out)(
            json.dumps(
                {
                    "done": [
                        {"source": str(r.job.source), "target": str(r.job.target)}
                        for r in report.done
                    ],
                    "skipped": [str(job.target) for job in report.skipped],
                    "failed": [{"source": str(j.source), "error": s} for j, s in report.failed],
                }
            )
        )
    elif target != "-" and not quiet:
        for restored in report.done:
            out(str(restored.job.target))
            if restored.compared:
                out(str(restored.compared))
    raise typer.Exit(report.exit_code)


@app.command()
def video(
    source: Annotated[Path, typer.Argument(help="a video file")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="file to write")] = None,
    model: Model = "nano",
    strength: Strength = 1.0,
    codec: Annotated[str | None, typer.Option(help="h264, hevc, av1, ...")] = None,
    crf: Annotated[int | None, typer.Option(help="lower is better and larger")] = None,
    preset: Annotated[str | None, typer.Option(help="the encoder's speed")] = None,
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
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sharpen a video; sound, subtitles, chapters and frame times are kept."""
    from whet.runtime import open_session
    from whet.video.run import restore_video

    session = open_session(model, runtime=runtime, threads=threads)
    with bar("sharpening", quiet=quiet) as advance:
        restored = restore_video(
            session,
            source,
            output,
            strength=strength,
            codec=codec,
            crf=crf,
            preset=preset,
            gate=gate,
            steady=steady,
            resume=resume,
            overwrite=overwrite,
            progress=lambda done, total: advance(done, total),
        )
    for sentence in restored.notes:
        note(sentence)
    if restored.interrupted:
        note(restored.how_it_ended)
    if as_json:
        out(json.dumps({**vars(restored), "target": str(restored.target)}))
    elif not quiet:
        note(restored.summary)
        out(str(restored.target))
    raise typer.Exit(130 if restored.interrupted else 0)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="a model: print its card")] = None,
    runtimes: Annotated[
        bool, typer.Option("--runtimes", help="what can compute here, and what auto takes")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that come with whet, or print the card of one."""
    from whet.artifact import read_card, resolve, shipped
    from whet.cli.models import card_text, list_text, runtimes_text

    if runtimes:
        from whet.runtime.installed import survey

        standings = survey()
        out(json.dumps([vars(s) for s in standings]) if as_json else runtimes_text(standings))
        return
    if name is not None:
        path = resolve(name)
        card = read_card(path)
        out(card.to_json() if as_json else card_text(card, path))
        return
    files = shipped()
    if as_json:
        out(json.dumps({n: json.loads(read_card(p).to_json()) for n, p in files.items()}))
        return
    out(list_text(files))


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for the results")] = Path(
        "whet-demo"
    ),
    steps: Annotated[int | None, typer.Option(min=10, help="training steps")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="show the report")] = True,
    quiet: Quiet = False,
) -> None:
    """Distil a student in two minutes, prove that it helps, and sharpen pictures with it."""
    from whet.cli.demo import run

    page = run(output, steps=steps, quiet=quiet)
    out(f"report: {page}")
    if open_page and sys.stdout.isatty():
        typer.launch(str(page))


app.command(name="bench")(bench)
app.command(name="live")(live)
app.command(name="serve")(serve)
app.command(name="distill")(workshop.distill)
app.command(name="export")(workshop.export)
app.command(name="evaluate")(workshop.evaluate)
app.add_typer(workshop.data, name="data")
app.add_typer(study.study, name="study")


def main() -> None:
    """Entry point of the ``whet`` command."""
    try:
        app(prog_name="whet")
    except WhetError as error:
        note(f"whet: {error}")
        sys.exit(2)
    except OSError as error:
        # A full disk or a folder without rights is no bug; an error about no file may be.
        if error.filename is None:
            raise
        from whet.image import reason

        note(f"whet: {error.filename}: {reason(error)}")
        sys.exit(2)
