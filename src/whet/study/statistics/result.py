"""What an analysis returns: numbers that always carry their interval and N."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from whet.study.statistics.inference import Contrast, Estimate

__all__ = ["ItemScore", "Preference", "Rater", "Result", "Score"]


@dataclass(frozen=True)
class Score:
    """One condition of a category study, as :mod:`whet.study.statistics.analysis` estimates it.

    Attributes:
        condition: "degraded", a method, or "sharp".
        ratings: how many ratings the estimates rest on.
        mos, unbiased, recovered: as described there.
        dmos: None for the reference itself.
    """

    condition: str
    ratings: int
    mos: Estimate
    unbiased: Estimate
    recovered: Estimate
    dmos: Estimate | None


@dataclass(frozen=True)
class ItemScore:
    """One picture: a scene in a condition, by those who rated it; estimates as in Score."""

    scene: str
    condition: str
    mos: Estimate
    recovered: Estimate


@dataclass(frozen=True)
class Preference:
    """One condition of a pair comparison.

    Attributes:
        condition: "degraded" or a method.
        strength: Bradley-Terry log-odds, mean 0 over the conditions.
        wins, choices: how often it was chosen, and could have been.
    """

    condition: str
    strength: Estimate
    wins: int
    choices: int


@dataclass(frozen=True)
class Rater:
    """What became of a participant.

    Attributes:
        participant: number.
        ratings: answers that count.
        rejected: the rule by which they are left out, "" if they are not.
        gold_wrong, gold: attention checks with a known answer.
        repeat_distance: mean distance of repeated answers; None without repeats.
        bias, inconsistency: of the fitted model; None where left out, and for pairs.
    """

    participant: int
    ratings: int
    rejected: str
    gold_wrong: int
    gold: int
    repeat_distance: float | None
    bias: float | None = None
    inconsistency: float | None = None


@dataclass(frozen=True)
class Result:
    """All that a study says.

    Attributes:
        study, title, protocol: of the plan.
        question: that stood above the pictures.
        scale: labels of the answers, the worst first; empty for pairs.
        scenes: how many scenes were rated.
        screened: whether participants were left out by rule.
        scores, items: of a category study.
        preferences: of a pair comparison.
        contrasts: every condition against every other, corrected by Holm.
        raters: everybody who took part.
    """

    study: str
    title: str
    protocol: str
    question: str
    scale: tuple[str, ...]
    scenes: int
    screened: bool
    scores: tuple[Score, ...]
    items: tuple[ItemScore, ...]
    preferences: tuple[Preference, ...]
    contrasts: tuple[Contrast, ...]
    raters: tuple[Rater, ...]

    @property
    def kept(self) -> int:
        """How many participants the result rests on."""
        return sum(not rater.rejected for rater in self.raters)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, dictionaries, numbers and text."""
        return asdict(self)
