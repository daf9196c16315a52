"""Who may come in, what waits for ever, what fails: every answer is whet's own, with a remedy."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
import numpy as np
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

import whet.web
from whet.web import leftovers
from whet.web.addresses import reachable
from whet.web.app import create_app
from whet.web.connections import ImpatientProtocol
from whet.web.guard import HEADERS
from whet.web.settings import Settings
from whet.web.videos.queue import VideoQueue

HOME = "http://127.0.0.1:8000"


@contextlib.contextmanager
def client(**settings: Any) -> Iterator[TestClient]:
    app = create_app(Settings(runtime="onnxruntime", threads=1, **settings))
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    with client() as opened:
        yield opened


def picture(format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((48, 40)).convert("RGB").save(stream, format, **options)
    return stream.getvalue()


def refused(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert HEADERS.items() <= {k.title(): v for k, v in answer.headers.items()}.items()
    return str(answer.json()["detail"])


# Names and origins


def test_a_server_answers_to_the_names_that_it_was_given() -> None:
    names = ("photos.example", "*.lan.example")
    for host in ("127.0.0.1", "0.0.0.0"):
        with client(host=host, allowed_hosts=names, token="t") as site:
            for good in ("photos.example", "Photos.Example:443", "a.lan.example", "localhost:8000"):
                assert site.get("/healthz", headers={"host": good}).status_code == 200
            for bad in ("other.example", "photos.example.evil", "lan.example", "xlan.example", ""):
                sentence = refused(site.get("/healthz", headers={"host": bad}), 421)
                assert "open http://" in sentence
                assert "#" not in sentence  # the token is not for strangers


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:8000", 200),
        ("https://photos.example", 200),
        ("http://127.0.0.1:9000", 403),
        ("http://localhost:8000", 403),
        ("https://evil.example", 403),
        ("https://photos.example.evil", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_what_another_origin_sends_is_refused_though_the_browser_says_nothing_else(
    origin: str | None, status: int
) -> None:
    with client(allowed_hosts=("photos.example",)) as site:
        headers = {} if origin is None else {"origin": origin}
        query = {"model": "nano", "strength": 0}
        answer = site.post("/api/restore", params=query, content=picture(), headers=headers)
        assert answer.status_code == status
        assert site.get("/api/limits", headers=headers).status_code == 200


def test_a_server_on_every_address_prints_one_that_others_can_open() -> None:
    for host in ("0.0.0.0", "::"):
        shown = reachable(host)
        assert shown
        assert shown not in ("0.0.0.0", "::")
        assert f"//{shown}:" in Settings(host=host).address or f"//[{shown}]:" in (
            Settings(host=host).address
        )
    assert reachable("192.0.2.7") == "192.0.2.7"
    assert reachable("photos.example") == "photos.example"
    front = Settings(allowed_hosts=("photos.example", "*.lan.example"), token="t")
    assert front.behind == ("https://photos.example/#token=t",)


def test_redirections_lead_on_through_any_proxy(site: TestClient) -> None:
    for path, target in (("/live/", "../live"), ("/study/?a=1", "../study?a=1"), ("/app", "app/")):
        answer = site.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, target)
    assert site.get("/live/").status_code == 200


# Words that mean nothing


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("/api/restore?modell=base", "did you mean model?"),
        ("/api/restore?picture=a", "means nothing here"),
        ("/api/models?page=2", "known: nothing"),
        ("/api/videos?bytes=9&fps=3", "known: model, strength, bytes"),
        ("/api/studio?modell=maxim", "did you mean model?"),
    ],
)
def test_unknown_words_of_a_query_are_refused(site: TestClient, address: str, word: str) -> None:
    method = "GET" if "models" in address else "POST"
    assert word in refused(site.request(method, address, content=picture()), 422)


def test_unknown_fields_of_a_form_are_refused(site: TestClient) -> None:
    files = {"picture": ("a", picture())}
    answer = site.post("/api/restore", data={"strengt": "1"}, files=files)
    assert "did you mean strength?" in refused(answer, 422)
    assert site.get("/?from=somewhere").status_code == 200


@pytest.mark.parametrize("field", ["picture", "image", "file", "x"])
def test_a_form_with_one_file_is_taken_as_the_body_is(site: TestClient, field: str) -> None:
    query = {"model": "nano"}
    raw = site.post("/api/restore", params=query, content=picture())
    form = site.post("/api/restore", data=query, files={field: ("a.png", picture())})
    assert form.status_code == 200
    assert form.content == raw.content


def test_notes_of_a_restoration_reach_whoever_asked(site: TestClient) -> None:
    query = {"model": "nano", "strength": 0}
    plain = site.post("/api/restore", params=query, content=picture())
    assert json.loads(plain.headers["whet-notes"]) == []
    stream = io.BytesIO()
    Image.fromarray(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)).save(stream, "PNG")
    deep = {**query, "format": "jpg"}
    noted = site.post("/api/restore", params=deep, content=stream.getvalue())
    (sentence,) = json.loads(noted.headers["whet-notes"])
    assert "8 bits" in sentence
    assert noted.headers["whet-notes"].isascii()


# Failures


@pytest.mark.parametrize(("code", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (5, 500)])
def test_a_full_disk_during_an_upload_is_said_with_every_header(
    code: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def full(*_: Any) -> None:
        raise OSError(code, "a secret path")

    monkeypatch.setattr(VideoQueue, "_write", full)
    with client() as site:
        place = site.post("/api/videos", params={"bytes": 9}).json()["id"]
        sentence = refused(site.put(f"/api/videos/{place}", content=b"123456789"), status)
        assert "secret" not in sentence
        assert ("full" in sentence) == (status == 507)
        assert site.get(f"/api/videos/{place}").status_code == 404  # its place is free again


def test_what_nobody_foresaw_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("whet.web.pictures.jobs.PictureJobs.restore", fail)
    with client() as site:
        assert "secret" not in refused(site.post("/api/restore", content=picture()), 500)


def sentences() -> Iterator[tuple[str, str]]:
    """Yield what the code of the web application says in refusals."""
    for path in Path(next(iter(whet.web.__path__))).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if called and node.func.id == "RefusedError":
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path.name, part.value


def test_refusals_speak_of_the_page_and_not_of_a_command_line() -> None:
    said = list(sentences())
    assert len(said) > 20
    assert [
        entry for entry in said if re.search(r"(^|\s)--\w|`?whet (video|image)", entry[1])
    ] == []


# Uploads of a server that was killed


def test_uploads_of_a_killed_server_are_swept_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import sys; from whet.web.leftovers import Folder; folder = Folder(); "
        "(folder.path / 'upload').write_text('x'); print(folder.path, flush=True); sys.stdin.read()"
    )
    run = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {"TMPDIR": str(tmp_path)}}
    with subprocess.Popen(run, text=True, **pipes) as other:  # type: ignore[call-overload]
        folder = Path(other.stdout.readline().strip())
        assert (folder / "upload").is_file()
        ours, stranger = leftovers.Folder(), tmp_path / "whet-something"
        stranger.mkdir()
        assert leftovers.sweep() == []  # both are alive
        other.kill()
        other.wait()
        with client():
            assert sorted(tmp_path.iterdir()) == sorted([ours.path, stranger])
    ours.close()
    (tmp_path / "whet-serve-old").mkdir()  # of a version that held no locks
    assert [path.name for path in leftovers.sweep()] == ["whet-serve-old"]


# Connections


@pytest.fixture
def impatient() -> Iterator[int]:
    """The port of a server that waits a third of a second for the head of a request."""

    class Quick(ImpatientProtocol):
        head_s, stalled_s = 0.3, 0.5

    async def endless(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(4000):
            more = {"type": "http.response.body", "body": bytes(2**16), "more_body": True}
            await send(more)

    config = uvicorn.Config(endless, "127.0.0.1", 0, http=Quick, lifespan="off", log_config=None)
    listening = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join(20)


def ends(connection: socket.socket) -> bool:
    """Whether the other side closes."""
    connection.settimeout(20)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_that_ask_for_nothing_are_closed(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient)) as silent:
        assert ends(silent)
    with socket.create_connection(("127.0.0.1", impatient)) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert ends(half)


def test_a_head_that_comes_by_drops_is_given_up(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient)) as slow:
        slow.settimeout(0.05)
        for _ in range(400):
            try:
                slow.sendall(b"x")
                if slow.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the connection stayed open")


def test_an_answer_that_nobody_takes_is_given_up(impatient: int) -> None:
    with socket.create_connection(("127.0.0.1", impatient)) as asleep:
        asleep.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(2)
        asleep.settimeout(20)
        received = 0
        with contextlib.suppress(ConnectionError):
            while data := asleep.recv(2**20):
                received += len(data)
        assert received < 4000 * 2**16


def test_the_command_says_who_needs_the_token(command: Any, tmp_path: Path) -> None:
    process = command("--allowed-host", "photos.example", stderr=tmp_path / "said")
    process.kill()
    process.wait()
    said = (tmp_path / "said").read_text()
    assert re.search(r"http://127\.0\.0\.1:\d+/#token=\S+; Ctrl-C", said)
    assert "visitors of the server in front of it open https://photos.example/#token=" in said
    assert "needs that address, token included" in said
