"""The database: what was acknowledged is there, once, whatever happens to the process.

PostgreSQL is tested as well where WHET_TEST_POSTGRES names the URL of a database
that may be written to.
"""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from plans import plan

from whet.errors import InputError
from whet.study.design import session
from whet.study.plan import Plan
from whet.study.store import DATABASE_FILE, OutOfTurnError, Store, UnknownLinkError

POSTGRES = os.environ.get("WHET_TEST_POSTGRES", "")
needs_postgres = pytest.mark.skipif(not POSTGRES, reason="WHET_TEST_POSTGRES names no database")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database."""
    return POSTGRES if request.param == "postgresql" else f"sqlite:///{tmp_path / DATABASE_FILE}"


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    opened = Store.open(place)
    yield opened
    opened.close()


@pytest.fixture
def study(store: Store) -> Plan:
    """A registered study of few trials; PostgreSQL keeps those of earlier tests."""
    short = replace(plan(methods=1, scenes=3, gold=1, repeats=1), id=secrets.token_hex(6))
    store.register(short)
    return short


def admit(store: Store, study: Plan) -> str:
    token = store.join(study.id)
    store.begin(token, consented=True, display_ok=True)
    return token


def test_a_session_goes_from_the_first_trial_to_the_last(store: Store, study: Plan) -> None:
    token = admit(store, study)
    seen = []
    while (trial := store.next_trial(token)) is not None:
        seen.append(trial)
        receipt = store.rate(token, trial.id, 1 + trial.position % 5, 1234)
        assert (receipt.position, receipt.fresh) == (trial.position, True)
    assert tuple(seen) == session(study, 0)
    stored = store.ratings(study.id)
    assert [r.position for r in stored] == list(range(len(seen)))
    assert [r.answer for r in stored] == [1 + i % 5 for i in range(len(seen))]
    assert [(r.kind, r.scene, r.candidate, r.versus) for r in stored] == [
        (t.kind, t.scene, t.candidate, t.versus) for t in seen
    ]
    assert {r.elapsed_ms for r in stored} == {1234}
    (who,) = store.progress(study.id)
    assert (who.rated, who.total, who.begun) == (len(seen), len(seen), True)


def test_a_rating_sent_twice_counts_once_and_the_first_stands(store: Store, study: Plan) -> None:
    token = admit(store, study)
    trial = store.next_trial(token)
    assert trial is not None
    assert store.rate(token, trial.id, 4).fresh
    again = store.rate(token, trial.id, 2)
    assert (again.answer, again.fresh) == (4, False)
    following = store.next_trial(token)
    assert following is not None
    assert following.position == 1
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda a: store.rate(token, following.id, a), [1, 2, 3, 4] * 4))
    assert sum(receipt.fresh for receipt in receipts) == 1
    assert len({receipt.answer for receipt in receipts}) == 1
    assert [r.position for r in store.ratings(study.id)] == [0, 1]


def test_a_link_resumes_where_it_was_left_after_a_restart(place: str) -> None:
    short = replace(plan(methods=1, scenes=3), id=secrets.token_hex(6))
    first = Store.open(place)
    first.register(short)
    token = admit(first, short)
    trial = first.next_trial(token)
    assert trial is not None
    first.rate(token, trial.id, 3)
    expected = first.next_trial(token)
    first.close()
    second = Store.open(place)
    assert second.next_trial(token) == expected
    second.close()


def test_strangers_and_steps_out_of_turn_are_refused(store: Store, study: Plan) -> None:
    token = store.join(study.id)
    with pytest.raises(OutOfTurnError, match="agree"):
        store.next_trial(token)
    with pytest.raises(OutOfTurnError, match="agree"):
        store.begin(token, consented=False, display_ok=True)
    with pytest.raises(OutOfTurnError, match="larger window"):
        store.begin(token, consented=True, display_ok=False)
    store.begin(token, consented=True, display_ok=True)
    trials = session(study, 0)
    with pytest.raises(OutOfTurnError, match="comes first"):
        store.rate(token, trials[1].id, 3)
    with pytest.raises(OutOfTurnError, match="comes first"):
        store.trial(token, trials[1].id)
    for answer in (0, 6, True):
        with pytest.raises(InputError, match="one of 1, 2, 3, 4, 5"):
            store.rate(token, trials[0].id, answer)
    with pytest.raises(UnknownLinkError, match="another participant"):
        store.rate(token, session(study, 1)[0].id, 3)
    for act in (store.next_trial, store.participant, store.withdraw):
        with pytest.raises(UnknownLinkError, match="nobody has this link"):
            act(token[:-1])
    with pytest.raises(UnknownLinkError, match="there is no study"):
        store.join("nothere")
    assert store.ratings(study.id) == []


def test_many_join_at_once_and_get_numbers_without_gaps(store: Store, study: Plan) -> None:
    other = replace(study, id=secrets.token_hex(6))
    store.register(other)
    with ThreadPoolExecutor(12) as pool:
        tokens = list(pool.map(lambda i: store.join((study, other)[i % 2].id), range(24)))
    assert len(set(tokens)) == 24
    for each in (study, other):
        assert [who.number for who in store.progress(each.id)] == list(range(12))
    assert {study.id, other.id} <= set(store.studies())


def test_a_plan_that_changed_is_refused(store: Store, study: Plan) -> None:
    store.register(study)
    with pytest.raises(InputError, match="changed after it was registered"):
        store.register(replace(study, seed=5))
    with pytest.raises(InputError, match="changed after it was registered"):
        store.register(replace(study, question="And now?"))
    assert store.plan(study.id) == study


def test_who_withdraws_leaves_nothing_behind(store: Store, study: Plan) -> None:
    token, other = admit(store, study), admit(store, study)
    for one in (token, other):
        trial = store.next_trial(one)
        assert trial is not None
        store.rate(one, trial.id, 5)
    third = admit(store, study)
    store.withdraw(token)
    assert [r.participant for r in store.ratings(study.id)] == [1]
    assert store.absent(study.id) == {0: "withdrawn", 2: "unfinished: no answer"}
    assert store.participant(third).external == ""
    with pytest.raises(UnknownLinkError):
        store.participant(token)


def test_a_panels_number_takes_part_once_and_goes_with_who_withdraws(
    store: Store, study: Plan
) -> None:
    paid = replace(study, id=secrets.token_hex(6), external="PID")
    store.register(paid)
    with pytest.raises(OutOfTurnError, match="as it is"):
        store.join(paid.id)
    token = store.join(paid.id, "5f3a")
    with pytest.raises(OutOfTurnError, match="already"):
        store.join(paid.id, "5f3a")
    assert store.participant(store.join(paid.id, "77")).number == 1  # nobody got the one refused
    store.begin(token, consented=True, display_ok=True)
    store.withdraw(token)
    assert [who.external for who in store.progress(paid.id)] == ["", "77"]
    assert store.participant(store.join(study.id, "5f3a")).external == ""


def test_sqlite_keeps_no_token_and_waits_for_the_disk(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.register(plan())
    token = admit(store, plan())
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in content
    with sqlite3.connect(tmp_path / DATABASE_FILE) as raw:
        columns = {c[1] for c in raw.execute("PRAGMA table_info(whet_participants)")}
    assert columns == {"id", "study", "number", "token_sha256", "begun"}


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("mysql://host/name", "give postgresql:// or sqlite:///"),
        ("://", "check the URL"),
        ("sqlite:////no/such/folder/x.sqlite", "check the URL"),
    ],
)
def test_databases_that_cannot_be_opened_are_one_sentence(url: str, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy) as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)


# Raters in threads; every acknowledged rating is noted in a file, by one write after rate().
WORKER = """
import os, sys, threading
from whet.study.store import Store
url, study, notes = sys.argv[1:]
store = Store.open(url)
log = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def rate():
    while True:
        token = store.join(study)
        store.begin(token, consented=True, display_ok=True)
        number = store.participant(token).number
        while (trial := store.next_trial(token)) is not None:
            answer = 1 + (number + trial.position) % 5
            store.rate(token, trial.id, answer)
            os.write(log, f"{number} {trial.position} {answer} {token}\\n".encode())
for _ in range(8):
    threading.Thread(target=rate).start()
"""


def test_every_acknowledged_rating_survives_a_kill_under_load(
    place: str, store: Store, study: Plan, tmp_path: Path
) -> None:
    notes = tmp_path / "acknowledged"
    for _ in range(2):  # the second start finds what the first kill left
        before = len(notes.read_text().splitlines()) if notes.exists() else 0
        worker = subprocess.Popen([sys.executable, "-c", WORKER, place, study.id, str(notes)])
        deadline = time.monotonic() + 300
        while not notes.exists() or len(notes.read_text().splitlines()) < before + 60:
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    lines = [line.split() for line in notes.read_text().splitlines()]
    acknowledged = [(int(n), int(p), int(a)) for n, p, a, _ in lines]
    stored = Counter((r.participant, r.position, r.answer) for r in store.ratings(study.id))
    assert len(acknowledged) >= 120
    assert set(stored.values()) == {1}
    assert set(acknowledged) <= set(stored)
    # Beyond that: at most what 8 threads had under way in each of the 2 processes.
    assert len(stored) <= len(set(acknowledged)) + 16
    for who in store.progress(study.id):
        own = sorted(p for n, p, _ in stored if n == who.number)
        assert own == list(range(who.rated))
    last = lines[-1][3]
    trial = store.next_trial(last)
    assert (trial.position if trial else len(session(study, int(lines[-1][0])))) == (
        store.participant(last).rated
    )
