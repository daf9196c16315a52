"""What axe-core finds on every page, in light and in dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
pytest.importorskip("axe_playwright_python", reason="needs the extra browser")
from axe_playwright_python.sync_playwright import Axe
from films import film
from playwright.sync_api import expect
from studies import build_study

from commandline import MakePicture

Visit = Callable[..., Any]
SOON = {"timeout": 120_000}
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def site(
    serving: Callable[..., str], tmp_path_factory: pytest.TempPathFactory, picture: MakePicture
) -> tuple[str, str]:
    """The address of a server, and that of a study on it."""
    folder = tmp_path_factory.mktemp("studies") / "one"
    plan = build_study(folder, picture, scenes=2)
    home = serving(studies=(folder,))
    return home, f"{home}study/{plan.id}"


def faults(page: Any) -> list[str]:
    """Return what is serious or critical, with where it is."""
    # Colours are measured as they are, not half-way through a transition.
    page.wait_for_timeout(300)
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['impact']} {fault['id']}: {node['html']} ({node['failureSummary']})"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_have_no_serious_fault(
    site: tuple[str, str], visit: Visit, scheme: str, picture: MakePicture, tmp_path: Path
) -> None:
    home, _ = site
    found = {}
    page = visit(home, color_scheme=scheme)
    found["/"] = faults(page)
    page.click("#example")
    expect(page.locator("#psnr1")).to_have_text(re.compile(r"\d"), **SOON)
    found["a picture"] = faults(page)
    page.goto(home)
    page.set_input_files("#files", str(film(tmp_path / "a.mp4", picture, frames=6)))
    expect(page.locator("#facts")).to_have_text(re.compile("restored at"), **SOON)
    found["a video"] = faults(page)
    page.goto(home)
    (tmp_path / "words.png").write_text("These are words.")
    page.set_input_files("#files", str(tmp_path / "words.png"))
    expect(page.locator(".message")).to_contain_text("no picture", **SOON)
    found["no picture"] = faults(page)
    for name in ("live", "reports", "study"):
        page.goto(home + name)
        page.wait_for_load_state("networkidle")
        found[name] = faults(page)
    assert {name: list_ for name, list_ in found.items() if list_} == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_study_has_no_serious_fault(site: tuple[str, str], visit: Visit, scheme: str) -> None:
    _, address = site
    found = {}
    page = visit(address, color_scheme=scheme)
    expect(page.locator("#consent")).to_be_visible(**SOON)
    found["consent"] = faults(page)
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#interlude")).to_be_visible(**SOON)
    found["training"] = faults(page)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#answers button:not([aria-disabled])")).to_have_count(5, **SOON)
    found["a trial"] = faults(page)
    page.get_by_role("button", name="Pause").click()
    found["a pause"] = faults(page)
    page.get_by_role("button", name="Go on").click()
    page.set_viewport_size({"width": 600, "height": 150})
    expect(page.locator("#narrow")).to_be_visible()
    found["too small"] = faults(page)
    assert {name: list_ for name, list_ in found.items() if list_} == {}


def test_the_search_for_faults_finds_one(visit: Visit, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<html lang="en"><title>x</title><main><h1>x</h1><img src="x.png"></main>')
    assert "image-alt" in str(faults(visit(bad.as_uri())))
