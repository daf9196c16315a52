"""``whet image``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli.console import bar, note, out, with_remedy
from whet.cli.options import AsJson, Model, Overwrite, Quiet, Runtime, Strength, Threads

if TYPE_CHECKING:
    from whet.stills.jobs import Job

__all__ = ["image"]


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
    name: Annotated[
        str | None,
        typer.Option(help="of results, such as {stem}-{model}-{strength}; or {folder}"),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive/--no-recursive", help="search folders with all below them"),
    ] = True,
    strip: Annotated[
        bool,
        typer.Option("--strip-metadata", help="keep colour and resolution, drop EXIF, GPS, text"),
    ] = False,
    mark: Annotated[
        bool, typer.Option("--mark/--no-mark", help="name whet and the model in the XMP history")
    ] = True,
    accept_damaged: Annotated[
        bool, typer.Option("--accept-damaged", help="restore what is left of a damaged JPEG")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be written, and write nothing")
    ] = False,
    runtime: Runtime = "auto",
    threads: Threads = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="refuse larger pictures; default: 2^28")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sharpen pictures: files, folders and globs, with everything they carry kept."""
    from whet.cli.studio import motion_advice, opened
    from whet.image import MAX_PIXELS
    from whet.stills.files import restore_files
    from whet.stills.jobs import plan
    from whet.studio import forget_kept, is_heavy

    target = "-" if output is None and inputs == ["-"] else output
    if dry_run:
        fields = {"model": Path(model).stem, "strength": f"{strength:g}"}
        _show_plan(
            plan(
                inputs,
                target,
                suffix=suffix,
                name=name,
                fields=fields,
                compare=compare,
                recursive=recursive,
            ),
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    unseen = quiet or target == "-"
    with (
        opened(model, runtime, threads, quiet=unseen) as session,
        bar("sharpening", quiet=unseen or is_heavy(model)) as advance,
    ):
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
            name=name,
            recursive=recursive,
            mark=mark,
            strip=strip,
            allow_damage=accept_damaged,
            progress=lambda r, total: advance(len(r.done) + len(r.skipped) + len(r.failed), total),
        )
    forget_kept(session, safe=not report.failed)
    for restored in report.done:
        for sentence in restored.notes:
            note(f"{restored.job.source}: {sentence}")
        if restored.still_blurred and not is_heavy(model) and not quiet:
            note(f"{restored.job.source}: {motion_advice(*restored.still_blurred)}")
    for job in report.skipped:
        note(f"{job.target} exists and was left alone; --overwrite replaces it")
    for job, error in report.failed:
        sentence = with_remedy(error, "image")
        note(f"{job.source}: {sentence}" if str(job.source) not in sentence else sentence)
    if as_json:
        # A pipe carries the picture alone.
        (note if target == "-" else out)(
            json.dumps(
                {
                    "done": [
                        {
                            "source": str(r.job.source),
                            "target": str(r.job.target),
                            "notes": list(r.notes),
                        }
                        for r in report.done
                    ],
                    "skipped": [str(job.target) for job in report.skipped],
                    "failed": [
                        {"source": str(j.source), "error": str(e)} for j, e in report.failed
                    ],
                }
            )
        )
    elif target != "-" and not quiet:
        for restored in report.done:
            out(str(restored.job.target))
            if restored.compared:
                out(str(restored.compared))
    raise typer.Exit(report.exit_code)


def _show_plan(jobs: list[Job], *, overwrite: bool, as_json: bool) -> None:
    """Print what a run would read and write."""
    entries = []
    for job in jobs:
        stands = job.target.is_file()
        entries.append(
            {
                "source": str(job.source),
                "target": str(job.target),
                "compared": str(job.compared) if job.compared else None,
                "exists": stands,
                "notes": list(job.notes),
            }
        )
        if as_json:
            continue
        fate = " (exists: " + ("replaced)" if overwrite else "left alone)") if stands else ""
        out(f"{job.source} -> {job.target}{fate}")
        if job.compared:
            out(f"{job.source} -> {job.compared}")
        for sentence in job.notes:
            note(f"{job.source}: {sentence}")
    if as_json:
        out(json.dumps({"planned": entries}))
