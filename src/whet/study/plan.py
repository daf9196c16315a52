"""What is fixed before the first participant: pictures, question, order, rules.

A plan never changes once ratings exist; the database refuses one that did. It is
one JSON file, complete: together with a participant's number it determines every
trial that this participant sees.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from whet.errors import InputError
from whet.files import replacing

__all__ = [
    "CONSENT",
    "CONSENT_EXTERNAL",
    "DEGRADED",
    "PLAN_FILE",
    "PROTOCOLS",
    "RUINED",
    "SCALES",
    "SHARP",
    "Display",
    "Plan",
    "Protocol",
    "read_plan",
    "write_plan",
]

PLAN_FILE = "study.json"
PICTURES = "pictures"
VERSION = 1

DEGRADED, SHARP, RUINED = "degraded", "sharp", "ruined"
"""Conditions beside the methods: the input, the hidden reference, and a picture so
spoiled that attention shows (see ``build.ruin``)."""

SCALES: Mapping[str, tuple[str, ...]] = {
    # The founding study named both ends; the words between are ours. They ask for a picture
    # before and an original, so they belong to triplets.
    "founding": (
        "barely improved",
        "slightly improved",
        "clearly improved",
        "much improved",
        "very close to the sharp image",
    ),
    # ITU-T P.910, absolute category rating.
    "quality": ("bad", "poor", "fair", "good", "excellent"),
    # ITU-T P.910, degradation category rating.
    "impairment": (
        "very annoying",
        "annoying",
        "slightly annoying",
        "perceptible but not annoying",
        "imperceptible",
    ),
}
"""Labels of the answers 1 to 5, the worst first."""

CONSENT = (
    "You will look at pictures and say how good they are. Taking part is voluntary: you can "
    "stop at any time by closing the page, and come back by the same link. We keep your answers "
    "and how long each took. We keep no name, no address, nothing about your device, and nothing "
    "that leads to you. The answers are used to compare methods of restoring pictures."
)
CONSENT_EXTERNAL = (
    "You will look at pictures and say how good they are. Taking part is voluntary: you can "
    "stop at any time by closing the page, and come back by the same link. We keep your answers, "
    "how long each took, and the number under which your panel sent you here, so that it can see "
    "that you took part. We keep no name, no address and nothing about your device. The answers "
    "are used to compare methods of restoring pictures."
)
"""The usual consent of a study whose links carry a panel's number."""


@dataclass(frozen=True)
class Protocol:
    """One row of :data:`PROTOCOLS`.

    Attributes:
        title: what reports call it.
        invitation: what participants read first, unless a study has a title of its own.
        slots: names of the pictures on one page, from left to right. The one to judge
            is ``candidate``, or both where participants choose.
        question: what stands above them, unless a study asks one of its own.
        scales: keys of :data:`SCALES` that make sense here, the usual one first; none for pairs.
        paired: whether the answer is a choice: 1 left, 2 right.
    """

    title: str
    invitation: str
    slots: tuple[str, ...]
    question: str
    scales: tuple[str, ...]
    paired: bool = False


PROTOCOLS: Mapping[str, Protocol] = {
    "acr": Protocol(
        "absolute category rating with hidden reference (ITU-T P.910, ACR-HR)",
        "How good are these pictures?",
        ("candidate",),
        "How good is this picture?",
        # Nobody who sees one picture can say how much it improved.
        ("quality", "impairment"),
    ),
    "dcr": Protocol(
        "degradation category rating with triplets (after ITU-T P.910, DCR)",
        "Before, after, and the original",
        ("degraded", "candidate", "sharp"),
        "How is the picture in the middle? Left: before. Right: the sharp original.",
        ("founding", "impairment", "quality"),
    ),
    "pairs": Protocol(
        "pair comparison, forced choice (ITU-T P.910, PC)",
        "Which pictures look better?",
        ("left", "right"),
        "Which picture looks better?",
        (),
        paired=True,
    ),
}


@dataclass(frozen=True)
class Display:
    """What a screen must be able to show.

    Attributes:
        width_px, height_px: smallest window, in CSS pixels, that shows all slots of a trial
            side by side at 100%, with the margins of :data:`MARGIN_PX`.
        zoom_percent: 100: one picture pixel on one CSS pixel. Scaled pictures hide blur.
    """

    width_px: int
    height_px: int
    zoom_percent: int = 100


MARGIN_PX = (48, 160)
"""Width and height that a page needs beside the pictures: gaps, question, buttons."""


@dataclass(frozen=True)
class Plan:
    """A study before anybody took part.

    Attributes:
        id: names the study in the database and in links; letters and digits.
        title: for participants; it must not name the methods.
        protocol: a key of :data:`PROTOCOLS`.
        scale: labels of the answers 1 to 5; empty for pairs.
        scenes: names of the scenes that are rated.
        practice_scenes: scenes of the training items; never in ``scenes``.
        methods: names of what is compared, without degraded and sharp.
        display: what the screen must show.
        scenes_each: how many scenes one participant rates.
        practice: training items before the first rating that counts.
        repeats: trials shown a second time.
        gold: attention checks whose answer is known.
        break_every: trials between two breaks; 0 for none.
        seed: another seed, other orders.
        secret: keys the identifiers that browsers see.
        consent, instructions: plain text for participants.
        question: what stands above the pictures; "" for the protocol's own.
        completion: what is shown to whoever has finished: a code, or an address that begins
            with https://; "" for a code of each participant's own.
        external: name of the query parameter of a link in which a panel of people passes its
            own number of a participant, such as PROLIFIC_PID; "" where nobody does.
    """

    id: str
    title: str
    protocol: str
    scale: tuple[str, ...]
    scenes: tuple[str, ...]
    practice_scenes: tuple[str, ...]
    methods: tuple[str, ...]
    display: Display
    scenes_each: int
    practice: int = 3
    repeats: int = 4
    gold: int = 4
    break_every: int = 40
    seed: int = 0
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    consent: str = CONSENT
    instructions: str = ""
    question: str = ""
    completion: str = ""
    external: str = ""

    def __post_init__(self) -> None:
        for wrong, remedy in self._faults():
            if wrong:
                raise InputError(remedy)

    def _faults(self) -> list[tuple[bool, str]]:
        reserved = {DEGRADED, SHARP, RUINED}
        counts = (self.practice, self.repeats, self.gold, self.break_every, self.seed)
        known = ", ".join(PROTOCOLS)
        return [
            (
                self.protocol not in PROTOCOLS,
                f"no protocol is called {self.protocol!r}; choose one of: {known}",
            ),
            (not self.scenes, "a study needs at least one scene besides those for practice"),
            (not self.methods, "a study needs at least one method; add restored pictures"),
            (
                bool(reserved & set(self.methods)),
                f"a method cannot be called {' or '.join(sorted(reserved))}; rename it",
            ),
            (
                len(set(self.methods)) < len(self.methods),
                "two methods have one name; rename one of them",
            ),
            (
                not 1 <= self.scenes_each <= len(self.scenes),
                f"each participant can rate 1 to {len(self.scenes)} scenes, not {self.scenes_each}",
            ),
            (
                self.practice > 0 and not self.practice_scenes,
                "practice needs a scene that is not rated; add a scene, or leave practice out",
            ),
            (min(counts) < 0, "counts and seed are numbers from 0 up"),
            (not self.id.isalnum(), "the id of a study consists of letters and digits"),
            (
                bool(self.external) and not self.external.replace("_", "").isalnum(),
                f"{self.external!r} cannot be a parameter of a link; use letters, digits and _",
            ),
        ]

    @property
    def paired(self) -> bool:
        """Whether participants choose between two pictures."""
        return PROTOCOLS[self.protocol].paired

    @property
    def asks(self) -> str:
        """What stands above the pictures."""
        return self.question or PROTOCOLS[self.protocol].question

    @property
    def conditions(self) -> tuple[str, ...]:
        """What each scene is shown as: the input, the methods, and unless paired the reference."""
        return (DEGRADED, *self.methods, *(() if self.paired else (SHARP,)))

    @property
    def answers(self) -> tuple[int, ...]:
        """The answers that are allowed."""
        return (1, 2) if self.paired else tuple(range(1, len(self.scale) + 1))

    def to_json(self) -> str:
        """Return the plan as indented JSON; equal plans give equal text."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str, source: str = "the plan") -> Plan:
        """Read what :meth:`to_json` wrote; InputError names ``source`` where that fails."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("version") != VERSION:
                raise InputError(f"{source}: written by another version of whet; use that one")
            data["display"] = Display(**data["display"])
            lists = {k: tuple(v) for k, v in data.items() if isinstance(v, list)}
            missing = {f.name for f in fields(Plan)} - data.keys()
            if missing:
                raise KeyError(min(missing))
            return Plan(**{**data, **lists})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{source}: not a plan of a study ({error}); build it anew") from error


def read_plan(folder: Path) -> Plan:
    """Read the plan of a study folder; InputError if there is none or it is damaged."""
    path = folder / PLAN_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{folder}: no study here; name a folder that `whet study new` wrote"
        ) from None
    return Plan.from_json(text, str(path))


def write_plan(plan: Plan, folder: Path) -> None:
    """Write the plan into an existing folder; InputError if one is there already."""
    with replacing(folder / PLAN_FILE) as temporary:
        temporary.write_text(plan.to_json(), encoding="utf-8")
