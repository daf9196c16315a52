"""What taking part in a study says and hears, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

__all__ = [
    "Answer",
    "Choice",
    "Joining",
    "Link",
    "Receipt",
    "Study",
    "StudyCard",
    "Trial",
    "Turn",
]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Choice(BaseModel):
    """One button."""

    value: int
    label: str


class StudyCard(BaseModel):
    """What the list shows of a study."""

    id: str
    title: str
    protocol: str = Field(description="acr, dcr or pairs")
    trials: int
    width_px: int = Field(description="smallest window, in CSS pixels")
    height_px: int


class Study(StudyCard):
    """What is said before somebody takes part."""

    consent: str
    instructions: str
    question: str
    practice: int = Field(description="how many of the trials are training")
    answers: list[Choice]
    external: str = Field(
        description="parameter of the link in which a panel passes its own number; may be empty"
    )


class Joining(BaseModel, extra="forbid"):
    """What a participant confirms."""

    consented: bool = Field(strict=True)
    display_ok: bool = Field(strict=True, description="the window is large enough, at 100%")
    external_id: str = Field(
        "", max_length=128, description="the panel's own number; kept if the study asks for it"
    )


class Link(BaseModel):
    """The participant's token: the link is the study's address, ``#``, and this."""

    token: str


class Trial(BaseModel):
    """One page: all that may be known about it."""

    id: str
    index: int = Field(description="from 1")
    practice: bool
    break_before: bool
    question: str
    slots: list[str] = Field(description="names of the pictures, from left to right")
    answers: list[Choice]


class Turn(BaseModel):
    """Where a participant stands; no trial means that all are answered."""

    rated: int
    total: int
    trial: Trial | None
    completion: str | None = Field(
        None, description="once all are answered: a code, or an address, for the panel"
    )


Whole = BeforeValidator(_whole)
"""For an integer as JSON has it: 3.0 is one, "3" is not."""


class Answer(BaseModel, extra="forbid"):
    """A rating."""

    answer: Annotated[int, Field(strict=True), Whole]
    elapsed_ms: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1), Whole] = 0


class Receipt(BaseModel):
    """What the database holds now, and what comes next."""

    answer: int = Field(description="the first one, where a trial was answered before")
    fresh: bool
    turn: Turn
