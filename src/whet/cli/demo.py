"""``whet demo``: the whole path of whet in about two minutes, from what comes with it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from whet.cli.console import bar, note, out
from whet.cli.options import Quiet
from whet.cli.workshop import need_torch, training_text
from whet.errors import InputError

__all__ = ["demo", "run"]

_PICTURES = 6
_SUITES = ("bicubic-x2", "bicubic-x3")


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for the results")] = Path(
        "whet-demo"
    ),
    steps: Annotated[int | None, typer.Option(min=10, help="training steps")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="show the report")] = True,
    quiet: Quiet = False,
) -> None:
    """Distil a student in two minutes, prove that it helps, and sharpen pictures with it."""
    page = run(output, steps=steps, quiet=quiet)
    out(f"report: {page}")
    if open_page and sys.stdout.isatty():
        typer.launch(str(page))


def run(output: Path, *, steps: int | None = None, quiet: bool = False) -> Path:
    """Distil a student, score it on held-out photographs, export it, and sharpen pictures.

    Args:
        output: new or empty folder for everything that is made.
        steps: training steps; None takes the recipe's.

    Returns:
        The path of the report.

    Raises:
        InputError: ``output`` is a file, or not empty.
        MissingExtraError: the workshop's libraries are not installed.
    """
    need_torch()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is not an empty folder; name another one with -o")
    output.mkdir(parents=True, exist_ok=True)
    trained, untrained, log = _distil(output, steps, quiet)
    page = _score(output, trained, untrained, log, quiet)
    _sharpen(output, quiet)
    return page


def _distil(
    output: Path, steps: int | None, quiet: bool
) -> tuple[Path, Path, list[dict[str, float]]]:
    """Return the model files of the trained and the untrained student, and the training log."""
    import torch

    from whet.data.demo import demo_bank, held_out_photos
    from whet.degrade.pictures import degraded_picture
    from whet.distill.recipes import RECIPES
    from whet.distill.training.loop import Progress, fit
    from whet.export.run import export_checkpoint

    recipe = RECIPES["quick"]
    if steps is not None:
        recipe = replace(recipe, steps=steps, validate_every=max(1, steps // 4))
    bank = demo_bank()
    pictures = [degraded_picture(path, _SUITES[0]) for path in held_out_photos()[:2]]
    note(
        f"distilling {recipe.student} from {len(bank)} crops of real photographs, each with "
        "the output of a MAXIM teacher"
    )
    with bar("distilling", quiet=quiet) as advance:

        def show(progress: Progress) -> None:
            text = training_text(progress.terms, progress.images_per_s)
            advance(progress.step, progress.steps, text)

        result = fit(recipe, bank, pictures, output / "run", on_step=show)
    trained = output / "student.onnx"
    export_checkpoint(output / "run" / "student.safetensors", trained)
    untrained = output / "untrained.onnx"
    torch.manual_seed(recipe.seed)
    _export_untrained(recipe.student, untrained)
    log = [
        {k: v for k, v in entry.items() if isinstance(v, (int, float)) and k != "learning_rate"}
        for entry in result.history
        if "total" in entry
    ]
    return trained, untrained, log


def _export_untrained(name: str, target: Path) -> None:
    from whet.artifact import Card
    from whet.export.onnx import export
    from whet.models import MODELS, build

    spec = MODELS[name]
    card = Card(
        name="untrained",
        architecture=name,
        multiple=spec.multiple,
        halo=spec.halo,
        kmac_per_px=spec.kmac_per_px,
        parameters=0,
    )
    export(build(name), spec, target, card)


def _score(
    output: Path, trained: Path, untrained: Path, log: list[dict[str, float]], quiet: bool
) -> Path:
    from whet.artifact import shipped
    from whet.evaluate.baselines import BASELINES, Restorer
    from whet.evaluate.report.html import write_report
    from whet.evaluate.restorers import opened
    from whet.evaluate.results import IDENTITY
    from whet.evaluate.score import evaluate
    from whet.evaluate.suites.opening import open_suite

    restorers: dict[str, Restorer] = {
        "distilled now": opened(str(trained)),
        "untrained": opened(str(untrained)),
        "unsharp": BASELINES["unsharp"],
    }
    for name in ("nano", "small"):
        if name in shipped():
            restorers[f"{name} (shipped)"] = opened(name)
    with bar("scoring held-out photographs", quiet=quiet) as advance:
        evaluation = evaluate(
            [open_suite(name, limit=_PICTURES) for name in _SUITES],
            restorers,
            lead="distilled now",
            progress=lambda name, done, total: advance(done, total, name),
        )
    page = output / "report.html"
    write_report(
        evaluation,
        page,
        log=log,
        title="What two minutes of distillation bring",
        intro="A nano student was distilled on this machine from a few dozen crops of real "
        "photographs and the outputs of a MAXIM teacher, exported, and scored with the exported "
        "file on photographs of other scenes. An untrained student returns its input. The "
        "shipped models were trained longer, on more pictures.",
    )
    for suite in evaluation.suites:
        rows = {row.restorer: row for row in suite.rows}
        now, before = rows["distilled now"], rows[IDENTITY]
        gain = now.gains["psnr"]
        note(
            f"{suite.name}: {before.scores['psnr'].mean:.2f} dB degraded, "
            f"{now.scores['psnr'].mean:.2f} dB distilled now "
            f"({gain.mean:+.2f} dB, 95% interval {gain.low:+.2f} to {gain.high:+.2f})"
        )
    return page


def _sharpen(output: Path, quiet: bool) -> None:
    """Sharpen degraded held-out pictures with the shipped weights, as ``whet image`` does."""
    from PIL import Image

    from whet.artifact import shipped
    from whet.data.demo import held_out_photos
    from whet.degrade.pictures import degraded_picture
    from whet.runtime import open_session
    from whet.stills.files import restore_files

    folder = output / "pictures"
    folder.mkdir()
    for path, kind in zip(
        held_out_photos()[:3], ("shake-srgb", "bicubic-x2", "call-400k"), strict=True
    ):
        Image.fromarray(degraded_picture(path, kind).degraded).save(
            folder / f"{path.stem}-{kind}.png"
        )
    model = "small" if "small" in shipped() else str(output / "student.onnx")
    with bar("sharpening pictures", quiet=quiet) as advance:
        restore_files(
            open_session(model),
            [folder],
            output / "sharpened",
            compare=True,
            progress=lambda report, total: advance(len(report.done), total),
        )
