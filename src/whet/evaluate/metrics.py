"""What an evaluation may measure: the metrics of :mod:`whet.metrics`, and those that need weights.

A new metric that needs a network is one line in :data:`MEASURES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError, MissingExtraError
from whet.metrics import METRICS, Metric

if TYPE_CHECKING:
    from torch.nn import Module

from whet.tables import Table

__all__ = ["MEASURES", "chosen"]

Pixels = NDArray[np.uint8]


def _distance(name: str, restored: Pixels, sharp: Pixels) -> float:
    """Return the distance of two uint8 HWC pictures by a network, 0 when they are identical."""
    network = _network(name)
    import torch

    first, second = (
        torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        for pixels in (restored, sharp)
    )
    with torch.inference_mode():
        return float(network(first, second))


@cache
def _network(name: str) -> Module:
    if find_spec("torch") is None:
        raise MissingExtraError("PyTorch", "train")
    if name == "lpips":
        from whet.models.features.lpips import load_lpips

        return load_lpips()
    from whet.models.features.dists import load_dists

    return load_dists()


MEASURES: Mapping[str, Metric] = Table(
    {
        **METRICS,
        "lpips": Metric(partial(_distance, "lpips"), "LPIPS (AlexNet)", "", False, 4),
        "dists": Metric(partial(_distance, "dists"), "DISTS", "", False, 4),
    },
    Metric,
)


def chosen(extra: Sequence[str] = ()) -> dict[str, Metric]:
    """Return the metrics that need no weights and those of ``extra``, each ready to compute.

    Raises:
        InputError: no metric of that name.
        MissingExtraError, ModelError: what it needs is not installed or not fetched.
    """
    if unknown := [name for name in extra if name not in MEASURES]:
        raise InputError(f"no metric is called {unknown[0]!r}; choose from: {', '.join(MEASURES)}")
    found = {name: MEASURES[name] for name in (*METRICS, *extra)}
    blank = np.zeros((64, 64, 3), np.uint8)
    for name in extra:
        # What it lacks is said now, and not after a picture has gone through every model.
        found[name].function(blank, blank)
    return found
