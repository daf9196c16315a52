"""Videos through the web application: the bytes of the command line, limits, nothing left."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
from films import film, looks
from starlette.testclient import TestClient

from commandline import MakePicture, succeed
from whet.web import app
from whet.web.settings import Settings
from whet.web.videos import queue
from whet.web.videos.containers import kind_of

MODEL = "nano"
HOME = "http://127.0.0.1:8000"
OURS = ("--runtime", "onnxruntime", "--threads", 1)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def site(temporary: Path) -> Iterator[TestClient]:
    with client() as opened:
        yield opened


def client(**settings: Any) -> TestClient:
    built = app.create_app(Settings(runtime="onnxruntime", threads=1, **settings))
    return TestClient(built, base_url=HOME, raise_server_exceptions=False)


def reserve(site: TestClient, size: int = 1000, **query: Any) -> Any:
    return site.post("/api/videos", params={"model": MODEL, "bytes": size, **query})


def send(site: TestClient, data: bytes, **query: Any) -> Any:
    """Reserve and send; return the answer to the sending."""
    place = reserve(site, len(data) or 1, **query)
    assert place.status_code == 201, place.text
    return site.put(f"/api/videos/{place.json()['id']}", content=data)


def wait(site: TestClient, id: str, *states: str) -> dict[str, Any]:
    """Ask until the video is in one of some states."""
    deadline = time.monotonic() + 60
    while True:
        status: dict[str, Any] = site.get(f"/api/videos/{id}").json()
        if status.get("state") in states:
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def refused(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def files_in(folder: Path) -> list[Path]:
    # Folders may go while this looks, which Path.rglob would not stand. A lock is no upload.
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return [path for path in found if path.name != "lock"]


# What comes back


@pytest.mark.parametrize(
    ("suffix", "codec", "strength"),
    [("mp4", "libx264", 1.0), ("mkv", "libx264", 1.5), ("mov", "libx264", 1.0)],
)
def test_the_result_has_the_bytes_that_the_command_line_writes(
    site: TestClient,
    picture: MakePicture,
    tmp_path: Path,
    suffix: str,
    codec: str,
    strength: float,
) -> None:
    source = film(tmp_path / f"in.{suffix}", picture, codec=codec)
    sent = send(site, source.read_bytes(), strength=strength)
    assert sent.status_code == 202
    facts = {key: sent.json()[key] for key in ("width", "height", "frames_expected", "suffix")}
    assert facts == {"width": 160, "height": 120, "frames_expected": 12, "suffix": f".{suffix}"}
    done = wait(site, sent.json()["id"], "done", "failed")
    assert (done["state"], done["frames"], done["detail"]) == ("done", 12, None)
    assert done["fps"] > 0
    result = site.get(f"/api/videos/{done['id']}/result")
    target = tmp_path / f"out.{suffix}"
    words = ("--model", MODEL, "--strength", strength, *OURS)
    succeed("video", source, "-o", target, *words)
    # Containers of Matroska draw random numbers; what they hold does not.
    if suffix == "mkv":
        (tmp_path / "web.mkv").write_bytes(result.content)
        assert looks(tmp_path / "web.mkv") == looks(target)
        assert len(result.content) == target.stat().st_size
    else:
        assert result.content == target.read_bytes()
    assert f'filename="restored.{suffix}"' in result.headers["content-disposition"]


def test_webm_comes_back_as_webm_with_its_sound(
    site: TestClient, picture: MakePicture, tmp_path: Path
) -> None:
    source = film(tmp_path / "in.webm", picture, frames=6, codec="libvpx-vp9")
    id = send(site, source.read_bytes()).json()["id"]
    wait(site, id, "done")
    answer = site.get(f"/api/videos/{id}/result")
    assert answer.headers["content-type"] == "video/webm"
    (tmp_path / "out.webm").write_bytes(answer.content)
    assert looks(tmp_path / "out.webm") == ("matroska,webm", ["vp9", "opus"], 6)


def test_a_part_of_the_result_can_be_asked_for(
    site: TestClient, picture: MakePicture, tmp_path: Path
) -> None:
    id = send(site, film(tmp_path / "in.mp4", picture, frames=3).read_bytes()).json()["id"]
    refused(site.get(f"/api/videos/{id}/result", headers={"range": "bytes=0-3"}), 409)
    wait(site, id, "done")
    part = site.get(f"/api/videos/{id}/result", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


# Hostile uploads


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def huge(data: bytes) -> bytes:
    """An AVI whose header claims frames of 12000 x 9000."""
    return data.replace(struct.pack("<ii", 160, 120), struct.pack("<ii", 12000, 9000))


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"

HOSTILE: dict[str, tuple[str, Callable[[bytes], bytes], int, str]] = {
    "nothing": ("mp4", lambda _: b"", 415, "empty"),
    "words": ("mp4", lambda _: b"These are words." * 99, 415, "no video"),
    "a playlist": ("mp4", lambda _: PLAYLIST, 415, "no video"),
    "a list of files": ("mp4", lambda _: b"ffconcat version 1.0\nfile x\n", 415, "no video"),
    "SVG": ("mp4", lambda _: b"<svg onload='alert(1)'/>", 415, "no video"),
    "a header alone": ("mp4", lambda d: d[:40], 422, "incomplete"),
    "a truncated MP4": ("mp4", cut, 422, "incomplete"),
    "noise behind a header": ("mp4", lambda d: d[:32] + bytes(range(256)) * 99, 422, "the video"),
    "a codec of its own": ("mkv", lambda d: d.replace(b"V_MPEG4", b"X_MPEG4"), 422, "video"),
    "huge frames": ("avi", huge, 413, "megapixels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_uploads_are_refused_and_leave_nothing(
    site: TestClient, picture: MakePicture, tmp_path: Path, temporary: Path, kind: str
) -> None:
    suffix, spoil, status, word = HOSTILE[kind]
    codec = "rawvideo" if suffix == "avi" else "libx264"
    whole = film(tmp_path / f"in.{suffix}", picture, codec=codec).read_bytes()
    data = spoil(whole)
    assert data != whole
    sentence = refused(send(site, data), status)
    assert word in sentence
    assert str(temporary) not in sentence
    assert "passwd" not in sentence
    assert files_in(temporary) == []
    assert "whet_videos 0.0" in site.get("/metrics").text


def test_a_film_that_breaks_off_comes_back_as_far_as_it_goes_and_says_so(
    site: TestClient, picture: MakePicture, tmp_path: Path
) -> None:
    data = film(tmp_path / "in.mkv", picture, frames=40).read_bytes()
    id = send(site, data[: len(data) * 2 // 3]).json()["id"]
    done = wait(site, id, "done", "failed")
    assert done["state"] == "done"
    assert 0 < done["frames"] < 40


def test_too_large_too_long_and_too_fine_are_refused(
    picture: MakePicture, tmp_path: Path, temporary: Path
) -> None:
    long = film(tmp_path / "long.mp4", picture, seconds=90).read_bytes()
    limits = {"max_video_bytes": len(long), "max_video_seconds": 60, "max_pixels": 160 * 120}
    with client(**limits) as site:
        assert "the video lasts 8" in refused(send(site, long), 413)  # to the last frame
        larger = film(tmp_path / "large.mp4", picture, size=(162, 120), frames=2).read_bytes()
        assert "162 x 120" in refused(send(site, larger), 413)
        assert "larger than" in refused(reserve(site, len(long) + 1), 413)
        # The claim was a lie: what really comes is counted.
        liar = reserve(site, 1).json()["id"]
        assert "larger than" in refused(
            site.put(f"/api/videos/{liar}", content=long + bytes(1)), 413
        )
        assert files_in(temporary) == []
        refused(site.get(f"/api/videos/{liar}"), 404)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"model": "../weights/nano.onnx"}, "choose from"),
        ({"strength": "3"}, "strength"),
        ({"strength": "nan"}, "strength"),
        ({"bytes": "0"}, "bytes"),
        ({"bytes": "many"}, "bytes"),
    ],
)
def test_options_out_of_range_are_refused(
    site: TestClient, query: dict[str, str], word: str
) -> None:
    assert word in refused(reserve(site, **query), 422)


def test_no_name_reaches_the_file_system(
    site: TestClient, picture: MakePicture, tmp_path: Path, temporary: Path, held: Held
) -> None:
    data = film(tmp_path / "in.mp4", picture, frames=3).read_bytes()
    id = reserve(site, len(data)).json()["id"]
    said = {"content-disposition": "attachment; filename=../../grandmother.mp4"}
    site.put(f"/api/videos/{id}", content=data, headers=said)
    held.begun.wait(20)
    names = {path.name for path in files_in(temporary)}
    assert "source" in names
    assert all(name == "source" or name.startswith(".whet-") for name in names)
    assert not [path for path in temporary.rglob("*") if id in path.name]
    assert "grandmother" not in str([*temporary.rglob("*")])


# A queue, and an end


class Held:
    """Stops every restoration at its first frame until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    hold = Held()
    note = queue.VideoQueue._note

    def wait_first(self: Any, video: Any, frames: int) -> None:
        hold.begun.set()
        hold.go.wait(20)
        note(self, video, frames)

    monkeypatch.setattr(queue.VideoQueue, "_note", wait_first)
    yield hold
    hold.go.set()


def test_progress_is_told_and_cancelling_deletes_everything(
    site: TestClient, picture: MakePicture, tmp_path: Path, temporary: Path, held: Held
) -> None:
    data = film(tmp_path / "in.mp4", picture).read_bytes()
    id = send(site, data).json()["id"]
    held.begun.wait(20)
    assert site.get(f"/api/videos/{id}").json()["state"] == "working"
    refused(site.put(f"/api/videos/{id}", content=data), 409)
    assert site.delete(f"/api/videos/{id}").status_code == 204
    refused(site.get(f"/api/videos/{id}"), 404)
    held.go.set()
    deadline = time.monotonic() + 20
    while files_in(temporary):
        assert time.monotonic() < deadline
    text = site.get("/metrics").text
    assert "whet_videos 0.0" in text
    # A second one is restored by the same worker.
    again = send(site, data).json()["id"]
    assert wait(site, again, "done", "failed")["state"] == "done"


def test_a_full_queue_answers_429_and_recovers(
    picture: MakePicture, tmp_path: Path, temporary: Path, held: Held
) -> None:
    data = film(tmp_path / "in.mp4", picture, frames=2).read_bytes()
    with client(videos=2) as site:
        ids = [send(site, data).json()["id"] for _ in range(2)]
        held.begun.wait(20)
        assert [site.get(f"/api/videos/{id}").json()["state"] for id in ids] == [
            "working",
            "waiting",
        ]
        full = reserve(site)
        assert "videos are here already" in refused(full, 429)
        assert 1 <= int(full.headers["retry-after"]) <= 120
        held.go.set()
        for id in ids:
            wait(site, id, "done")
        site.delete(f"/api/videos/{ids[0]}")
        assert reserve(site).status_code == 201


def test_work_that_takes_too_long_is_given_up(
    picture: MakePicture, tmp_path: Path, temporary: Path
) -> None:
    data = film(tmp_path / "in.mp4", picture, frames=60).read_bytes()
    with client(max_video_work=0.0) as site:
        id = send(site, data).json()["id"]
        failed = wait(site, id, "failed", "done")
        assert failed["state"] == "failed"
        assert "more than 0 s" in failed["detail"]
        refused(site.get(f"/api/videos/{id}/result"), 409)
        assert files_in(temporary) == []


def test_what_nobody_asks_for_is_deleted(
    picture: MakePicture, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_KEPT_S", 0.5)
    monkeypatch.setattr(queue, "_SWEEP_S", 0.05)
    data = film(tmp_path / "in.mp4", picture, frames=2).read_bytes()
    with client() as site:
        id = send(site, data).json()["id"]
        wait(site, id, "done")
        assert [path.name for path in files_in(temporary)] == ["result.mp4"]
        deadline = time.monotonic() + 20
        while files_in(temporary):  # nobody asks: the server itself forgets
            assert time.monotonic() < deadline
            time.sleep(0.05)
        refused(site.get(f"/api/videos/{id}/result"), 404)


def test_a_place_without_an_upload_is_given_back(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_RESERVED_S", -1.0)
    with client(videos=1) as site:
        for _ in range(3):
            assert reserve(site).status_code == 201


def test_a_server_that_stops_leaves_no_file(
    picture: MakePicture, tmp_path: Path, temporary: Path
) -> None:
    data = film(tmp_path / "in.mp4", picture, frames=100).read_bytes()
    with client() as site:
        send(site, data)
        wait(site, send(site, data).json()["id"], "waiting", "working")
    assert list(temporary.iterdir()) == []


# Who may come in


def test_beyond_this_machine_videos_need_the_token(
    picture: MakePicture, tmp_path: Path, temporary: Path
) -> None:
    data = film(tmp_path / "in.mp4", picture, frames=2).read_bytes()
    with client(host="0.0.0.0", token="sesame") as site:
        refused(reserve(site), 401)
        site.headers["authorization"] = "Bearer sesame"
        id = send(site, data).json()["id"]
        del site.headers["authorization"]
        refused(site.put(f"/api/videos/{id}", content=data), 401)
        refused(site.delete(f"/api/videos/{id}"), 401)
        assert len(id) == 22  # 128 bits, which nobody guesses


def test_other_sites_cannot_send_videos(site: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    refused(site.post("/api/videos", params={"bytes": 9}, headers=headers), 403)


def test_a_wrong_method_is_told_all_right_ones(site: TestClient) -> None:
    refused(site.post("/api/videos/x"), 405)
    assert site.post("/api/videos/x").headers["allow"] == "DELETE, GET, PUT"
    assert site.put("/api/videos").headers["allow"] == "POST"


def test_openapi_describes_videos(site: TestClient) -> None:
    paths = site.get("/openapi.json").json()["paths"]
    assert {"/api/videos", "/api/videos/{id}", "/api/videos/{id}/result"} <= set(paths)
    sent = paths["/api/videos/{id}"]["put"]
    assert "video/mp4" in sent["requestBody"]["content"]
    for status in ("408", "409", "413", "415", "422"):
        assert set(sent["responses"][status]["content"]) == {"application/problem+json"}
    assert "429" in paths["/api/videos"]["post"]["responses"]


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x14ftypqt  ", ".mov"),
        (b"\0\0\0\x08wide", ".mov"),
        (b"\x1a\x45\xdf\xa3" + bytes(20) + b"matroska", ".mkv"),
        (b"\x1a\x45\xdf\xa3" + bytes(20) + b"webm", ".webm"),
        (b"\x47" + bytes(187) + b"\x47", ".ts"),
        (b"RIFF\0\0\0\0AVI ", ".mp4"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"G" + bytes(300), None),
        (b"", None),
    ],
)
def test_containers_are_known_by_their_first_bytes(head: bytes, suffix: str | None) -> None:
    kind = kind_of(head)
    assert (kind and kind.suffix) == suffix
