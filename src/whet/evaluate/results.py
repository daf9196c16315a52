"""What was scored: estimates, rows, suites, and the JSON that holds them.

The row "identity", the degraded picture itself, is always there: a restorer is as good as
its gain over doing nothing, picture by picture. A picture that is identical to its sharp
version has an infinite PSNR; it counts as :data:`PSNR_CEILING_DB`, and pictures whose input
is identical already are left out of gains, which they cannot have.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.evaluate.baselines import BASELINES
from whet.evaluate.metrics import MEASURES
from whet.evaluate.triplets import Triplet
from whet.files import replacing
from whet.intervals import FEW_SCENES, interval
from whet.version import __version__

__all__ = [
    "IDENTITY",
    "PSNR_CEILING_DB",
    "Estimate",
    "Evaluation",
    "Origin",
    "PictureInfo",
    "Row",
    "SuiteResult",
    "merged",
    "summarise",
]

SCHEMA = "whet-evaluation/1"
IDENTITY = "identity"
PSNR_CEILING_DB = 100.0
"""What identical pictures count as in means; half a level everywhere is 54 dB."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval over scenes; nan where there is one scene."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Origin:
    """What computed a row, so that anyone can tell whether theirs is the same.

    Attributes:
        file: name of the weights' file, or of what was built.
        sha256: of that file, "" where there is none.
        precision: "float32" or "int8".
        runtime: what ran it.
    """

    file: str
    sha256: str
    precision: str
    runtime: str


@dataclass(frozen=True)
class PictureInfo:
    """Where one picture comes from; see :class:`whet.evaluate.suites.opening.Item`."""

    name: str
    scene: str
    group: str
    note: str
    width: int
    height: int


@dataclass(frozen=True)
class Row:
    """One restorer on one suite.

    Attributes:
        restorer: its name.
        scores: metric -> mean over all pictures.
        gains: metric -> mean of the paired difference to identity, over the
            pictures whose input is not identical to the sharp one; empty when
            there is none.
        made_worse: share of those pictures whose PSNR is below that of the input, or None.
        worst_db: smallest PSNR gain of them all, or None.
        values: metric -> one value per picture, in the order of the pictures.
    """

    restorer: str
    scores: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]
    made_worse: float | None
    worst_db: float | None
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class SuiteResult:
    """Every restorer on one suite.

    Attributes:
        name: of the suite; says so when pictures were resized.
        resized_to: (width, height) or None.
        pictures: what was scored.
        rows: identity first, then the restorers as given.
        triplets: pictures to look at; never in the JSON.
        family: suites that are summarised together, "" for none.
        settings: restorer -> with what it was used here, where that differs between suites.
    """

    name: str
    description: str
    resized_to: tuple[int, int] | None
    pictures: Sequence[PictureInfo]
    rows: Sequence[Row]
    triplets: Sequence[Triplet] = field(default=(), repr=False)
    family: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def groups(self) -> dict[str, SuiteResult]:
        """Return the same scores for each group of at least two pictures, if there are several."""
        counts = Counter(picture.group for picture in self.pictures)
        names = sorted(name for name, count in counts.items() if count > 1)
        return {name: self._only(name) for name in names} if len(names) > 1 else {}

    def beyond(self, restorer: str) -> tuple[str, Estimate] | None:
        """Return the baseline with the best mean PSNR, and by how much ``restorer`` beats it.

        The difference is paired, picture by picture. None for baselines, without any but
        identity, and where the input is sharp already.
        """
        values = {row.restorer: np.array(row.values["psnr"]) for row in self.rows}
        rivals = [name for name in values if name in BASELINES and name != IDENTITY]
        if restorer in BASELINES or not rivals or not any(row.gains for row in self.rows):
            return None
        best = max(rivals, key=lambda name: float(values[name].mean()))
        scenes = np.array([picture.scene for picture in self.pictures])
        return best, _estimate(values[restorer] - values[best], scenes)

    def _only(self, group: str) -> SuiteResult:
        chosen = [i for i, picture in enumerate(self.pictures) if picture.group == group]
        values = {
            row.restorer: {name: [v[i] for i in chosen] for name, v in row.values.items()}
            for row in self.rows
        }
        pictures = [self.pictures[i] for i in chosen]
        rows = summarise(values, [picture.scene for picture in pictures])
        return replace(self, name=group, pictures=pictures, rows=rows, triplets=())


@dataclass(frozen=True)
class Evaluation:
    """Several suites; what the JSON file holds.

    Attributes:
        suites: in the order they were scored.
        whet_version: of the code that scored.
        origins: restorer -> its weights; none for what has no weights.
        command: that was given, "" where it was no command.
        categories: whether the groups of the pictures are to head the report.
    """

    suites: Sequence[SuiteResult]
    whet_version: str = __version__
    origins: Mapping[str, Origin] = field(default_factory=dict)
    command: str = ""
    categories: bool = False

    def together(self) -> SuiteResult | None:
        """Return all suites with something to gain as one; None where there is one at most.

        A photograph that several suites spoil counts in each of them; resized ones are left out.
        """
        suites = [
            suite
            for suite in self.suites
            if not suite.resized_to and any(row.gains for row in suite.rows)
        ]
        if len(suites) < 2:
            return None
        return merged(suites, "together", ", ".join(suite.name for suite in suites))

    def by_category(self) -> dict[str, SuiteResult]:
        """Return every suite of photographs as one, by category, where the report wants it."""
        suites = [
            s for s in self.suites if s.family and not s.resized_to and any(r.gains for r in s.rows)
        ]
        return merged(suites, "", "").groups() if self.categories and suites else {}

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; an interval that does not exist is null."""
        return {
            "schema": SCHEMA,
            "whet_version": self.whet_version,
            "command": self.command,
            "categories": self.categories,
            "origins": {name: vars(origin) for name, origin in self.origins.items()},
            "psnr_ceiling_db": PSNR_CEILING_DB,
            "interval": (
                f"95%, over scenes: Student's t below {FEW_SCENES} scenes, else bootstrap, "
                "expanded percentiles, 10000 resamples, seed 0"
            ),
            "metrics": {
                name: {"label": m.label, "unit": m.unit, "higher_is_better": m.higher_is_better}
                for name, m in MEASURES.items()
            },
            "suites": [_suite_to_json(suite) for suite in self.suites],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read what :meth:`to_json` wrote; means and intervals are computed anew.

        Raises:
            InputError: the data is of another schema or incomplete.
        """
        if data.get("schema") != SCHEMA:
            raise InputError(
                f"this is no evaluation that whet {__version__} can read (schema "
                f"{data.get('schema')!r}, expected {SCHEMA!r}); score again"
            )
        try:
            suites = tuple(_suite_from_json(suite) for suite in data["suites"])
            origins = {name: Origin(**o) for name, o in data.get("origins", {}).items()}
            version, command = str(data["whet_version"]), str(data.get("command", ""))
            return cls(suites, version, origins, command, bool(data.get("categories", False)))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"the evaluation is incomplete ({error}); score again") from error

    def write(self, target: Path, *, overwrite: bool = False) -> None:
        """Write the JSON file, completely or not at all.

        Raises:
            InputError: ``target`` exists or cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, allow_nan=False)
        with replacing(target, overwrite=overwrite) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def summarise(
    values: Mapping[str, Mapping[str, list[float]]], scenes: Sequence[str] | None = None
) -> list[Row]:
    """Summarise restorer -> metric -> values; identity must be among the restorers.

    Args:
        scenes: which scene each picture belongs to; None takes every picture for a scene.
    """
    reference = {name: np.array(v) for name, v in values[IDENTITY].items()}
    can_gain = reference["psnr"] < PSNR_CEILING_DB
    places = np.array(range(len(can_gain)) if scenes is None else scenes)
    rows = []
    for restorer, metrics in values.items():
        scores = {name: _estimate(np.array(v), places) for name, v in metrics.items()}
        gains: dict[str, Estimate] = {}
        made_worse = worst_db = None
        if can_gain.any():
            paired = {
                name: (np.array(v) - reference[name])[can_gain] for name, v in metrics.items()
            }
            gains = {name: _estimate(change, places[can_gain]) for name, change in paired.items()}
            made_worse = float(np.mean(paired["psnr"] < 0))
            worst_db = float(paired["psnr"].min())
        rows.append(Row(restorer, scores, gains, made_worse, worst_db, metrics))
    return rows


def merged(suites: Sequence[SuiteResult], name: str, description: str) -> SuiteResult:
    """Return several suites as one, with the restorers that all of them have.

    A photograph that several suites spoil counts in each of them, and as one scene.
    """
    restorers = [row.restorer for row in suites[0].rows]
    for suite in suites[1:]:
        restorers = [r for r in restorers if r in {row.restorer for row in suite.rows}]
    values: dict[str, dict[str, list[float]]] = {restorer: {} for restorer in restorers}
    for suite in suites:
        for row in suite.rows:
            for metric, scores in row.values.items() if row.restorer in values else ():
                values[row.restorer].setdefault(metric, []).extend(scores)
    pictures = [picture for suite in suites for picture in suite.pictures]
    scenes = [picture.scene for picture in pictures]
    return SuiteResult(name, description, None, pictures, summarise(values, scenes))


def _estimate(values: NDArray[np.float64], scenes: NDArray[Any]) -> Estimate:
    return Estimate(float(values.mean()), *interval(values, scenes.tolist()))


def _suite_to_json(suite: SuiteResult) -> dict[str, Any]:
    return {
        "name": suite.name,
        "family": suite.family,
        "settings": dict(suite.settings),
        "description": suite.description,
        "resized_to": suite.resized_to,
        "pictures": [vars(picture) for picture in suite.pictures],
        "rows": [
            {
                "restorer": row.restorer,
                "scores": {name: _estimate_to_json(e) for name, e in row.scores.items()},
                "gains": {name: _estimate_to_json(e) for name, e in row.gains.items()},
                "made_worse": row.made_worse,
                "worst_db": row.worst_db,
                "values": {name: list(values) for name, values in row.values.items()},
            }
            for row in suite.rows
        ],
    }


def _estimate_to_json(estimate: Estimate) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in vars(estimate).items()}


def _suite_from_json(data: Mapping[str, Any]) -> SuiteResult:
    values = {row["restorer"]: row["values"] for row in data["rows"]}
    pictures = [PictureInfo(**picture) for picture in data["pictures"]]
    if any(len(v) != len(pictures) for row in values.values() for v in row.values()):
        raise ValueError("not every picture has a value")
    size = data["resized_to"]
    resized_to = None if size is None else (int(size[0]), int(size[1]))
    return SuiteResult(
        data["name"],
        data["description"],
        resized_to,
        pictures,
        summarise(values, [picture.scene for picture in pictures]),
        family=data.get("family", ""),
        settings=data.get("settings", {}),
    )
