"""Taking part in a study over HTTP: blind, in turn, and kept before the next trial shows."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
import httpx
from starlette.testclient import TestClient
from studies import BLUR_PX, build_study

from commandline import MakePicture, whet
from whet.errors import InputError
from whet.study.design import completion, session
from whet.study.plan import PLAN_FILE, Plan, read_plan
from whet.study.schema import sa
from whet.study.store import DATABASE_FILE, Store
from whet.web.app import create_app
from whet.web.settings import Settings
from whet.web.study import routes as site_study
from whet.web.study.folders import open_studies

HOME = "http://127.0.0.1:8000"
PROTOCOLS = ("acr", "dcr", "pairs")
AGREED = {"consented": True, "display_ok": True}
POSTGRES = os.environ.get("WHET_TEST_POSTGRES", "")
needs_postgres = pytest.mark.skipif(not POSTGRES, reason="WHET_TEST_POSTGRES names no database")
ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> dict[str, Path]:
    """Protocol -> folder of a study. Nobody may take part in these: copy them."""
    folder = tmp_path_factory.mktemp("studies")
    for protocol in PROTOCOLS:
        build_study(folder / f"champion-{protocol}", picture, protocol=protocol)
    return {protocol: folder / f"champion-{protocol}" for protocol in PROTOCOLS}


@pytest.fixture
def folders(studies: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Protocol -> folder of a study without ratings."""
    copies = {}
    for protocol, folder in studies.items():
        copies[protocol] = tmp_path / folder.name
        copies[protocol].mkdir()
        for name in (PLAN_FILE, "pictures"):
            (copies[protocol] / name).symlink_to(folder / name)
    return copies


Open = Callable[..., TestClient]


@pytest.fixture
def open_site(folders: dict[str, Path]) -> Iterator[Open]:
    """A function (**settings) -> client of a server with all studies, or those named."""
    opened = []

    def start(**settings: Any) -> TestClient:
        app = create_app(Settings(**{"studies": tuple(folders.values()), **settings}))
        client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
        opened.append(client.__enter__())
        return opened[-1]

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def site(open_site: Open) -> TestClient:
    return open_site()


class Participant:
    """Somebody who joined a study, and everything that the server told them."""

    def __init__(self, site: TestClient, study: str) -> None:
        self.root = f"/api/study/{study}"
        self.site = site
        self.headers: dict[str, str] = {}
        self.heard: list[str] = []
        answer = self.ask("POST", "/join", json=AGREED)
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]
        self.headers = {"Whet-Participant": self.token}

    def ask(self, method: str, path: str, **rest: Any) -> Any:
        answer = self.site.request(method, self.root + path, headers=self.headers, **rest)
        told = [self.root + path, *map(":".join, answer.headers.items())]
        if not answer.headers.get("content-type", "").startswith("image/"):
            told.append(answer.text)
        self.heard += told
        return answer

    def turn(self) -> Any:
        return self.ask("GET", "/turn").json()

    def rate(self, trial: str, answer: Any, **more: Any) -> Any:
        return self.ask("POST", f"/trials/{trial}", json={"answer": answer, **more})


def refused(answer: Any, status: int) -> str:
    """Return the sentence of a refusal, after checking its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def plans(folders: dict[str, Path]) -> dict[str, Plan]:
    return {protocol: read_plan(folder) for protocol, folder in folders.items()}


def stored(folder: Path) -> list[tuple[int, int, int]]:
    """Return (participant, position, answer) as the database on the disk has them."""
    store = Store.open(folder)
    try:
        ratings = store.ratings(read_plan(folder).id)
    finally:
        store.close()
    return [(rating.participant, rating.position, rating.answer) for rating in ratings]


# What is on show


def test_all_studies_are_listed_and_say_what_they_ask_for(
    site: TestClient, folders: dict[str, Path]
) -> None:
    listed = {entry["protocol"]: entry for entry in site.get("/api/studies").json()}
    assert set(listed) == set(PROTOCOLS)
    for protocol, plan in plans(folders).items():
        said = site.get(f"/api/study/{plan.id}").json()
        assert listed[protocol].items() <= said.items()
        assert said["trials"] == len(session(plan, 0))
        assert said["consent"] == plan.consent
        assert (said["width_px"], said["height_px"]) == (
            plan.display.width_px,
            plan.display.height_px,
        )
        expected = ["left", "right"] if protocol == "pairs" else list(plan.scale)
        assert [choice["label"] for choice in said["answers"]] == expected
        assert "text/html" in site.get(f"/study/{plan.id}").headers["content-type"]
    assert site.get("/study").status_code == 200
    assert site.get("/study/nothere").status_code == 404
    refused(site.get("/api/study/nothere"), 404)


def test_without_studies_the_list_is_empty(open_site: Open) -> None:
    assert open_site(studies=()).get("/api/studies").json() == []


# A session


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_answer_is_in_the_database_before_the_next_trial_is_told(
    site: TestClient, folders: dict[str, Path], protocol: str
) -> None:
    plan = plans(folders)[protocol]
    who = Participant(site, plan.id)
    trials = session(plan, 0)
    turn = who.turn()
    for trial in trials:
        assert turn["rated"] == trial.position
        assert turn["total"] == len(trials)
        assert turn["trial"]["id"] == trial.id
        assert turn["trial"]["practice"] == (trial.kind == "practice")
        answer = 1 + trial.position % len(plan.answers)
        receipt = who.rate(trial.id, answer, elapsed_ms=900).json()
        assert (receipt["answer"], receipt["fresh"]) == (answer, True)
        assert stored(folders[protocol])[-1] == (0, trial.position, answer)
        turn = receipt["turn"]
    done = {"rated": len(trials), "total": len(trials), "trial": None}
    assert turn == {**done, "completion": completion(plan, 0)} == who.turn()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_that_a_browser_gets_tells_methods_apart(
    site: TestClient, folders: dict[str, Path], protocol: str
) -> None:
    plan = plans(folders)[protocol]
    who = Participant(site, plan.id)
    turn = who.turn()
    while turn["trial"]:
        trial = turn["trial"]
        for slot in trial["slots"]:
            answer = who.ask("GET", f"/trials/{trial['id']}/{slot}")
            assert answer.headers["content-type"] == "image/png"
            # Files were written one method after the other: no dates, no tags made of them.
            assert not {"last-modified", "etag", "content-disposition"} & set(answer.headers)
            assert chunks(answer.content) <= {b"IHDR", b"IDAT", b"IEND"}
        turn = who.rate(trial["id"], 1).json()["turn"]
    who.heard += [site.get("/api/studies").text, site.get(f"/api/study/{plan.id}").text]
    heard = "\n".join(who.heard).lower()
    files = {name for trial in session(plan, 0) for name in trial.pictures.values()}
    kinds = {"ruined", "gold", "repeat", "hidden"}
    # Slots of triplets are called degraded and sharp, and shown as such.
    ends = set() if protocol == "dcr" else {"degraded", "sharp."}
    for word in {*plan.methods, *plan.scenes, *files, plan.secret, *kinds, *ends}:
        assert word.removesuffix(".png") not in heard, word
    assert set(plan.methods) == set(BLUR_PX) - {"degraded", "sharp"}
    assert str(folders[protocol].parent).lower() not in heard


def chunks(png: bytes) -> set[bytes]:
    found, at = set(), 8
    while at < len(png):
        found.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return found


def test_two_participants_know_no_identifier_in_common(
    site: TestClient, folders: dict[str, Path]
) -> None:
    plan = plans(folders)["acr"]
    one, other = Participant(site, plan.id), Participant(site, plan.id)
    assert one.turn()["trial"]["id"] != other.turn()["trial"]["id"]
    assert one.token != other.token


def test_pictures_are_those_of_the_trial_and_given_in_turn(
    site: TestClient, folders: dict[str, Path]
) -> None:
    plan = plans(folders)["dcr"]
    who = Participant(site, plan.id)
    first, second = session(plan, 0)[:2]
    for slot, name in first.pictures.items():
        given = who.ask("GET", f"/trials/{first.id}/{slot}").content
        assert given == (folders["dcr"] / "pictures" / name).read_bytes()
    assert "comes first" in refused(who.ask("GET", f"/trials/{second.id}/candidate"), 409)
    assert "no picture" in refused(who.ask("GET", f"/trials/{first.id}/left"), 422)
    stranger = Participant(site, plan.id)
    assert "another participant" in refused(
        stranger.ask("GET", f"/trials/{first.id}/candidate"), 404
    )
    for slot in ("..%2Fstudy.json", "..", "candidate.png"):
        assert who.ask("GET", f"/trials/{first.id}/{slot}").status_code in (404, 422)


def test_a_rating_sent_again_counts_once_and_the_first_stands(
    site: TestClient, folders: dict[str, Path]
) -> None:
    who = Participant(site, plans(folders)["acr"].id)
    trial = who.turn()["trial"]["id"]
    with ThreadPoolExecutor(4) as pool:
        receipts = [
            r.json() for r in pool.map(lambda answer: who.rate(trial, answer), [4, 2, 4, 5])
        ]
    (kept,) = {receipt["answer"] for receipt in receipts}
    assert sum(receipt["fresh"] for receipt in receipts) == 1
    assert {receipt["turn"]["rated"] for receipt in receipts} == {1}
    assert stored(folders["acr"]) == [(0, 0, kept)]


def test_a_link_goes_on_after_a_restart(open_site: Open, folders: dict[str, Path]) -> None:
    plan = plans(folders)["acr"]
    who = Participant(open_site(), plan.id)
    following = who.rate(who.turn()["trial"]["id"], 3).json()["turn"]
    again = open_site().get(f"{who.root}/turn", headers=who.headers)
    assert again.json() == following


def test_times_longer_than_what_passed_here_are_not_believed(
    site: TestClient, folders: dict[str, Path]
) -> None:
    plan = plans(folders)["pairs"]
    who = Participant(site, plan.id)
    began = time.monotonic()
    for claimed in ({"elapsed_ms": 600_000}, {}, {"elapsed_ms": 1}):
        trial = who.turn()["trial"]
        who.ask("GET", f"/trials/{trial['id']}/left")
        assert who.rate(trial["id"], 1, **claimed).status_code == 200
    passed_ms = (time.monotonic() - began) * 1000 + 1
    unseen = who.turn()["trial"]["id"]  # as after a restart: the server has measured nothing
    who.rate(unseen, 1, elapsed_ms=600_000)
    store = Store.open(folders["pairs"])
    times = [rating.elapsed_ms for rating in store.ratings(plan.id)]
    store.close()
    assert all(0 < elapsed_ms <= passed_ms for elapsed_ms in times[:3])
    assert times[2:] == [1, 600_000]
    for wrong in (-1, 2**31, "3", 1.5, True, None):
        refused(who.rate(who.turn()["trial"]["id"], 1, elapsed_ms=wrong), 422)


def test_a_panels_number_is_kept_only_where_a_study_says_so(
    open_site: Open, folders: dict[str, Path]
) -> None:
    paid = replace(
        plans(folders)["acr"], external="PROLIFIC_PID", completion="https://pay.example/C0DE"
    )
    (folders["acr"] / PLAN_FILE).unlink()
    (folders["acr"] / PLAN_FILE).write_text(paid.to_json())
    site = open_site()
    root = f"/api/study/{paid.id}"
    assert site.get(root).json()["external"] == "PROLIFIC_PID"
    assert "your panel" in refused(site.post(f"{root}/join", json=AGREED), 409)
    known = {**AGREED, "external_id": "5f3a"}
    assert site.post(f"{root}/join", json=known).status_code == 201
    assert "already" in refused(site.post(f"{root}/join", json=known), 409)
    assert site.post(f"{root}/join", json={**known, "external_id": "77"}).status_code == 201
    assert site.post(f"{root}/join", json={**known, "external_id": "x" * 129}).status_code == 422
    free = plans(folders)["pairs"]
    assert site.post(f"/api/study/{free.id}/join", json=known).status_code == 201
    for plan, folder, kept in ((paid, "acr", ["5f3a", "77"]), (free, "pairs", [""])):
        store = Store.open(folders[folder])
        assert [who.external for who in store.progress(plan.id)] == kept
        store.close()


def test_who_withdraws_leaves_nothing_behind(site: TestClient, folders: dict[str, Path]) -> None:
    who = Participant(site, plans(folders)["acr"].id)
    who.rate(who.turn()["trial"]["id"], 3)
    assert who.ask("DELETE", "/answers").status_code == 204
    assert stored(folders["acr"]) == []
    refused(who.ask("GET", "/turn"), 404)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_one_database_takes_the_ratings_of_all_studies(
    open_site: Open, folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    url = POSTGRES if kind == "postgresql" else f"sqlite:///{tmp_path / 'all.sqlite'}"
    site = open_site(database=url)
    for plan in plans(folders).values():
        who = Participant(site, plan.id)
        trial = who.turn()["trial"]["id"]
        assert who.rate(trial, 2).json()["fresh"]
        assert not who.rate(trial, 1).json()["fresh"]
    store = Store.open(url)
    assert [len(store.ratings(plan.id)) for plan in plans(folders).values()] == [1, 1, 1]
    store.close()
    assert not any((folder / DATABASE_FILE).exists() for folder in folders.values())


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_every_acknowledged_answer_survives_a_kill_under_load(
    command: Any, folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    url = POSTGRES if kind == "postgresql" else f"sqlite:///{tmp_path / 'all.sqlite'}"
    # Plans have random ids in the module's fixture; this one is nobody else's in PostgreSQL.
    plan = replace(plans(folders)["acr"], id=secrets.token_hex(6))
    (folders["acr"] / PLAN_FILE).unlink()
    (folders["acr"] / PLAN_FILE).write_text(plan.to_json())
    options = ("--study", folders["acr"], "--database", url)
    acknowledged: list[tuple[str, int]] = []
    busy, joined = threading.Event(), threading.Barrier(8)

    def take_part(person: int) -> None:
        with httpx.Client(base_url=f"{command.home}api/study/{plan.id}", timeout=60) as client:
            token = client.post("/join", json=AGREED).json()["token"]
            client.headers["Whet-Participant"] = token
            trial = client.get("/turn").json()["trial"]
            joined.wait(120)  # only answers are sent again
            while trial:
                said = {"answer": 1 + (person + trial["index"]) % 5}
                try:
                    answer = client.post(f"/trials/{trial['id']}", json=said)
                except httpx.TransportError:
                    time.sleep(0.2)  # sent again, as the page does
                    continue
                assert answer.status_code == 200, answer.text
                acknowledged.append((trial["id"], answer.json()["answer"]))
                trial = answer.json()["turn"]["trial"]
                if len(acknowledged) >= 30:
                    busy.set()

    server = command(*options)
    with ThreadPoolExecutor(8) as pool:
        people = [pool.submit(take_part, person) for person in range(8)]
        assert busy.wait(120)
        server.kill()
        server.wait()
        before = len(acknowledged)
        command(*options)
        for person in people:
            person.result()
    store = Store.open(url)
    ratings = store.ratings(plan.id)
    store.close()
    trials = {t.id: (n, t.position) for n in range(8) for t in session(plan, n)}
    assert before < len(trials)  # it was killed in the middle
    assert Counter((r.participant, r.position) for r in ratings) == Counter(trials.values())
    assert Counter((r.participant, r.position, r.answer) for r in ratings) == Counter(
        (*trials[id], answer) for id, answer in acknowledged
    )


# Who may do what


def test_participants_need_no_token_of_the_administrator(
    open_site: Open, folders: dict[str, Path]
) -> None:
    site = open_site(token="of-the-administrator")
    who = Participant(site, plans(folders)["acr"].id)
    assert who.rate(who.turn()["trial"]["id"], 3).json()["fresh"]
    refused(site.post("/api/restore", content=b"x"), 401)
    # The exception is a prefix; it must not be a way round to other addresses.
    refused(site.post("/api/study/%2e%2e/restore", content=b"x"), 404)
    refused(site.post("/api/studyx", content=b"x"), 401)


def test_other_web_sites_are_refused(site: TestClient, folders: dict[str, Path]) -> None:
    plan = plans(folders)["acr"]
    root = f"/api/study/{plan.id}"
    refused(site.post(f"{root}/join", json=AGREED, headers=ELSEWHERE), 403)
    who = Participant(site, plan.id)
    headers = {**who.headers, **ELSEWHERE}
    trial = who.turn()["trial"]["id"]
    refused(site.post(f"{root}/trials/{trial}", json={"answer": 3}, headers=headers), 403)
    refused(site.delete(f"{root}/answers", headers=headers), 403)
    # What a form elsewhere can send without asking first.
    plain = {"Content-Type": "text/plain"}
    refused(site.post(f"{root}/join", content=json.dumps(AGREED), headers=plain), 422)
    assert who.turn()["rated"] == 0


def test_a_link_opens_its_own_study_only(site: TestClient, folders: dict[str, Path]) -> None:
    known = plans(folders)
    who = Participant(site, known["acr"].id)
    for token in (who.token, who.token[:-1], "", "x" * 64):
        answer = site.get(f"/api/study/{known['dcr'].id}/turn", headers={"Whet-Participant": token})
        assert "check that it is complete" in refused(answer, 404)


@pytest.mark.parametrize(
    "said",
    [{**AGREED, "consented": False}, {**AGREED, "display_ok": False}],
)
def test_nobody_starts_without_consent_or_on_a_small_display(
    site: TestClient, folders: dict[str, Path], said: dict[str, bool]
) -> None:
    plan = plans(folders)["acr"]
    refused(site.post(f"/api/study/{plan.id}/join", json=said), 409)
    store = Store.open(folders["acr"])
    assert store.progress(plan.id) == []  # no number is used up
    store.close()


@pytest.mark.parametrize("answer", [0, 6, True, "3", 2.5, None, 10**30])
def test_an_answer_that_is_none_is_refused(
    site: TestClient, folders: dict[str, Path], answer: Any
) -> None:
    who = Participant(site, plans(folders)["acr"].id)
    refused(who.rate(who.turn()["trial"]["id"], answer), 422)
    assert stored(folders["acr"]) == []


def test_bodies_that_are_no_answers_are_refused(site: TestClient, folders: dict[str, Path]) -> None:
    root = f"/api/study/{plans(folders)['acr'].id}"
    kind = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"consented": "yes"}', b"[" * 1000):
        refused(site.post(f"{root}/join", content=content, headers=kind), 422)
    assert "1024 bytes" in refused(
        site.post(f"{root}/join", content=b" " * 2000, headers=kind), 413
    )


def test_joining_is_slowed_down(
    site: TestClient, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = site_study.RateLimiter(burst=2, per_second=0.5)
    clock = [limiter._then]
    monkeypatch.setattr(site_study.time, "monotonic", lambda: clock[0])
    limiter.enter()
    limiter.enter()
    with pytest.raises(site_study.RefusedError) as caught:
        limiter.enter()
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "2")
    clock[0] += 2
    limiter.enter()
    with pytest.raises(site_study.RefusedError):
        limiter.enter()


def test_a_database_that_fails_is_no_acknowledgement(
    site: TestClient, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    who = Participant(site, plans(folders)["acr"].id)
    trial = who.turn()["trial"]["id"]

    def gone(*_: object) -> None:
        raise sa.exc.OperationalError("insert", {}, Exception("disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "rate", gone)
        answer = who.rate(trial, 3)
    assert "send it again" in refused(answer, 503)
    assert "disk" not in answer.text
    assert who.rate(trial, 3).json()["fresh"]


def test_tokens_are_not_logged(
    site: TestClient,
    folders: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", "whet.serve")
    # A server that was started in this process has its own handler and passes nothing on.
    monkeypatch.setattr(logging.getLogger("whet.serve"), "propagate", True)
    who = Participant(site, plans(folders)["acr"].id)
    who.turn()
    said = [{**vars(record), "text": record.getMessage()} for record in caplog.records]
    lines = [line for line in said if line["name"] == "whet.serve"]
    assert lines
    assert who.token not in str(lines)
    assert who.token not in site.get("/metrics").text


# Folders


def test_studies_are_found_by_folder_by_plan_and_in_a_folder_of_several(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    expected = {plan.id for plan in plans(folders).values()}
    assert set(open_studies([tmp_path])) == expected
    assert set(open_studies(list(folders.values()))) == expected
    assert set(open_studies([folders["acr"] / PLAN_FILE])) == {plans(folders)["acr"].id}


def test_folders_that_cannot_be_shown_are_one_sentence(
    folders: dict[str, Path], studies: dict[str, Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="whet study new"):
        open_studies([empty])
    with pytest.raises(InputError, match="copies of one study"):
        open_studies([folders["acr"], studies["acr"]])
    (folders["acr"] / "pictures").unlink()
    with pytest.raises(InputError, match="pictures are missing"):
        open_studies([folders["acr"]])


def test_a_plan_that_changed_is_refused_at_the_start(folders: dict[str, Path]) -> None:
    open_studies([folders["acr"]])
    path = folders["acr"] / PLAN_FILE
    changed = replace(read_plan(folders["acr"]), seed=5)
    path.unlink()
    path.write_text(changed.to_json())
    outcome = whet("serve", "--study", folders["acr"])
    assert outcome.code == 2
    assert "changed after it was registered" in outcome.err
    assert "Traceback" not in outcome.err
