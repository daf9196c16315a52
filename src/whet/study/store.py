"""Ratings in a database: on the disk before the next trial, each exactly once.

SQLite by default, in write-ahead mode with ``synchronous=FULL``: a commit returns
when the operating system reports the data as written. PostgreSQL by URL, with its
own default, ``synchronous_commit=on``. A rating is one transaction. What
:meth:`Store.rate` acknowledged survives the death of the process at any moment; a
rating that was sent twice hits the unique constraint and the first one stands.

Nothing personal is kept: no name, no address, no device, no clock time. A
participant is a number and the SHA-256 of the token in the link, so that not even
the database tells whose link it is. Only a study that says so to its participants
keeps the number under which a panel sent them.

Any number of threads and processes may use one database at once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import InputError
from whet.study.design import Rating, Trial, session
from whet.study.participant import Participant, Receipt
from whet.study.plan import Plan
from whet.study.schema import (
    EXTERNAL,
    PARTICIPANTS,
    RATINGS,
    STUDIES,
    connect,
    insert_new,
    people,
    sa,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["DATABASE_FILE", "OutOfTurnError", "Participant", "Receipt", "Store", "UnknownLinkError"]

DATABASE_FILE = "ratings.sqlite"
_SLOWEST_MS = 2**31 - 1


class UnknownLinkError(InputError):
    """No participant and no study answers to this link."""


class OutOfTurnError(InputError):
    """The participant cannot do this now: not begun yet, or another trial comes first."""


class Store:
    """The database of any number of studies; see the module for what it promises."""

    def __init__(self, url: str) -> None:
        """Connect as :func:`whet.study.schema.connect` does, and raise what it raises."""
        self._engine = connect(url)
        self._plans: dict[str, Plan] = {}

    @classmethod
    def open(cls, place: Path | str) -> Store:
        """Open the SQLite file of a study folder, or any database by its URL.

        Args:
            place: a folder, or a URL such as ``postgresql://user@host/name``.
        """
        if isinstance(place, str) and "://" in place:
            return cls(place)
        folder = Path(place)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; name the folder of a study, or a URL")
        return cls(f"sqlite:///{folder.resolve() / DATABASE_FILE}")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def register(self, plan: Plan) -> None:
        """Make a study known; again is harmless. InputError if its plan changed meanwhile."""
        row = {"id": plan.id, "plan": plan.to_json()}
        with self._writing() as connection:
            connection.execute(insert_new(self._engine, STUDIES, row))
            query = sa.select(STUDIES.c.plan).where(STUDIES.c.id == plan.id)
            stored = connection.execute(query).scalar_one()
        if stored != row["plan"]:
            raise InputError(
                f"the plan of study {plan.id} changed after it was registered; "
                "restore the old study.json, or build a new study"
            )
        self._plans[plan.id] = plan

    def plan(self, study: str) -> Plan:
        """Return the plan of a registered study; UnknownLinkError if there is none."""
        if study not in self._plans:
            with self._reading() as connection:
                query = sa.select(STUDIES.c.plan).where(STUDIES.c.id == study)
                text = connection.execute(query).scalar_one_or_none()
            if text is None:
                raise UnknownLinkError(f"there is no study {study!r} here; check the link")
            self._plans[study] = Plan.from_json(text, f"study {study}")
        return self._plans[study]

    def studies(self) -> list[str]:
        """Return the ids of all studies in this database."""
        with self._reading() as connection:
            return list(connection.execute(sa.select(STUDIES.c.id).order_by("id")).scalars())

    def join(self, study: str, external: str = "") -> str:
        """Admit one more participant and return the token of their link (128 bits).

        Numbers are given out without gaps, also to participants who join at once.

        Args:
            study: its id.
            external: the number under which a panel knows them; dropped unless the plan
                has a parameter for it.

        Raises:
            UnknownLinkError: there is no such study.
            OutOfTurnError: the plan wants that number and it is missing, or it took part.
        """
        external = external if self.plan(study).external else ""
        if self.plan(study).external and not external:
            raise OutOfTurnError("please open the link that your panel gave you, as it is")
        token = secrets.token_urlsafe(16)
        with self._writing() as connection:
            # PostgreSQL: joiners of one study queue up here. SQLite has one writer anyway.
            lock = sa.select(STUDIES.c.id).where(STUDIES.c.id == study).with_for_update()
            connection.execute(lock)
            mine = PARTICIPANTS.c.study == study
            highest = sa.select(sa.func.max(PARTICIPANTS.c.number)).where(mine)
            last = connection.execute(highest).scalar_one()
            number = 0 if last is None else last + 1
            row = {"study": study, "number": number, "token_sha256": _sha256(token)}
            inserted = PARTICIPANTS.insert().values(row).returning(PARTICIPANTS.c.id)
            key = connection.execute(inserted).scalar_one()
            if external:
                known = {"participant": key, "study": study, "external": external}
                if connection.execute(insert_new(self._engine, EXTERNAL, known)).first() is None:
                    raise OutOfTurnError(
                        "somebody took part by this link already; if it was you, go on by the "
                        "link that the page gave you"
                    )
        return token

    def begin(self, token: str, *, consented: bool, display_ok: bool) -> None:
        """Let a participant start; again is harmless.

        Only the fact is kept, nothing about the device.

        Raises:
            UnknownLinkError: nobody has this token.
            OutOfTurnError: consent or a large enough display is missing.
        """
        if not consented:
            raise OutOfTurnError("please agree to take part first")
        if not display_ok:
            raise OutOfTurnError("please use a larger window, at a zoom of 100%")
        with self._writing() as connection:
            mine = PARTICIPANTS.c.token_sha256 == _sha256(token)
            done = connection.execute(PARTICIPANTS.update().where(mine).values(begun=True))
            if not done.rowcount:
                raise UnknownLinkError("nobody has this link; check that it is complete")

    def participant(self, token: str) -> Participant:
        """Return whom a token belongs to; UnknownLinkError if nobody."""
        with self._reading() as connection:
            return self._find(connection, token)[1]

    def next_trial(self, token: str) -> Trial | None:
        """Return the first trial without an answer; None when all are answered.

        Raises:
            UnknownLinkError: nobody has this token.
            OutOfTurnError: :meth:`begin` comes first.
        """
        who = self.participant(token)
        _require_begun(who)
        return None if who.rated == who.total else self._session(who)[who.rated]

    def trial(self, token: str, trial_id: str) -> Trial:
        """Return a trial of this participant, answered or next, to serve its pictures.

        Raises:
            UnknownLinkError: the token or the trial does not exist.
            OutOfTurnError: the trial is not due yet.
        """
        who = self.participant(token)
        _require_begun(who)
        return self._due(who, trial_id)

    def rate(self, token: str, trial_id: str, answer: int, elapsed_ms: int = 0) -> Receipt:
        """Store one answer; when this returns, it is on the disk.

        Args:
            token: the participant's.
            trial_id: of the trial that was shown.
            answer: one of ``plan.answers``.
            elapsed_ms: from showing to answering, as the browser measured it; 0 if nobody did.

        Returns:
            What the database holds: for a trial that was answered before, its first answer.

        Raises:
            InputError: the answer is none of the scale's, or the time is none.
            UnknownLinkError: the token or the trial does not exist.
            OutOfTurnError: not begun, or the trial is not due yet.
        """
        with self._writing() as connection:
            key, who = self._find(connection, token)
            _require_begun(who)
            trial = self._due(who, trial_id)
            answers = self.plan(who.study).answers
            if isinstance(answer, bool) or answer not in answers:
                raise InputError(f"an answer is one of {', '.join(map(str, answers))}")
            if isinstance(elapsed_ms, bool) or not 0 <= elapsed_ms <= _SLOWEST_MS:
                raise InputError(f"an answer takes 0 to {_SLOWEST_MS} ms, not {elapsed_ms}")
            row = {
                "participant": key,
                "position": trial.position,
                "kind": trial.kind,
                "scene": trial.scene,
                "candidate": trial.candidate,
                "versus": trial.versus,
                "answer": answer,
                "elapsed_ms": int(elapsed_ms),
            }
            inserted = connection.execute(insert_new(self._engine, RATINGS, row)).first()
            mine = RATINGS.c.participant == key, RATINGS.c.position == trial.position
            stored = connection.execute(sa.select(RATINGS.c.answer).where(*mine)).scalar_one()
        return Receipt(trial.position, stored, fresh=inserted is not None)

    def withdraw(self, token: str) -> None:
        """Delete all answers of a participant, who may not go on; the number stays used.

        The panel's number goes too: nothing is left that leads to anybody.
        """
        with self._writing() as connection:
            key, _ = self._find(connection, token)
            connection.execute(RATINGS.delete().where(RATINGS.c.participant == key))
            connection.execute(EXTERNAL.delete().where(EXTERNAL.c.participant == key))
            gone = {"begun": False, "token_sha256": _sha256(secrets.token_urlsafe(16))}
            mine = PARTICIPANTS.c.id == key
            connection.execute(PARTICIPANTS.update().where(mine).values(gone))

    def ratings(self, study: str) -> list[Rating]:
        """Return all answers of a study, by participant and position."""
        self.plan(study)
        columns = [
            PARTICIPANTS.c.number,
            *(c for c in RATINGS.c if c.name not in ("id", "participant")),
        ]
        query = (
            sa.select(*columns)
            .join_from(RATINGS, PARTICIPANTS)
            .where(PARTICIPANTS.c.study == study)
            .order_by(PARTICIPANTS.c.number, RATINGS.c.position)
        )
        with self._reading() as connection:
            return [Rating(*row) for row in connection.execute(query)]

    def progress(self, study: str) -> list[Participant]:
        """Return every participant of a study, by number."""
        self.plan(study)
        query = people().where(PARTICIPANTS.c.study == study).order_by(PARTICIPANTS.c.number)
        with self._reading() as connection:
            return [self._whom(row) for row in connection.execute(query)]

    def absent(self, study: str) -> dict[int, str]:
        """Return who joined a study and has no answers, by number, and why."""
        return {
            who.number: "unfinished: no answer" if who.begun else "withdrawn"
            for who in self.progress(study)
            if not who.rated
        }

    def _whom(self, row: Any) -> Participant:
        total = len(session(self.plan(row.study), row.number))
        external = row.external or ""
        return Participant(row.study, row.number, row.begun, row.rated, total, external)

    def _find(self, connection: Connection, token: str) -> tuple[int, Participant]:
        query = people().where(PARTICIPANTS.c.token_sha256 == _sha256(token))
        row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownLinkError("nobody has this link; check that it is complete")
        return row.id, self._whom(row)

    def _session(self, who: Participant) -> tuple[Trial, ...]:
        return session(self.plan(who.study), who.number)

    def _due(self, who: Participant, trial_id: str) -> Trial:
        found = [trial for trial in self._session(who) if trial.id == trial_id]
        if not found:
            raise UnknownLinkError("this trial is of another participant; reload the page")
        if found[0].position > who.rated:
            raise OutOfTurnError("another trial comes first; reload the page")
        return found[0]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(whet_reads=True)


def _require_begun(who: Participant) -> None:
    if not who.begun:
        raise OutOfTurnError("please read what the study is about and agree first")


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
