"""The live page: a camera sharpened in the browser, and the folder that any server can host."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
from starlette.testclient import TestClient

from whet.artifact import shipped
from whet.errors import InputError, ModelError
from whet.files import file_sha256
from whet.web.app import create_app
from whet.web.live import onnxruntime_web, routes
from whet.web.live.onnxruntime_web import FILES, PACKAGE, fetch_runtime, runtime_folder

HOME = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packed package in the layout of the real one, known to whet by its sha256."""
    path = tmp_path / "packed.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*FILES, "ort.all.mjs"):
            content = f"this is {name}".encode()
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    known = PACKAGE.__class__(**{**vars(PACKAGE), "sha256": file_sha256(path)})
    monkeypatch.setattr(onnxruntime_web, "PACKAGE", known)
    return path


def test_without_the_runtime_the_page_is_told_so() -> None:
    with TestClient(create_app(), base_url=HOME) as site:
        assert site.get("/live.json").json()["runtime"] is None
        answer = site.get("/runtime/ort.wasm.min.mjs")
        assert answer.status_code == 404
        assert "ask this server's owner to fetch it" in answer.json()["detail"]


def test_the_runtime_is_fetched_verified_and_served(package: Path) -> None:
    folder = fetch_runtime(archive=package)
    assert runtime_folder() == folder
    assert {path.name for path in folder.iterdir()} == {*FILES, "SHA256SUMS"}
    with TestClient(create_app(), base_url=HOME) as site:
        assert site.get("/live.json").json()["runtime"] == PACKAGE.version
        for name, kind in FILES.items():
            answer = site.get(f"/runtime/{name}")
            assert answer.text == f"this is {name}"
            assert answer.headers["content-type"].startswith(kind)
        for name in ("SHA256SUMS", "..%2F..%2Fpacked.tgz", "ort.all.mjs"):
            assert site.get(f"/runtime/{name}").status_code == 404
        assert site.get("/models/nano.onnx").content == shipped()["nano"].read_bytes()


def test_another_package_is_refused_and_nothing_is_kept(package: Path, cache: Path) -> None:
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="nothing was kept"):
        fetch_runtime(archive=package)
    assert list(cache.iterdir()) == []


def test_a_changed_file_is_noticed(package: Path) -> None:
    (fetch_runtime(archive=package) / "ort.wasm.min.mjs").write_text("something else")
    with pytest.raises(ModelError, match="run: whet serve --fetch"):
        runtime_folder()
    fetch_runtime(archive=package)
    assert runtime_folder() is not None


def test_every_answer_isolates_the_page_as_threads_need() -> None:
    with TestClient(create_app(), base_url=HOME) as site:
        for address in ("/live", "/app/live-worker.js", "/models/nano.onnx", "/nope"):
            headers = site.get(address).headers
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert "default-src 'none'" in headers["content-security-policy"]


def test_the_export_holds_everything_the_page_loads(package: Path, tmp_path: Path) -> None:
    fetch_runtime(archive=package)
    target = tmp_path / "site"
    routes.export_pages(target)
    page = (target / "index.html").read_text()
    assert "<nav" not in page
    assert 'http-equiv="Content-Security-Policy"' in page
    assert (target / "app" / "live-worker.js").is_file()
    assert (target / "models" / "nano.onnx").read_bytes() == shipped()["nano"].read_bytes()
    assert {path.name for path in (target / "runtime").iterdir()} >= set(FILES)
    assert json.loads((target / "live.json").read_text())["runtime"] == PACKAGE.version
    assert "Cross-Origin-Embedder-Policy: require-corp" in (target / "_headers").read_text()


def test_the_export_replaces_nothing_and_needs_the_runtime(package: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--fetch"):
        routes.export_pages(tmp_path / "site")
    fetch_runtime(archive=package)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="name a new folder"):
        routes.export_pages(tmp_path / "mine")
    with pytest.raises(InputError, match="create it first"):
        routes.export_pages(tmp_path / "absent" / "site")
