"""What a table of many suites comes down to: a line per family and restorer.

A *point* is one suite of a family: one strength of softness, one quality of JPEG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whet.evaluate.baselines import BEST_MASK
from whet.evaluate.results import IDENTITY, Row, SuiteResult, merged

__all__ = ["FamilyRow", "HalfRow", "by_family", "halves"]

_SOFT, _ALONE, _SHARP = "-soft", "-alone", "-sharp"


@dataclass(frozen=True)
class FamilyRow:
    """One restorer on one family.

    Attributes:
        family: its name.
        row: over the pictures of all points together; has gains.
        points: how many suites of the family have something to gain.
        lost: how many of them the best mask wins by mean PSNR; None where it was not scored,
            and for that mask itself.
    """

    family: str
    row: Row
    points: int
    lost: int | None


def by_family(suites: Sequence[SuiteResult]) -> list[FamilyRow]:
    """Return a row per family and restorer, identity left out, in the order of the suites.

    Suites without a family, resized ones and those whose input is sharp already are left out.
    """
    found = []
    for family in dict.fromkeys(suite.family for suite in suites if suite.family):
        points = [
            suite
            for suite in suites
            if suite.family == family and not suite.resized_to and _gainful(suite)
        ]
        if not points:
            continue
        for row in merged(points, family, "").rows:
            if row.restorer != IDENTITY:
                found.append(FamilyRow(family, row, len(points), _lost(points, row.restorer)))
    return found


def _gainful(suite: SuiteResult) -> bool:
    return any(row.gains for row in suite.rows)


def _lost(points: Sequence[SuiteResult], restorer: str) -> int | None:
    means = [{row.restorer: row.scores["psnr"].mean for row in point.rows} for point in points]
    if restorer == BEST_MASK or any(BEST_MASK not in mean for mean in means):
        return None
    return sum(mean[restorer] < mean[BEST_MASK] for mean in means)


@dataclass(frozen=True)
class HalfRow:
    """One restorer on pictures that are sharp on one side and soft on the other.

    Attributes:
        point: what the soft half suffers from, as its suites are called.
        gain_db, alone_db: PSNR gain of the soft half beside the sharp one, and where all is soft.
        sharp_db: PSNR of the sharp half, 100 where it comes back untouched.
    """

    point: str
    restorer: str
    gain_db: float
    alone_db: float
    sharp_db: float

    @property
    def kept(self) -> float | None:
        """Share of the gain that the sharp half leaves; None where there is none alone."""
        return self.gain_db / self.alone_db if self.alone_db > 0 else None


def halves(suites: Sequence[SuiteResult]) -> list[HalfRow]:
    """Return a row per kind of softness and restorer where all three suites of it were scored."""
    rows = {suite.name: {row.restorer: row for row in suite.rows} for suite in suites}
    found = []
    for name in rows:
        point = name.replace(_SOFT, "", 1)
        alone, sharp = (rows.get(name.replace(_SOFT, s, 1)) for s in (_ALONE, _SHARP))
        if not (name.startswith("half-") and _SOFT in name and alone and sharp):
            continue
        for restorer, row in rows[name].items():
            if restorer != IDENTITY and "psnr" in row.gains and restorer in alone:
                gains = row.gains["psnr"].mean, alone[restorer].gains["psnr"].mean
                db = sharp[restorer].scores["psnr"].mean
                found.append(HalfRow(point, restorer, *gains, db))
    return found
