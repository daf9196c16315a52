"""The web application: the pictures of the command line, limits that hold, refusals that help."""

from __future__ import annotations

import io
import json
import logging
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
from starlette.testclient import TestClient

from commandline import MakePicture, succeed, whet
from whet.metrics import psnr, ssim
from whet.web import app
from whet.web.pictures import jobs
from whet.web.settings import Settings

MODEL = "nano"
HOME = "http://127.0.0.1:8000"


def client(**settings: Any) -> TestClient:
    built = app.create_app(Settings(runtime="onnxruntime", threads=1, **settings))
    return TestClient(built, base_url=HOME, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    with client(max_pixels=2**20, max_bytes=2**22) as opened:
        yield opened


def encoded(pixels: NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def refused(answer: Any, status: int) -> str:
    """Return the sentence of a refusal, after checking its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert "\n" not in problem["detail"]
    return str(problem["detail"])


# Pictures


@pytest.mark.parametrize(
    ("suffix", "options"), [("png", {}), ("jpg", {"quality": 90}), ("webp", {}), ("tif", {})]
)
@pytest.mark.parametrize("strength", [1.0, 0.35])
def test_the_answer_has_the_bytes_that_the_command_line_writes(
    site: TestClient,
    picture: MakePicture,
    tmp_path: Path,
    suffix: str,
    options: dict[str, Any],
    strength: float,
) -> None:
    source = tmp_path / f"in.{suffix}"
    Image.fromarray(picture(90, 120)).save(source, **options)
    target = tmp_path / f"out.{suffix}"
    words = ("--model", MODEL, "--strength", strength, "--runtime", "onnxruntime", "--threads", 1)
    succeed("image", source, "-o", target, *words)
    query = {"model": MODEL, "strength": strength}
    raw = site.post("/api/restore", params=query, content=source.read_bytes())
    form = site.post(
        "/api/restore",
        data={key: str(value) for key, value in query.items()},
        files={"picture": ("../../etc/passwd", source.read_bytes(), "image/gif")},
    )
    assert raw.content == target.read_bytes() == form.content
    assert raw.headers["content-type"] == form.headers["content-type"]
    assert raw.headers["content-type"].startswith("image/")
    assert f'filename="restored.{suffix}"' in form.headers["content-disposition"]


def test_another_format_is_written_where_it_is_asked_for(
    site: TestClient, picture: MakePicture
) -> None:
    query = {"model": MODEL, "strength": 0, "format": "png"}
    answer = site.post("/api/restore", params=query, content=encoded(picture(40, 50), "TIFF"))
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(decoded(answer.content), picture(40, 50))


def test_scores_are_those_of_the_metrics(site: TestClient, picture: MakePicture) -> None:
    sharp = picture(64, 80)
    degraded = np.roll(sharp, 1, axis=1)
    files = {"picture": ("a", encoded(degraded)), "reference": ("b", encoded(sharp))}
    scores = site.post("/api/score", params={"model": MODEL}, files=files).json()
    query = {"model": MODEL}
    restored = decoded(site.post("/api/restore", params=query, content=encoded(degraded)).content)
    assert scores["psnr_degraded"] == pytest.approx(psnr(degraded, sharp))
    assert scores["ssim_degraded"] == pytest.approx(ssim(degraded, sharp))
    assert scores["psnr_restored"] == pytest.approx(psnr(restored, sharp))
    assert scores["ssim_restored"] == pytest.approx(ssim(restored, sharp))


def test_a_reference_of_another_size_is_refused(site: TestClient, picture: MakePicture) -> None:
    files = {
        "picture": ("a", encoded(picture(40, 60))),
        "reference": ("b", encoded(picture(40, 40))),
    }
    sentence = refused(site.post("/api/score", files=files), 422)
    assert "60 x 40" in sentence
    assert "40 x 40" in sentence


def test_a_reference_equal_to_the_picture_scores_a_finite_number(
    site: TestClient, picture: MakePicture
) -> None:
    same = encoded(picture(40, 40))
    files = {"picture": ("a", same), "reference": ("b", same)}
    assert site.post("/api/score", files=files).json()["psnr_degraded"] == 100


# Hostile uploads


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG whose header claims a size, 8-bit RGB, and which goes on as given."""
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ) + b"".join(chunks)  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def polyglot() -> bytes:
    return b"GIF89a/*" + b"\0" * 64 + b"*/=1;<script>alert(1)</script>"


HOSTILE: dict[str, tuple[Callable[[], bytes], int]] = {
    "nothing": (lambda: b"", 415),
    "words": (lambda: b"These are words, not pixels.", 415),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', 415),
    "a page": (lambda: b"<!doctype html><script>alert(1)</script>", 415),
    "a program": (lambda: b"\x7fELF" + bytes(200), 415),
    "an archive": (lambda: b"PK\x03\x04" + bytes(200), 415),
    "a bomb by its header": (lambda: png(60000, 60000, chunk(b"IDAT", b"x")), 413),
    "a TIFF bomb": (
        lambda: b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 256, 4, 1, 90000)
        + struct.pack("<HHII", 257, 4, 1, 90000) + bytes(4),
        413,
    ),
    "a truncated JPEG": (lambda: encoded(noise(), "JPEG")[:-900], 422),
    "a truncated PNG": (lambda: encoded(noise())[:-900], 422),
    "a polyglot": (polyglot, 422),
    "an animation": (
        lambda: encoded(noise(), "GIF", save_all=True, append_images=[Image.new("RGB", (48, 48))]),
        422,
    ),
}  # fmt: skip


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


def large() -> NDArray[np.uint8]:
    return np.zeros((600, 600, 3), np.uint8)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_uploads_are_refused_with_a_sentence(site: TestClient, kind: str) -> None:
    make, status = HOSTILE[kind]
    answer = site.post("/api/restore", params={"model": MODEL}, content=make())
    sentence = refused(answer, status)
    assert sentence.startswith("the picture")
    assert len(sentence) < 400
    assert site.get("/healthz").json() == {**site.get("/healthz").json(), "slots_taken": 0}


def test_a_bomb_is_unpacked_no_further_than_its_header_says(site: TestClient) -> None:
    bomb = png(16, 16, chunk(b"IDAT", zlib.compress(bytes(2**26))), chunk(b"IEND", b""))
    answer = site.post("/api/restore", params={"model": MODEL, "strength": 0}, content=bomb)
    assert np.array_equal(decoded(answer.content), np.zeros((16, 16, 3)))


def test_a_picture_with_code_behind_its_end_comes_back_without_it(site: TestClient) -> None:
    data = encoded(noise()) + b"<script>alert(1)</script>"
    answer = site.post("/api/restore", params={"model": MODEL}, content=data)
    assert answer.status_code == 200
    assert b"<script" not in answer.content
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_too_many_bytes_are_refused_before_they_are_read(site: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(2**16)

    claimed = site.post("/api/restore", content=bytes(2**22 + 1))
    assert "send a smaller file" in refused(claimed, 413)
    assert "send a smaller file" in refused(site.post("/api/restore", content=endless()), 413)
    files = {"picture": ("a", bytes(2**22 + 1))}
    assert "send a smaller file" in refused(site.post("/api/restore", files=files), 413)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"model": "nope"}, "choose from"),
        ({"model": "/etc/passwd"}, "choose from"),
        ({"model": "../weights/nano.onnx"}, "choose from"),
        ({"strength": "nan"}, "strength"),
        ({"strength": "-1"}, "strength"),
        ({"strength": "3"}, "strength"),
        ({"format": "exe"}, "format"),
        ({"quality": "0"}, "quality"),
    ],
)
def test_options_out_of_range_are_refused_in_query_and_form(
    site: TestClient, query: dict[str, str], word: str
) -> None:
    data = encoded(noise())
    assert word in refused(site.post("/api/restore", params=query, content=data), 422)
    form = site.post("/api/restore", data=query, files={"picture": ("a", data)})
    assert word in refused(form, 422)


def test_broken_forms_are_refused(site: TestClient) -> None:
    kind = {"content-type": "multipart/form-data"}
    refused(site.post("/api/restore", content=b"x", headers=kind), 400)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    refused(site.post("/api/restore", content=b"no part begins", headers=kind), 400)
    half = b"--b\r\nContent-Disposition: form-data; name=picture; filename=a\r\n\r\nhalf of"
    assert "no file" in refused(site.post("/api/restore", content=half, headers=kind), 422)
    empty = site.post("/api/restore", content=b"--b--\r\n", headers=kind)
    assert "no file called 'picture'" in refused(empty, 422)
    as_words = site.post("/api/restore", data={"picture": "x"}, files={"other": ("a", b"x")})
    assert "no file called 'picture'" in refused(as_words, 422)


def test_transparency_is_not_lost_into_a_format_without_it(site: TestClient) -> None:
    clear = encoded(np.zeros((20, 20, 4), np.uint8))
    query = {"model": MODEL, "format": "jpg"}
    answer = site.post("/api/restore", params=query, content=clear)
    assert "transparency" in refused(answer, 422)


# Nothing is kept


def test_nothing_of_an_upload_reaches_the_disk(
    picture: MakePicture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("tempfile._TemporaryFileArgs", refuse, raising=False)
    large = encoded(np.random.default_rng(1).integers(0, 256, (800, 800, 3), np.uint8), "BMP")
    assert len(large) > 2**20  # what Starlette would move to disk
    with client() as site:
        files = {"picture": ("secret.bmp", large)}
        assert site.post("/api/restore", data={"model": MODEL}, files=files).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_json_and_names_no_picture(
    site: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    from whet.web.guard import _Json

    with caplog.at_level(logging.INFO, "whet.serve"):
        logging.getLogger("whet.serve").propagate = True
        files = {"picture": ("grandmother.png", encoded(noise()))}
        site.post("/api/restore", data={"model": MODEL}, files=files)
        site.post("/api/restore?album=grandmother", data={"model": MODEL}, files=files)
        site.get("/grandmother.png")
    lines = [json.loads(_Json().format(r)) for r in caplog.records if r.name == "whet.serve"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/api/restore", 200),
        ("/api/restore", 422),
        ("other", 404),
    ]
    assert lines[0]["pixels"] == 48 * 48
    assert "grandmother" not in json.dumps(lines)


def test_metrics_count_requests_by_route(site: TestClient) -> None:
    site.post("/api/restore", params={"model": MODEL}, content=encoded(noise()))
    site.get("/private/grandmother.png")
    text = site.get("/metrics").text
    assert 'whet_requests_total{method="POST",route="/api/restore",status="200"}' in text
    assert f'whet_restored_pixels_total{{model="{MODEL}"}}' in text
    assert "whet_slots_taken 0.0" in text
    assert "grandmother" not in text


# Limits


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lets every restoration wait until the event is set."""
    event = threading.Event()
    restore = jobs.restore_picture

    def wait(*arguments: Any) -> Any:
        event.wait(20)
        return restore(*arguments)

    monkeypatch.setattr(jobs, "restore_picture", wait)
    yield event
    event.set()


def test_a_full_desk_answers_429_and_recovers(held: threading.Event) -> None:
    answers: list[Any] = []
    data = encoded(noise())

    def ask() -> None:
        answers.append(site.post("/api/restore", params={"model": MODEL}, content=data))

    with client(workers=1, waiting=2) as site:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        while site.get("/healthz").json()["slots_taken"] < 3:
            pass
        assert site.get("/healthz").json()["status"] == "busy"
        full = site.post("/api/restore", params={"model": MODEL}, content=data)
        assert "waiting already" in refused(full, 429)
        assert 1 <= int(full.headers["retry-after"]) <= 120
        held.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        assert site.post("/api/restore", params={"model": MODEL}, content=data).status_code == 200


def test_what_takes_too_long_is_answered_and_keeps_its_place_until_it_ends(
    held: threading.Event,
) -> None:
    with client(workers=1, waiting=0, max_seconds=0.3) as site:
        data = encoded(noise())
        late = site.post("/api/restore", params={"model": MODEL}, content=data)
        assert "smaller picture" in refused(late, 503)
        refused(site.post("/api/restore", params={"model": MODEL}, content=data), 429)
        held.set()
        while site.get("/healthz").json()["slots_taken"]:
            pass


# Who may come in


def test_a_name_that_is_not_this_machine_is_refused(site: TestClient) -> None:
    refused(site.get("/healthz", headers={"host": "rebound.example"}), 421)
    refused(site.get("/healthz", headers={"host": "127.0.0.1.example:8000"}), 421)
    for name in ("localhost:8000", "127.0.0.1", "[::1]:8000", "[::1]"):
        assert site.get("/healthz", headers={"host": name}).status_code == 200


def test_other_sites_cannot_send_pictures(site: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    refused(site.post("/api/restore", content=encoded(noise()), headers=headers), 403)


def test_beyond_this_machine_pictures_need_the_token() -> None:
    with client(host="0.0.0.0", token="sésame") as site:
        query, data = {"model": MODEL}, encoded(noise())
        refused(site.post("/api/restore", params=query, content=data), 401)
        for wrong in ("Bearer open", "Bearer ", "sesame"):
            headers = {"authorization": wrong}
            refused(site.post("/api/restore", params=query, content=data, headers=headers), 401)
        right = {"authorization": "Bearer sésame".encode()}
        answer = site.post("/api/restore", params=query, content=data, headers=right)
        assert answer.status_code == 200
        assert site.get("/api/models").status_code == 200
        assert site.get("/healthz", headers={"host": "photos.example"}).status_code == 200


# What it says about itself


def test_models_are_listed_with_the_time_measured_here(site: TestClient) -> None:
    names = [model["name"] for model in site.get("/api/models").json()]
    assert MODEL in names
    assert not [name for name in names if name.endswith("-int8")]
    for _ in range(600):
        times = [model["seconds_per_mpx"] for model in site.get("/api/models").json()]
        if all(times):
            break
        threading.Event().wait(0.05)
    assert all(0 < seconds < 100 for seconds in times)
    # Told once: what else the server does changes nothing about it.
    site.post("/api/restore", params={"model": MODEL}, content=encoded(large()))
    later = site.get("/api/models").json()
    assert [model["seconds_per_mpx"] for model in later] == times
    words = {model["name"]: model["word"] for model in later}
    assert [words[name] for name in ("nano", "small", "base")] == ["fast", "balanced", "best"]


def test_openapi_describes_uploads_answers_and_refusals(site: TestClient) -> None:
    document = site.get("/openapi.json").json()
    restore = document["paths"]["/api/restore"]["post"]
    assert {"multipart/form-data", "image/jpeg"} <= set(restore["requestBody"]["content"])
    assert "image/png" in restore["responses"]["200"]["content"]
    for status in ("413", "415", "422", "429"):
        assert set(restore["responses"][status]["content"]) == {"application/problem+json"}
    assert {"/api/models", "/api/score", "/healthz", "/metrics"} <= set(document["paths"])


def test_unknown_addresses_and_methods_are_problems(site: TestClient) -> None:
    refused(site.get("/nope"), 404)
    refused(site.delete("/api/restore"), 405)


# The command


def test_serve_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    outcome = whet("serve")
    assert outcome.code == 2
    assert outcome.err == "whet: uvicorn is not installed; run: pip install 'whet-sharpen[web]'\n"


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = whet("serve", "--port", taken.getsockname()[1], "--quiet")
    assert outcome.code == 2
    assert "choose another one with --port" in outcome.err
    assert "Traceback" not in outcome.err


def test_the_printed_address_carries_the_token_where_browsers_keep_it() -> None:
    assert Settings().address == "http://127.0.0.1:8000/"
    assert Settings(host="::1", token="abc").address == "http://[::1]:8000/#token=abc"
