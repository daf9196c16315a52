"""The list of reports: what it finds, what it shows, and what a report may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("httpx", reason="the test client needs httpx")
from starlette.testclient import TestClient

from whet.web.app import create_app
from whet.web.settings import Settings


def report(**scores: float) -> dict[str, Any]:
    """Return a report in the form that ``whet evaluate`` writes, with gains by restorer."""
    rows: list[dict[str, Any]] = [{"restorer": "identity", "scores": {"psnr": {"mean": 25.5}}}]
    for name, gain in scores.items():
        estimate = {"mean": gain, "low": gain - 0.1, "high": gain + 0.1}
        rows.append({"restorer": name, "scores": {}, "gains": {"psnr": estimate}})
    suite = {"name": "defocus", "description": "a disc", "pictures": [{}, {}], "rows": rows}
    return {"schema": "whet-evaluation/1", "suites": [suite]}


@pytest.fixture
def site(tmp_path: Path) -> TestClient:
    folder = tmp_path / "reports"
    (folder / "small").mkdir(parents=True)
    (folder / "small" / "report.json").write_text(json.dumps(report(small=0.4, unsharp=-0.2)))
    (folder / "small" / "report.html").write_text("<p>all of it</p>")
    (folder / "lone.json").write_text(json.dumps(report(nano=0.1)))
    (folder / "other.json").write_text('{"schema": "something else"}')
    (folder / "broken.json").write_text("{")
    (folder / "odd.json").write_text('{"schema": "whet-evaluation/1", "suites": [3]}')
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "secret.json").write_text(json.dumps(report()))
    settings = Settings(reports=(folder,))
    return TestClient(create_app(settings), base_url="http://127.0.0.1:8000")


def test_reports_are_found_and_other_files_are_not(site: TestClient) -> None:
    found = {entry["name"]: entry for entry in site.get("/api/reports").json()}
    assert set(found) == {"small", "lone"}
    (suite,) = found["small"]["suites"]
    assert (suite["name"], suite["pictures"], suite["psnr_degraded"]) == ("defocus", 2, 25.5)
    gains = {gain["restorer"]: gain["mean"] for gain in suite["gains"]}
    assert gains == {"small": 0.4, "unsharp": -0.2}
    assert (found["small"]["page"], found["lone"]["page"]) == (True, False)


def test_a_report_opens_in_a_sandbox(site: TestClient) -> None:
    (entry,) = [e for e in site.get("/api/reports").json() if e["page"]]
    answer = site.get(f"/reports/{entry['id']}")
    assert answer.text == "<p>all of it</p>"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default")


def test_nothing_outside_the_named_folders_can_be_read(site: TestClient) -> None:
    for name in ("..%2Fsecret", "1-..-secret", "..-secret", "1-other", "1-lone"):
        assert site.get(f"/reports/{name}").status_code == 404


def test_without_folders_the_list_is_empty() -> None:
    site = TestClient(create_app(), base_url="http://127.0.0.1:8000")
    assert site.get("/api/reports").json() == []
