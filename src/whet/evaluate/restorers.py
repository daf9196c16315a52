"""What is scored: models, baselines and teachers as functions of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.artifact import resolve
from whet.errors import InputError
from whet.evaluate.baselines import BASELINES, ORACLES, Restorer
from whet.runtime import open_session

__all__ = ["opened", "restorers", "taught"]


def restorers(
    models: Sequence[str],
    baselines: Sequence[str],
    teacher: str | None = None,
    weights: Path | None = None,
) -> dict[str, Restorer]:
    """Open models, baselines and a teacher, each under the name of its row.

    Raises:
        InputError: an unknown baseline or two of one name, said before a file is read.
        DataError, ModelError: a model is missing or broken.
    """
    if unknown := set(baselines) - set(BASELINES):
        raise InputError(f"no baseline {min(unknown)!r}; choose from: {', '.join(BASELINES)}")
    labels = [Path(model).stem for model in models]
    for label in labels:
        if labels.count(label) > 1 or label in (*BASELINES, *ORACLES, teacher):
            raise InputError(f"another row is called {label!r} too; rename that model's file")
    opened_rows = {label: opened(model) for label, model in zip(labels, models, strict=True)}
    opened_rows |= {name: BASELINES[name] for name in baselines}
    if teacher:
        opened_rows[teacher] = taught(teacher, weights)
    return opened_rows


def opened(model: str) -> Restorer:
    """Return a model as a function of one uint8 HWC picture.

    A shipped name means that very file: ``nano`` is the float one even where int8 is faster.
    """
    session = open_session(resolve(model))

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
