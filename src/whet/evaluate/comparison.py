"""Models against baselines over many suites: what ``whet evaluate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.evaluate.baselines import BASELINES, Restorer
from whet.evaluate.report import write_report
from whet.evaluate.score import Evaluation, Progress
from whet.evaluate.score import evaluate as evaluate_suites
from whet.evaluate.suites import SUITES, Suite, centred, open_pairs, open_suite
from whet.runtime import open_session

__all__ = ["compare", "opened", "taught"]

REPORT_FILES = ("report.json", "report.md", "report.html")


def compare(
    models: Sequence[str],
    out: Path,
    *,
    suites: Sequence[str] = (),
    photos: Path | None = None,
    pairs: tuple[str, Path] | None = None,
    limit: int | None = None,
    baselines: Sequence[str] = ("unsharp", "cas"),
    teacher: str | None = None,
    teacher_weights: Path | None = None,
    window: tuple[int, int] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score models and baselines; leave report.json, report.md and report.html in ``out``.

    Args:
        models: names of shipped models or paths of model files; the first leads.
        suites: keys of :data:`~whet.evaluate.suites.SUITES`; none means all of them,
            or none at all when ``pairs`` are given.
        photos: photographs for these suites; None takes those that come with whet.
        pairs: (kind, folder) of real pairs to score as well.
        limit: pictures per suite.
        teacher: key of ``whet.models.TEACHERS`` to score too.
        window: (width, height) of the middle part to score, None for whole pictures.
        overwrite: replace reports that exist.

    Raises:
        InputError: an unknown baseline, or a report exists.
    """
    for name in REPORT_FILES:
        if (out / name).exists() and not overwrite:
            raise InputError(f"{out / name} exists; add --overwrite, or name another folder")
    restorers: dict[str, Restorer] = {Path(m).stem: opened(m) for m in models}
    for name in baselines:
        if name not in BASELINES:
            raise InputError(f"no baseline {name!r}; choose from: {', '.join(BASELINES)}")
        restorers[name] = BASELINES[name]
    if teacher:
        restorers[teacher] = taught(teacher, teacher_weights)
    chosen: list[Suite] = [open_pairs(pairs[1], pairs[0], limit=limit)] if pairs else []
    names = suites or (() if pairs else tuple(SUITES))
    chosen += [open_suite(name, photos, limit) for name in names]
    if window:
        chosen = [centred(suite, *window) for suite in chosen]
    lead = Path(models[0]).stem if models else None
    evaluation = evaluate_suites(chosen, restorers, lead=lead, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    for name in REPORT_FILES:
        write_report(evaluation, out / name, overwrite=overwrite)
    return evaluation


def opened(model: str) -> Restorer:
    """Return a model file as a function of one uint8 HWC picture."""
    session = open_session(model)

    def restore(degraded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return session.restore(degraded)

    return restore


def taught(name: str, weights: Path | None) -> Restorer:
    """Return a teacher as a function of one uint8 HWC picture; large ones go in tiles."""
    import torch

    from whet.models import build_teacher

    teacher = build_teacher(name, weights)
    run = getattr(teacher, "restore_tiled", teacher)

    def restore(degraded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x = torch.from_numpy(degraded.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            y = run(x)[0].clamp(0, 1)
        restored: NDArray[np.uint8] = (
            (y * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        )
        return restored

    return restore
