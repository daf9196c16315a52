"""Commands of opinion studies: build one, and say what it found. Taking part is on the web."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli.console import Advance, bar, note, out
from whet.cli.workshop import sides
from whet.errors import InputError

if TYPE_CHECKING:
    from whet.study.build import Stimulus
    from whet.study.plan import Plan
    from whet.study.store import Store

__all__ = ["study"]

study = typer.Typer(help="Opinion studies: whose pictures do people prefer?", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]


@study.command()
def new(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the study, new")],
    triplets: Annotated[
        Path | None, typer.Option(help="folder of degraded/, restored/METHOD/ and sharp/")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="restore a suite by it; repeatable")
    ] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="unsharp, cas; repeatable")] = None,
    suite: Annotated[str, typer.Option(help="which pictures to restore")] = "shake-srgb",
    photos: Annotated[Path | None, typer.Option(help="folder of sharp photographs")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="pictures of the suite")] = None,
    crop: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT of the most degraded part to show, or none")
    ] = "480x360",
    protocol: Annotated[
        str, typer.Option(help="acr (one picture), dcr (triplets) or pairs")
    ] = "acr",
    scale: Annotated[
        str, typer.Option(help="acr: quality or impairment; dcr: founding, impairment or quality")
    ] = "",
    title: Annotated[str, typer.Option(help="what participants read first; name no method")] = "",
    question: Annotated[
        str, typer.Option(help="what stands above the pictures, in your own words")
    ] = "",
    scenes_each: Annotated[
        int | None, typer.Option(min=1, help="scenes per participant; default: all")
    ] = None,
    practice: Annotated[int, typer.Option(min=0, help="training items")] = 3,
    repeats: Annotated[int, typer.Option(min=0, help="trials shown twice, as a check")] = 4,
    gold: Annotated[int, typer.Option(min=0, help="checks whose answer is known")] = 4,
    break_every: Annotated[int, typer.Option(min=0, help="trials between breaks; 0: none")] = 40,
    consent: Annotated[Path | None, typer.Option(help="file with your consent text")] = None,
    instructions: Annotated[
        Path | None, typer.Option(help="file with what participants read before they start")
    ] = None,
    completion: Annotated[
        str,
        typer.Option(
            help="code or https:// address shown at the end; default: a code for each participant"
        ),
    ] = "",
    external: Annotated[
        str,
        typer.Option(help="parameter of the link with a panel's own number, as PROLIFIC_PID"),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="another seed, other orders")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Build a study from triplets that you have, or from models and a suite."""
    from whet.study.build import Settings, build

    if (triplets is None) == (model is None and baseline is None):
        raise InputError("name the pictures: either --triplets DIR, or --model with --suite")
    settings = Settings(
        title=title,
        protocol=protocol,
        scale=scale,
        question=question,
        completion=completion,
        external=external,
        scenes_each=scenes_each,
        practice=practice,
        repeats=repeats,
        gold=gold,
        break_every=break_every,
        seed=seed,
    )
    if consent is not None:
        settings = replace(settings, consent=_text(consent))
    if instructions is not None:
        settings = replace(settings, instructions=_text(instructions))
    stimuli = (
        _given(triplets) if triplets else _made(model or [], baseline or [], suite, photos, limit)
    )
    with bar("writing pictures", quiet=quiet) as advance:
        plan = build(_counted(_cropped(stimuli, crop), advance), output, settings)
    if as_json:
        facts = {
            "study": plan.id,
            "folder": str(output),
            "protocol": plan.protocol,
            "scenes": list(plan.scenes),
            "practice_scenes": list(plan.practice_scenes),
            "conditions": list(plan.conditions),
            "trials": _trials(plan),
        }
        out(json.dumps(facts))
        return
    out(str(output))
    note(
        f"{len(plan.scenes)} scenes in {len(plan.conditions)} conditions, "
        f"{_trials(plan)} trials for each participant"
    )


@study.command()
def analyse(
    folder: Annotated[Path, typer.Argument(help="folder of the study")],
    database: Annotated[
        str | None, typer.Option(help="URL of its database, if it is not in the folder")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="default: results in the folder")
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="leave nobody out but the unfinished")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace outputs that exist")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Screen the participants and score the methods; write tables, a plot and the ratings."""
    from whet.study.plan import read_plan
    from whet.study.report import to_markdown, write_result
    from whet.study.statistics.analysis import analyse as analyse_ratings

    plan = read_plan(folder)
    store = _opened(folder, database)
    try:
        ratings, absent = store.ratings(plan.id), store.absent(plan.id)
    finally:
        store.close()
    result = analyse_ratings(plan, ratings, screen=not keep_all, absent=absent)
    target = output or folder / "results"
    write_result(result, ratings, target, overwrite=overwrite)
    if as_json:
        out(json.dumps(result.to_json()))
    else:
        out(to_markdown(result))
        note(f"results: {target}")


@study.command()
def status(
    folder: Annotated[Path, typer.Argument(help="folder of the study")],
    database: Annotated[
        str | None, typer.Option(help="URL of its database, if it is not in the folder")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how far everybody is, who would be left out and why, and who may be paid."""
    from whet.study.plan import read_plan
    from whet.study.standing import standings, to_text

    plan = read_plan(folder)
    store = _opened(folder, database)
    try:
        people = standings(plan, store.ratings(plan.id), store.progress(plan.id))
    finally:
        store.close()
    out(json.dumps([vars(person) for person in people]) if as_json else to_text(people))


@study.command()
def rehearse(
    folder: Annotated[
        Path | None, typer.Argument(help="folder of a study; without it, one is made up")
    ] = None,
    methods: Annotated[int, typer.Option(min=1, help="made up: methods")] = 4,
    scenes: Annotated[int, typer.Option(min=2, help="made up: scenes, all rated by all")] = 12,
    raters: Annotated[int, typer.Option(min=2, help="people who are invited")] = 24,
    careless: Annotated[float, typer.Option(min=0, max=1, help="share who do not look")] = 0.2,
    studies: Annotated[int, typer.Option(min=1, help="simulated studies")] = 20,
) -> None:
    """Say how sure a study will be, by simulated raters, before people are invited."""
    from whet.study.plan import SCALES, Display, Plan, read_plan
    from whet.study.statistics.rehearsal import rehearse as try_out
    from whet.study.statistics.simulate import Panel

    if folder is not None:
        plan = read_plan(folder)
    else:
        names = tuple(f"scene{i}" for i in range(scenes))
        kinds = tuple(f"method{i}" for i in range(methods))
        plan = Plan(
            "rehearsal",
            "",
            "acr",
            SCALES["quality"],
            names,
            ("practice",),
            kinds,
            Display(640, 480),
            scenes,
            secret="rehearsal",
        )
    out(try_out(plan, Panel(raters, careless), studies).to_markdown())


def _opened(folder: Path, database: str | None) -> Store:
    from whet.study.store import DATABASE_FILE, Store

    if database is None and not (folder / DATABASE_FILE).is_file():
        raise InputError(
            f"{folder}: nobody has taken part yet; start `whet serve`, or name the --database"
        )
    return Store.open(database or folder)


def _trials(plan: Plan) -> int:
    from whet.study.design import session

    return len(session(plan, 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} is no readable text; give a file in UTF-8") from None


def _given(folder: Path) -> Iterator[Stimulus]:
    from whet.study.build import triplets

    return triplets(folder)


def _made(
    models: list[str], baselines: list[str], suite: str, photos: Path | None, limit: int | None
) -> Iterator[Stimulus]:
    from whet.evaluate.restorers import restorers
    from whet.evaluate.suites.opening import open_suite
    from whet.study.build import Stimulus

    methods = restorers(models, baselines)
    for item in open_suite(suite, photos, limit):
        restored = {name: restore(item.degraded) for name, restore in methods.items()}
        yield Stimulus(item.name, item.degraded, item.sharp, restored)


def _cropped(stimuli: Iterable[Stimulus], crop: str) -> Iterator[Stimulus]:
    from whet.evaluate.triplets import most_degraded

    if crop == "none":
        yield from stimuli
        return
    columns, rows = sides("--crop", crop, "480x360, or none")
    for whole in stimuli:
        left, top = 0, 0
        if whole.degraded.shape == whole.sharp.shape:  # else it is refused, with a sentence
            left, top = most_degraded(whole.degraded, whole.sharp, columns, rows)
        box = (slice(top, top + rows), slice(left, left + columns))
        yield replace(
            whole,
            degraded=whole.degraded[box],
            sharp=whole.sharp[box],
            restored={name: pixels[box] for name, pixels in whole.restored.items()},
        )


def _counted(stimuli: Iterable[Stimulus], advance: Advance) -> Iterator[Stimulus]:
    for done, stimulus in enumerate(stimuli, start=1):
        yield stimulus
        advance(done, None, stimulus.scene)
