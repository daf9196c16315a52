"""Heavy networks through the web application: one at a time, shown as they grow, nothing kept."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
from PIL import Image
from starlette.testclient import TestClient

from photographs import photograph_like
from whet.studio import open_studio
from whet.web import app
from whet.web.settings import Settings
from whet.web.studio import queue, routes

HOME = "http://127.0.0.1:8000"
NETWORK = """
import time, torch
class Network(torch.nn.Module):
    def forward(self, x):
        time.sleep({seconds})
        return 1 - x if {inverts} else x * 0.9
def build():
    return Network()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """A function (seconds=0, inverts=False) -> a server whose ``maxim`` is a network of ours."""
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    opened: list[TestClient] = []

    def start(seconds: float = 0, inverts: bool = False) -> TestClient:
        file = tmp_path / "own.py"
        file.write_text(NETWORK.format(seconds=seconds, inverts=inverts))
        ours = f"{file}:build"
        monkeypatch.setattr(queue, "open_studio", lambda *_: open_studio(ours))
        for module in (queue, routes):
            monkeypatch.setattr(module, "heavy_names", lambda: ("maxim",))
        client = TestClient(app.create_app(Settings()), base_url=HOME)
        opened.append(client.__enter__())
        return opened[-1]

    yield start
    for client in opened:
        client.__exit__(None, None, None)


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def until(site: TestClient, id: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status: dict[str, Any] = site.get(f"/api/studio/{id}").json()
        if status["state"] in states:
            return status
        time.sleep(0.02)
    raise AssertionError(status)


def test_a_picture_is_restored_in_its_own_format_and_leaves_nothing(
    site: Callable[..., TestClient], tmp_path: Path
) -> None:
    image, server = photograph_like(200, 448), site()
    sent = server.post("/api/studio?strength=0.5", content=png(image))
    assert sent.status_code == 201, sent.text
    id = sent.json()["id"]
    status = until(server, id, "done")
    assert (status["tiles"], status["tiles_expected"]) == (2, 2)
    result = server.get(f"/api/studio/{id}/result")
    assert result.headers["content-type"] == "image/png"
    restored = np.asarray(Image.open(io.BytesIO(result.content))).astype(float)
    assert np.abs(restored - image * 0.95).max() <= 1
    assert not list(tmp_path.rglob("*.npy"))
    assert server.delete(f"/api/studio/{id}").status_code == 204
    assert server.get(f"/api/studio/{id}").status_code == 404


def test_those_behind_wait_and_are_told_how_long(site: Callable[..., TestClient]) -> None:
    server = site(seconds=0.3)
    picture = png(photograph_like(256, 640))
    ids = [server.post("/api/studio", content=picture).json()["id"] for _ in range(3)]
    until(server, ids[0], "working")
    last = server.get(f"/api/studio/{ids[2]}").json()
    assert (last["state"], last["ahead"]) == ("waiting", 2)
    assert last["seconds_until_start"] > 0
    early = server.get(f"/api/studio/{ids[2]}/result")
    assert early.status_code == 409
    assert "waiting" in early.json()["detail"]
    for id in (ids[1], ids[0]):  # one that waits, one that is being restored
        server.delete(f"/api/studio/{id}")
    assert until(server, ids[2], "done")["tiles"] == 3


def test_finished_tiles_are_seen_before_the_end(site: Callable[..., TestClient]) -> None:
    server = site(seconds=0.4, inverts=True)
    striped = np.full((256, 640, 3), 60, np.uint8)
    striped[::2] = 195  # inverted, its mean stays, so that the guard lets it pass
    id = server.post("/api/studio", content=png(striped)).json()["id"]
    deadline = time.monotonic() + 60
    while server.get(f"/api/studio/{id}").json()["tiles"] < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    seen = server.get(f"/api/studio/{id}/so-far")
    assert seen.headers["content-type"] == "image/jpeg"
    shown = np.asarray(Image.open(io.BytesIO(seen.content)).convert("L")).astype(int)
    assert shown[10, 100] < 100  # was bright, and its tile is finished
    assert shown[10, 600] > 150  # its is not
    until(server, id, "done")


def test_places_are_counted(
    site: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PLACES", 1)
    server = site(seconds=0.5)
    picture = png(photograph_like(64, 64))
    first = server.post("/api/studio", content=picture)
    assert first.status_code == 201
    second = server.post("/api/studio", content=picture)
    assert second.status_code == 429
    assert int(second.headers["retry-after"]) >= 5
    server.delete(f"/api/studio/{first.json()['id']}")
    assert server.post("/api/studio", content=picture).status_code == 201


def test_what_cannot_be_restored_is_refused(site: Callable[..., TestClient]) -> None:
    server = site()
    assert [entry["name"] for entry in server.get("/api/studio").json()] == ["maxim"]
    assert server.post("/api/studio", content=b"no picture").status_code in (415, 422)
    assert server.post("/api/studio?model=nano", content=b"x").status_code == 422
    assert server.get("/api/studio/nothing").status_code == 404
