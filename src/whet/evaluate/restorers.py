"""What is scored: models, baselines and teachers as functions of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.artifact import resolve
from whet.errors import InputError
from whet.evaluate.baselines import BASELINES, ORACLES, Restorer
from whet.evaluate.results import Origin
from whet.evaluate.rivals import open_rival
from whet.files import file_sha256
from whet.runtime import Session, open_session

__all__ = ["Opened", "opened", "restorers", "taught"]


def restorers(
    models: Sequence[str],
    baselines: Sequence[str],
    teacher: str | None = None,
    weights: Path | None = None,
    rivals: Sequence[str] = (),
) -> dict[str, Restorer]:
    """Open models, baselines, a teacher and rivals, each under the name of its row.

    Raises:
        InputError: an unknown baseline or two of one name, said before a file is read.
        DataError, ModelError: a model is missing or broken.
    """
    if unknown := set(baselines) - set(BASELINES):
        raise InputError(f"no baseline {min(unknown)!r}; choose from: {', '.join(BASELINES)}")
    labels = [Path(model).stem for model in models]
    for label in labels:
        _check_free(label, [*BASELINES, *ORACLES, teacher, *labels], 1)
    opened_rows: dict[str, Restorer] = {
        label: opened(model) for label, model in zip(labels, models, strict=True)
    }
    opened_rows |= {name: BASELINES[name] for name in baselines}
    if teacher:
        opened_rows[teacher] = taught(teacher, weights)
    for given in rivals:
        label, rival = open_rival(given)
        _check_free(label, [*BASELINES, *ORACLES, *opened_rows], 0)
        opened_rows[label] = rival
    return opened_rows


def _check_free(label: str, names: Sequence[str | None], most: int) -> None:
    if names.count(label) > most:
        raise InputError(f"another row is called {label!r} too; rename that model's file")


@dataclass(frozen=True)
class Opened:
    """A model as a function of one uint8 HWC picture."""

    session: Session
    origin: Origin

    def __call__(self, degraded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self.session.restore(degraded)


def opened(model: str) -> Opened:
    """Return a model as a function of one uint8 HWC picture.

    A shipped name means that very file: ``nano`` is the float one even where int8 is faster.
    """
    path = resolve(model)
    session = open_session(path)
    digest = file_sha256(path)
    return Opened(session, Origin(path.name, digest, session.card.precision, session.runtime))


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
