"""``whet bench``: how fast every model is in every runtime, beside what it stands against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from whet.cli.console import bar, note, out

__all__ = ["bench"]


def bench(
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="repeatable")] = None,
    runtime: Annotated[
        list[str] | None, typer.Option(help="repeatable; default: all installed but torch")
    ] = None,
    sizes: Annotated[str, typer.Option(help="360p, 720p, 1080p, 4k or WIDTHxHEIGHT")] = (
        "360p,720p"
    ),
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="repeatable; default: as the runtime likes")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="turns of each, at most")] = 20,
    seconds: Annotated[float, typer.Option(min=0, help="after which one had enough turns")] = 10,
    frames: Annotated[int, typer.Option(min=0, help="of the clip for file to file; 0: none")] = 48,
    rivals: Annotated[
        bool, typer.Option("--rivals/--no-rivals", help="founding student and filters too")
    ] = True,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="first picture and peak memory too")
    ] = True,
    peak: Annotated[
        bool, typer.Option("--peak/--no-peak", help="plain matrix products too, as the limit")
    ] = True,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the results")] = Path(
        "whet-bench"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace outputs that exist")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for machines")] = False,
) -> None:
    """Measure models beside their rivals, taking turns in one run."""
    from whet.bench.report import check_folder, markdown, write_files
    from whet.bench.run import BenchOptions, check
    from whet.bench.run import bench as measure

    options = BenchOptions(
        models=tuple(model or ("nano", "small")),
        runtimes=tuple(runtime or ()),
        sizes=tuple(sizes.split(",")),
        threads=tuple(threads or (None,)),
        rounds=rounds,
        seconds=seconds,
        rivals=rivals,
        probes=memory,
        peaks=peak,
        clip_frames=frames,
    )
    check(options)
    check_folder(output, overwrite)
    with bar("measuring", quiet=quiet) as advance:
        report = measure(options, lambda what, done, total: advance(done, total, what))
    write_files(report, output, overwrite=overwrite)
    out(json.dumps(report.to_json()) if as_json else markdown(report))
    note(f"results: {output / 'bench.md'}")
