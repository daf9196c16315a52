"""Where the participants of a study stand, while it runs: for whoever invites and pays them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whet.study.design import Rating, completion
from whet.study.participant import Participant
from whet.study.plan import Plan
from whet.study.statistics.analysis import by_participant, left_out

__all__ = ["Standing", "standings", "to_text"]


@dataclass(frozen=True)
class Standing:
    """One participant.

    Attributes:
        participant: number, from 0 in the order of joining.
        external: the number under which a panel knows them; "" if none is kept.
        rated, total: trials answered, and trials in all.
        state: "finished", "under way", or "withdrawn", whose answers are gone.
        left_out: the rule by which they would be left out of an analysis today, or "".
        completion: what they are shown at the end; "" until they are there.
    """

    participant: int
    external: str
    rated: int
    total: int
    state: str
    left_out: str
    completion: str


def standings(
    plan: Plan, ratings: Iterable[Rating], people: Iterable[Participant]
) -> list[Standing]:
    """Return where everybody stands, by number.

    Whoever is under way is not left out yet, unless they fail a rule on what they did.
    """
    people = list(people)
    reasons = left_out(plan, by_participant(ratings, (who.number for who in people)))
    found = []
    for who in people:
        done = who.rated == who.total
        state = "finished" if done else "under way" if who.begun else "withdrawn"
        reason = reasons.get(who.number, "")
        if state == "withdrawn":
            reason = "withdrawn"
        elif not done and reason.startswith("unfinished"):
            reason = ""
        code = completion(plan, who.number) if done else ""
        found.append(Standing(who.number, who.external, who.rated, who.total, state, reason, code))
    return found


def to_text(people: Sequence[Standing]) -> str:
    """Return a table, and what it adds up to."""
    head = ("participant", "panel's number", "answers", "state", "completion code", "left out")
    rows = [
        (
            str(one.participant),
            one.external or "-",
            f"{one.rated} of {one.total}",
            one.state,
            one.completion or "-",
            one.left_out or "-",
        )
        for one in people
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    states = [one.state for one in people]
    counted = ", ".join(f"{states.count(s)} {s}" for s in ("finished", "under way", "withdrawn"))
    kept = sum(one.state == "finished" and not one.left_out for one in people)
    return "\n".join([*lines, "", f"{len(people)} joined: {counted}; {kept} count so far"])
