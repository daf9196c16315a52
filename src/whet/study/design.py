"""Who sees what, when: blind, randomised and balanced orders.

The order is a function of the plan and the participant's number alone, made from
SHA-256, so that it is the same with every version of every library: a study may
be resumed on another machine.

One participant rates ``scenes_each`` of the scenes in all their conditions. The
trials come in rounds; a round holds every condition once (for pairs: every pair
of conditions), in the order of a row of a Williams square, each on another scene.

* After as many participants as the square has rows (conditions, twice that where
  they are odd in number), every condition stood equally often at every place of
  a round, and followed every other one equally often (Williams 1949). Start and
  end of a session, and strong neighbours, thus favour nobody.
* After as many participants as there are scenes, every scene in every condition was
  rated ``scenes_each`` times: a cyclic balanced incomplete block design, complete
  where ``scenes_each`` is all of them.
* Pairs: after twice as many, every pair of pictures stood both ways round equally
  often.
* A scene never follows itself within a round if there are at least as many scenes
  as conditions, nor between rounds if there are more than twice as many.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import gcd
from pathlib import Path
from typing import Literal

from whet.errors import InputError
from whet.study.plan import DEGRADED, PICTURES, PROTOCOLS, RUINED, SHARP, Plan

__all__ = [
    "Kind",
    "Rating",
    "Trial",
    "View",
    "completion",
    "picture_name",
    "picture_path",
    "session",
    "williams",
]

Kind = Literal["practice", "test", "repeat", "gold"]
"""Only "test" enters the scores; "repeat" and "gold" are attention checks."""


@dataclass(frozen=True)
class View:
    """All that a participant's browser may learn about a trial.

    Attributes:
        id: to be sent back with the answer.
        index, total: place of the trial, from 1, and how many there are.
        practice: whether this is a training item.
        break_before: whether to offer a break first.
        question: what to ask.
        slots: names of the pictures, from left to right.
        answers: number and label of each button.
    """

    id: str
    index: int
    total: int
    practice: bool
    break_before: bool
    question: str
    slots: tuple[str, ...]
    answers: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Trial:
    """One page of a session.

    Attributes:
        position: from 0, without gaps.
        total: trials of the session.
        id: opaque, unlike for every participant.
        kind: what the answer is for.
        scene: name of the scene.
        candidate: the condition to judge; for pairs the one on the left.
        versus: for pairs the condition on the right, else "".
        break_before: whether a break is offered first.
        pictures: slot -> file name in the folder of pictures.
    """

    position: int
    total: int
    id: str
    kind: Kind
    scene: str
    candidate: str
    versus: str
    break_before: bool
    pictures: Mapping[str, str]

    def view(self, plan: Plan) -> View:
        """Return what may be shown; nothing in it tells the scene, the method or the kind."""
        labels = ("left", "right") if plan.paired else plan.scale
        return View(
            self.id,
            self.position + 1,
            self.total,
            self.kind == "practice",
            self.break_before,
            plan.asks,
            PROTOCOLS[plan.protocol].slots,
            tuple(enumerate(labels, start=1)),
        )


@dataclass(frozen=True)
class Rating:
    """One answer, with all that the analysis needs to know about its trial.

    Attributes:
        participant: number within the study, from 0.
        position, kind, scene, candidate, versus: of the :class:`Trial`.
        answer: 1 to 5; for pairs 1 (left) or 2 (right).
        elapsed_ms: from showing to answering, as the browser measured it; 0 if nobody did.
    """

    participant: int
    position: int
    kind: str
    scene: str
    candidate: str
    versus: str
    answer: int
    elapsed_ms: int = 0


def picture_name(secret: str, scene: str, condition: str) -> str:
    """Return the file name of a picture, which tells nothing to those without the secret."""
    return f"{_digest(secret, f'picture/{scene}/{condition}')}.png"


def completion(plan: Plan, number: int) -> str:
    """Return the code, or the address, that a participant is shown at the end.

    A code of their own has 12 hexadecimal digits; ``whet study status`` lists it beside the
    number, so that whoever pays can look it up.
    """
    return plan.completion or _digest(plan.secret, f"completion/{number}")[:12].upper()


def picture_path(folder: Path, trial: Trial, slot: str) -> Path:
    """Return the file behind one slot of a trial; InputError for a slot it does not have."""
    if slot not in trial.pictures:
        raise InputError(f"a trial has no picture {slot!r}; ask for one of its slots")
    return folder / PICTURES / trial.pictures[slot]


def williams(size: int) -> list[list[int]]:
    """Return the rows of a Williams square: balanced for place and for predecessor.

    Williams 1949, "Experimental designs balanced for the estimation of residual
    effects of treatments". The first row zigzags 0, 1, n-1, 2, n-2, ...; the
    others add 1, 2, ... to it. For odd ``size`` the mirrored rows are added.
    """
    zigzag = [0 if i == 0 else (i + 1) // 2 if i % 2 else size - i // 2 for i in range(size)]
    rows = [[(place + shift) % size for place in zigzag] for shift in range(size)]
    return rows if size % 2 == 0 else rows + [row[::-1] for row in rows]


@lru_cache(maxsize=512)
def session(plan: Plan, number: int) -> tuple[Trial, ...]:
    """Return the trials of one participant in order: practice, then tests with their checks.

    Args:
        plan: the study.
        number: the participant's, from 0 in the order of joining.
    """
    tests = list(_tests(plan, number))
    steps = [*_practice(plan), *_with_checks(plan, number, tests)]
    warm_up = len(steps) - len(tests) - plan.repeats - plan.gold
    return tuple(
        replace(
            trial,
            position=position,
            total=len(steps),
            id=_digest(plan.secret, f"trial/{number}/{position}"),
            break_before=bool(plan.break_every)
            and position > warm_up
            and (position - warm_up) % plan.break_every == 0,
        )
        for position, trial in enumerate(steps)
    )


def _cells(plan: Plan) -> list[tuple[str, str]]:
    """Return what a round holds: conditions, or pairs of them."""
    if plan.paired:
        return list(combinations(plan.conditions, 2))
    return [(condition, "") for condition in plan.conditions]


def _tests(plan: Plan, number: int) -> Iterator[Trial]:
    cells, scenes, rounds = _cells(plan), plan.scenes, plan.scenes_each
    cycle, shift = divmod(number, len(scenes))
    # Cycles of pairs are twins: the same order of scenes, every pair the other way round.
    lot = cycle // 2 if plan.paired else cycle
    order = _shuffled(plan, f"scenes/{lot}", range(len(scenes)))
    offsets = _shuffled(plan, f"offsets/{lot}", range(len(cells)))
    window = [scenes[order[(shift + i) % len(scenes)]] for i in range(rounds)]
    rows, step = williams(len(cells)), _step(rounds, len(cells))
    for turn in range(rounds):
        for cell in rows[(number + turn) % len(rows)]:
            scene = window[(step * turn + offsets[cell]) % rounds]
            candidate, versus = cells[cell]
            if plan.paired and (cell + turn + cycle) % 2:
                candidate, versus = versus, candidate
            yield _trial(plan, "test", scene, candidate, versus)


def _step(scenes: int, conditions: int) -> int:
    """Return by how many scenes a round advances: coprime, and far from every neighbour."""
    coprime = [s for s in range(1, scenes) if gcd(s, scenes) == 1] or [1]
    return max(coprime, key=lambda s: min(s, scenes - s, conditions))


def _practice(plan: Plan) -> Iterator[Trial]:
    """Yield the same training items for everybody, the worst and the best first."""
    cells = _cells(plan)
    if not plan.paired:
        cells = [cells[0], cells[-1], *cells[1:-1]]
    for i in range(plan.practice):
        scene = plan.practice_scenes[i % len(plan.practice_scenes)]
        yield _trial(plan, "practice", scene, *cells[i % len(cells)])


def _with_checks(plan: Plan, number: int, tests: Sequence[Trial]) -> list[Trial]:
    """Spread gold items over the session, and show trials of its first half again later on."""
    count = len(tests)
    inserted: list[tuple[int, Trial]] = []
    for i in range(plan.gold):
        slot = (i + 0.2 + 0.6 * _fraction(plan, f"gold/{number}/{i}")) / plan.gold
        inserted.append((int(slot * count), _gold(plan, number, i)))
    early = _shuffled(plan, f"repeats/{number}", range(max(1, count // 2)))
    for i in range(plan.repeats):
        source = early[i % len(early)]
        inserted.append((source + max(1, count // 2), replace(tests[source], kind="repeat")))
    mixed = list(tests)
    for place, trial in sorted(inserted, key=lambda entry: -entry[0]):
        mixed.insert(place, trial)
    return mixed


def _gold(plan: Plan, number: int, i: int) -> Trial:
    scenes = plan.practice_scenes or plan.scenes
    scene = scenes[(number + i) % len(scenes)]
    bad_first = (number + i) % 2 == 0
    if plan.paired:
        left, right = (RUINED, SHARP) if bad_first else (SHARP, RUINED)
        return _trial(plan, "gold", scene, left, right)
    return _trial(plan, "gold", scene, RUINED if bad_first else SHARP)


def _trial(plan: Plan, kind: Kind, scene: str, candidate: str, versus: str = "") -> Trial:
    conditions = {"candidate": candidate, "left": candidate, "right": versus}
    conditions |= {"degraded": DEGRADED, "sharp": SHARP}
    slots = PROTOCOLS[plan.protocol].slots
    pictures = {slot: picture_name(plan.secret, scene, conditions[slot]) for slot in slots}
    return Trial(0, 0, "", kind, scene, candidate, versus, False, pictures)


def _digest(secret: str, text: str) -> str:
    """Return 24 hexadecimal digits (96 bits) that nobody can link without the secret."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:24]


def _fraction(plan: Plan, text: str) -> float:
    """Return a number in [0, 1) by seed."""
    digest = hashlib.sha256(f"{plan.seed}/{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _shuffled(plan: Plan, text: str, items: Sequence[int]) -> list[int]:
    return sorted(items, key=lambda item: (_fraction(plan, f"{text}/{item}"), item))
