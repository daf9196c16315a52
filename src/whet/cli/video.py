"""``whet video``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from whet.cli.console import bar, note, out
from whet.cli.options import AsJson, Model, Overwrite, Quiet, Runtime, Strength, Threads

__all__ = ["video"]


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
        bool, typer.Option("--resume", help="keep finished segments, and go on behind them")
    ] = False,
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="a picture for each field, at twice the rate")
    ] = False,
    runtime: Runtime = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sharpen a video; sound, subtitles, chapters and frame times are kept."""
    from whet.cli.studio import opened, say_how_long
    from whet.stills.picture import said_by
    from whet.studio import forget_kept
    from whet.video.run import restore_video

    with (
        opened(model, runtime, threads, quiet=quiet, tiles=False) as session,
        bar("sharpening", quiet=quiet) as advance,
    ):
        say_how_long(session, source, resume=resume, quiet=quiet)
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
            deinterlace=deinterlace,
            overwrite=overwrite,
            progress=lambda done, total: advance(done, total),
        )
    for sentence in (*restored.notes, *said_by(session)):
        note(sentence)
    if not restored.interrupted:
        forget_kept(session)
    else:
        note(restored.how_it_ended + ("; --resume goes on" if restored.resumable else ""))
    if as_json:
        out(json.dumps({**vars(restored), "target": str(restored.target)}))
    elif not quiet:
        note(restored.summary)
        out(str(restored.target))
    raise typer.Exit(130 if restored.interrupted else 0)
