"""What became of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from whet.errors import WhetError
from whet.stills.jobs import Job

__all__ = ["Restored", "RunReport"]


@dataclass(frozen=True)
class Restored:
    """What became of one picture.

    Attributes:
        job: source and target.
        compared: the side-by-side picture, where one was asked for.
        notes: what could not be kept, in sentences.
        seconds: time in the session, without decoding and encoding.
        still_blurred: height and width, where the result looks blurred by motion.
    """

    job: Job
    compared: Path | None
    notes: tuple[str, ...]
    seconds: float
    still_blurred: tuple[int, int] | None = None


@dataclass
class RunReport:
    """What became of many pictures.

    Attributes:
        done: restored pictures.
        skipped: jobs whose target existed already.
        failed: ``(job, error)``; the others went on.
    """

    done: list[Restored] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, WhetError]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 2 when a picture failed."""
        return 2 if self.failed else 0
