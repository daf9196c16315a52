"""What a database says of a participant and of an answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Participant", "Receipt"]


@dataclass(frozen=True)
class Participant:
    """Whom a link belongs to.

    Attributes:
        study: id of the study.
        number: from 0 in the order of joining; it decides the order of trials.
        begun: whether consent was given on a display that is large enough.
        rated, total: trials answered, and trials in all.
        external: the number under which a panel knows them; "" if none is kept.
    """

    study: str
    number: int
    begun: bool
    rated: int
    total: int
    external: str = ""


@dataclass(frozen=True)
class Receipt:
    """What the database holds after a rating.

    Attributes:
        position: of the trial.
        answer: the answer that counts.
        fresh: False if the trial had been answered before, with ``answer``.
    """

    position: int
    answer: int
    fresh: bool
