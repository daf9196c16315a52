"""The studies that a server shows: their folders, each with the database of its ratings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from whet.errors import InputError
from whet.study.design import picture_name, session
from whet.study.plan import DEGRADED, PICTURES, PLAN_FILE, RUINED, SHARP, Plan, read_plan
from whet.study.store import Store

__all__ = ["OpenStudy", "open_studies"]


@dataclass(frozen=True)
class OpenStudy:
    """A study that people can take part in.

    Attributes:
        plan: what was fixed beforehand.
        folder: where its pictures are.
        store: the database that takes its ratings.
    """

    plan: Plan
    folder: Path
    store: Store

    @property
    def trials(self) -> int:
        """How many trials each participant answers."""
        return len(session(self.plan, 0))


def open_studies(places: Sequence[Path], database: str | None = None) -> dict[str, OpenStudy]:
    """Open studies and their databases; return them by their opaque id.

    Args:
        places: folders that ``whet study new`` wrote, their ``study.json``, or folders of such.
        database: URL of one database for all; None for the SQLite file in each folder.

    Raises:
        InputError: no study, an incomplete one, one twice, or a database that cannot be used.
    """
    found: dict[str, OpenStudy] = {}
    shared = Store.open(database) if database is not None and places else None
    for folder in _folders(places):
        plan = read_plan(folder)
        if plan.id in found:
            raise InputError(
                f"{folder} and {found[plan.id].folder} are copies of one study; name one of them"
            )
        _check_pictures(plan, folder)
        store = shared or Store.open(folder)
        store.register(plan)
        found[plan.id] = OpenStudy(plan, folder, store)
    return found


def _folders(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        folder = place.parent if place.name == PLAN_FILE else place
        if (folder / PLAN_FILE).is_file():
            yield folder
            continue
        inside = [plan.parent for plan in sorted(folder.glob(f"*/{PLAN_FILE}"))]
        if not inside:
            raise InputError(f"{place}: no study here; make one with `whet study new -o {place}`")
        # A name with a dot is a study that is just being built.
        yield from (path for path in inside if not path.name.startswith("."))


def _check_pictures(plan: Plan, folder: Path) -> None:
    scenes = (*plan.scenes, *plan.practice_scenes)
    for scene, condition in product(scenes, (DEGRADED, *plan.methods, SHARP, RUINED)):
        if not (folder / PICTURES / picture_name(plan.secret, scene, condition)).is_file():
            raise InputError(
                f"{folder}: pictures are missing; copy the whole folder, or build the study anew"
            )
