"""Run restorers over suites and say how good they are, with intervals.

Every suite is scored at full resolution, on uint8 RGB, beside the degraded picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.evaluate.baselines import BASELINES, Oracle, Restorer, identity
from whet.evaluate.results import (
    IDENTITY,
    PSNR_CEILING_DB,
    Evaluation,
    PictureInfo,
    SuiteResult,
    summarise,
)
from whet.evaluate.suites.opening import Item, Suite
from whet.evaluate.triplets import Gallery
from whet.metrics import METRICS, Accumulator, Metric

__all__ = ["Progress", "evaluate", "scale_of", "score"]

Pixels = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
NO_ORACLES: Mapping[str, Oracle] = {}


def evaluate(
    suites: Iterable[Suite],
    restorers: Mapping[str, Restorer],
    *,
    oracles: Mapping[str, Oracle] = NO_ORACLES,
    lead: str | None = None,
    triplets: int = 3,
    metrics: Mapping[str, Metric] = METRICS,
    progress: Progress | None = None,
) -> Evaluation:
    """Score ``restorers`` on each of ``suites``; arguments and errors as :func:`score`."""
    results = [
        score(
            suite,
            restorers,
            oracles=oracles,
            lead=lead,
            triplets=triplets,
            metrics=metrics,
            progress=progress,
        )
        for suite in suites
    ]
    origins = {name: r.origin for name, r in restorers.items() if hasattr(r, "origin")}
    return Evaluation(tuple(results), origins=origins)


def score(
    suite: Suite,
    restorers: Mapping[str, Restorer],
    *,
    oracles: Mapping[str, Oracle] = NO_ORACLES,
    lead: str | None = None,
    triplets: int = 3,
    metrics: Mapping[str, Metric] = METRICS,
    progress: Progress | None = None,
) -> SuiteResult:
    """Run every restorer over every picture of a suite.

    Args:
        suite: what to restore.
        restorers: name -> ``uint8 HWC -> uint8 HWC`` of the same shape; identity
            is added where it is missing.
        oracles: name -> what chooses one more restorer with an eye on this suite's sharp pictures.
        lead: whose gains choose the pictures to show; None takes the first
            restorer that is no baseline.
        triplets: how many pictures to keep for showing.
        metrics: what to compute; PSNR must be among them.
        progress: called with (suite name, pictures done, pictures in all).

    Raises:
        InputError: the suite is empty, or a restorer returns another shape or type.
    """
    chosen = {name: oracle(_compared(suite)) for name, oracle in oracles.items()}
    able = {name: r for name, r in restorers.items() if scale_of(r) in (1, suite.scale)}
    everyone = {IDENTITY: identity, **able, **chosen}
    shown = {*BASELINES, *chosen}
    lead = lead or next((name for name in everyone if name not in shown), list(everyone)[-1])
    if lead in restorers and lead not in everyone:
        lead = next((name for name in everyone if name not in shown), IDENTITY)
    if lead not in everyone:
        raise InputError(f"no restorer is called {lead!r}; there are {', '.join(everyone)}")
    totals = {name: Accumulator(metrics) for name in everyone}
    gallery = Gallery(triplets, lead)
    pictures = []
    for done, item in enumerate(suite, 1):
        restored = {name: _restore(name, restorer, item) for name, restorer in everyone.items()}
        sharp = item.compared(item.sharp)
        psnr_db = {
            name: totals[name].add(item.compared(restored[name]), sharp)["psnr"]
            for name in everyone
        }
        pictures.append(_info(item))
        before, after = min(psnr_db[IDENTITY], PSNR_CEILING_DB), min(psnr_db[lead], PSNR_CEILING_DB)
        gallery.offer(item, restored, gain_db=after - before)
        if progress:
            progress(suite.name, done, len(suite))
    if not pictures:
        raise InputError(f"the suite {suite.name} has no pictures; name another folder")
    values = {name: _capped(total.values) for name, total in totals.items()}
    rows = summarise(values, [picture.scene for picture in pictures])
    return SuiteResult(
        suite.name,
        suite.description,
        suite.resized_to,
        pictures,
        rows,
        gallery.triplets(),
        family=suite.family,
        settings={name: str(restorer) for name, restorer in chosen.items()},
    )


def scale_of(restorer: Restorer) -> int:
    """Return by how much a restorer enlarges; above 1 it is given the small picture."""
    return int(getattr(restorer, "scale", 1))


def _compared(suite: Suite) -> Iterator[tuple[Pixels, Pixels]]:
    for item in suite:
        yield item.compared(item.degraded), item.compared(item.sharp)


def _restore(name: str, restorer: Restorer, item: Item) -> Pixels:
    if scale_of(restorer) > 1 and item.small is not None:
        height, width = item.degraded.shape[:2]
        restored = restorer(item.small)[:height, :width]
    else:
        restored = restorer(item.degraded)
    if restored.shape != item.degraded.shape or restored.dtype != np.uint8:
        raise InputError(
            f"{name} returned {restored.dtype} {restored.shape} for {item.name}, "
            f"expected uint8 {item.degraded.shape}"
        )
    return restored


def _info(item: Item) -> PictureInfo:
    height, width = item.compared(item.sharp).shape[:2]
    return PictureInfo(item.name, item.scene, item.group, item.note, width, height)


def _capped(values: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {**values, "psnr": [min(value, PSNR_CEILING_DB) for value in values["psnr"]]}
