"""Models against baselines over many suites: what ``whet evaluate`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from whet.data.sources import split_to_score
from whet.errors import InputError, Kind
from whet.evaluate.baselines import BASELINES, BEST_MASK, ORACLES, Restorer
from whet.evaluate.metrics import chosen as metrics_chosen
from whet.evaluate.report.html import write_report
from whet.evaluate.report.sheets import FOLDER
from whet.evaluate.restorers import restorers
from whet.evaluate.results import Evaluation
from whet.evaluate.score import Progress, scale_of
from whet.evaluate.score import evaluate as evaluate_suites
from whet.evaluate.suites.catalogue import STANDARD, named
from whet.evaluate.suites.opening import Suite, open_pairs, open_suite
from whet.evaluate.windows import centred, resized
from whet.files import reason

__all__ = ["compare"]

REPORT_FILES = ("report.json", "report.md", "report.html")


def compare(
    models: Sequence[str],
    out: Path,
    *,
    suites: Sequence[str] = (),
    photos: Path | None = None,
    clips: Path | None = None,
    categories: Path | None = None,
    pairs: Sequence[tuple[str, Path]] = (),
    split: str = "",
    limit: int | None = None,
    baselines: Sequence[str] = ("unsharp", "cas", BEST_MASK),
    teacher: str | None = None,
    teacher_weights: Path | None = None,
    rivals: Sequence[str] = (),
    window: tuple[int, int] | None = None,
    resize: tuple[int, int] | None = None,
    metrics: Sequence[str] = (),
    command: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score models and baselines; leave report.json, report.md and report.html in ``out``.

    The folder ``pictures`` beside them holds what report.md shows.

    Args:
        models: names of shipped models or paths of model files; the first leads.
        suites: keys of :data:`~whet.evaluate.suites.catalogue.SUITES` or of ``FAMILIES``, or "all";
            none means the family "standard", or no suite when ``pairs`` are given without
            ``photos``.
        photos: photographs for these suites; None takes those that come with whet.
        clips: videos for suites of clips; None moves photographs.
        categories: photographs in place of ``photos``, filed in folders or with names that begin
            with a word; the report is headed by a table of these categories.
        pairs: (kind, folder) of each set of real pairs to score as well.
        split: of the pairs, see :func:`whet.data.sources.split_to_score`.
        limit: pictures per suite.
        baselines: keys of :data:`~whet.evaluate.baselines.BASELINES` and ``ORACLES``.
        teacher: key of ``whet.models.TEACHERS`` to score too.
        window: (width, height) of the middle part to score, None for whole pictures.
        resize: (width, height) to which to squash pictures as the founding run did; such scores
            compare with no other, and every table says so.
        metrics: keys of :data:`~whet.evaluate.metrics.MEASURES` beside those always computed.
        rivals: ONNX files of other networks, see :func:`whet.evaluate.rivals.open_rival`; one
            that enlarges is scored on suites that were shrunk by as much.
        command: what to print in the report as the way to repeat it.
        overwrite: replace reports that exist.

    Raises:
        InputError: an unknown baseline, two restorers of one name, a window and a size at once,
            or a report that exists or cannot be written.
        DataError, ModelError: pictures or models are missing or broken.
    """
    for name in (*REPORT_FILES, FOLDER):
        if (out / name).exists() and not overwrite:
            raise InputError(f"{out / name} exists already", Kind.EXISTS)
    if window and resize:
        raise InputError("--window and --resize exclude each other; leave one out")
    if photos and categories:
        raise InputError("--categories are photographs too; leave --photos out")
    photos = photos or categories
    chosen: list[Suite] = [
        open_pairs(root, kind, split_to_score(kind, root, split), limit=limit)
        for kind, root in pairs
    ]
    names = named(suites or (() if pairs and photos is None else (STANDARD,)))
    chosen += [open_suite(name, photos, limit, clips) for name in names]
    if window:
        chosen = [centred(suite, *window) for suite in chosen]
    if resize:
        chosen = [resized(suite, *resize) for suite in chosen]
    if unknown := set(baselines) - {*BASELINES, *ORACLES}:
        known = ", ".join((*BASELINES, *ORACLES))
        raise InputError(f"no baseline {min(unknown)!r}; choose from: {known}")
    plain = [name for name in baselines if name in BASELINES]
    rows = restorers(models, plain, teacher, teacher_weights, rivals)
    _check_scored(rows, chosen)
    oracles = {name: ORACLES[name] for name in baselines if name in ORACLES}
    measures = metrics_chosen(metrics)
    # Before the scoring, which may take hours.
    _make_folder(out)
    lead = Path(models[0]).stem if models else None
    evaluation = evaluate_suites(
        chosen, rows, oracles=oracles, lead=lead, metrics=measures, progress=progress
    )
    evaluation = replace(evaluation, command=command, categories=categories is not None)
    for name in REPORT_FILES:
        write_report(evaluation, out / name, overwrite=overwrite)
    return evaluation


def _check_scored(rows: Mapping[str, Restorer], suites: Sequence[Suite]) -> None:
    """Refuse a rival that no suite has small pictures for."""
    scales = {1, *(suite.scale for suite in suites)}
    for name, restorer in rows.items():
        if (scale := scale_of(restorer)) not in scales:
            raise InputError(
                f"{name} enlarges by {scale}, and no suite was shrunk by as much; add one such as "
                f"--suite bicubic-x{scale}, whole pictures"
            )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder of reports: {reason(error)}") from error
