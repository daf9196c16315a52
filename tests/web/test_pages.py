"""The pages in a real browser: what a visitor sees, moves, reads and takes home."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
from playwright.sync_api import expect
from restore_page import OURS, SOON, Visit, download, pick

from commandline import MakePicture, load, save, soften, succeed
from whet.web.pages.template import FOLDER, PAGES

PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def home(serving: Callable[..., str]) -> str:
    return serving(max_bytes=2**22, max_pixels=2**20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> Path:
    """Pictures to pick: a blurred JPEG with its sharp original, a TIFF, and what is none."""
    place = tmp_path_factory.mktemp("pictures")
    sharp = picture(240, 320)
    save(sharp, place / "sharp.png")
    Image.fromarray(soften(sharp)).save(place / "soft.jpg", quality=90)
    Image.fromarray(soften(sharp)).save(place / "scan.tif")
    Image.fromarray(soften(sharp)).save(place / "soft.png")
    (place / "words.png").write_text("These are words, not pixels.")
    (place / "clip.mp4").write_bytes(bytes(64))
    return place


def restored(page: Any) -> None:
    """Wait until the picture on show is restored."""
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)


# Restore


def test_a_picture_is_restored_compared_and_downloaded_as_the_command_line_writes_it(
    home: str, visit: Visit, folder: Path, tmp_path: Path
) -> None:
    page = visit(home)
    pick(page, folder / "soft.jpg")
    restored(page)
    assert download(page, tmp_path / "full.jpg") == "soft-whet.jpg"
    page.focus("#strength")
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#strengthvalue")).to_have_text("40%")
    download(page, tmp_path / "weak.jpg")
    page.locator("#strength").fill("150")
    expect(page.locator("#strengthvalue")).to_have_text("150%")
    download(page, tmp_path / "strong.jpg")
    for name, strength in (("full", 1), ("weak", 0.4), ("strong", 1.5)):
        target = tmp_path / f"{name}-cli.jpg"
        succeed("image", folder / "soft.jpg", "-o", target, "--strength", strength, *OURS)
        assert (tmp_path / f"{name}.jpg").read_bytes() == target.read_bytes()
    assert not np.array_equal(load(tmp_path / "full.jpg"), load(tmp_path / "weak.jpg"))


def test_the_strength_slider_answers_without_the_server(
    home: str, visit: Visit, folder: Path
) -> None:
    page = visit(home)
    pick(page, folder / "sharp.png")
    restored(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    layer = page.locator(".layer.after")
    full = page.locator(".view").screenshot()
    page.locator("#strength").fill("25")
    expect(layer).to_have_css("opacity", "0.25")
    assert page.locator(".view").screenshot() != full
    assert asked == []


@pytest.mark.parametrize("percent", [125, 200])
def test_strengths_beyond_full_are_shown_at_once_as_the_download_has_them(
    home: str, visit: Visit, folder: Path, tmp_path: Path, percent: int
) -> None:
    page = visit(home)
    pick(page, folder / "soft.png")
    restored(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#strength").fill(str(percent))
    shown = pixels_of(page, ".layer.after canvas")
    assert asked == []
    download(page, tmp_path / "strong.png")
    strong, soft = load(tmp_path / "strong.png"), load(folder / "soft.png")
    error = np.abs(shown.astype(int) - strong)
    assert error.max() <= 2
    assert np.abs(strong.astype(int) - soft).max() > 20
    # Back at full strength the restored picture itself is on top again.
    page.locator("#strength").fill("100")
    expect(page.locator(".layer.after canvas")).to_have_count(0)


def pixels_of(page: Any, selector: str) -> NDArray[np.uint8]:
    """Return what a canvas holds."""
    url = page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def test_a_turned_photograph_is_turned_at_every_strength(
    home: str, visit: Visit, picture: MakePicture, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright
    source = tmp_path / "turned.jpg"
    Image.fromarray(soften(picture(60, 90))).save(source, quality=95, exif=exif)
    page = visit(home)
    pick(page, source)
    restored(page)
    page.locator("#strength").fill("110")
    shown = pixels_of(page, ".layer.after canvas")
    upright = np.rot90(load(source), -1)
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).mean() < 8


def test_without_webgl_the_page_says_where_its_preview_ends(
    home: str, visit: Visit, folder: Path
) -> None:
    page = visit("about:blank")
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(home)
    page.evaluate("document.querySelector('#files').accept")
    pick(page, folder / "sharp.png")
    page.locator("#strength").fill("150")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored|cannot"), **SOON)
    page.locator("#strength").fill("160")
    expect(page.locator("#status")).to_contain_text("shows up to 100%")


def test_the_example_is_restored_and_scored_against_its_sharp_original(
    home: str, visit: Visit
) -> None:
    page = visit(home)
    page.click("#example")
    expect(page.locator("#psnr1")).to_have_text(re.compile(r"^\d\d\.\d\d$"), **SOON)
    assert float(page.inner_text("#psnr1")) > float(page.inner_text("#psnr0"))


def test_the_boundary_moves_by_key_and_by_pointer(home: str, visit: Visit, folder: Path) -> None:
    page = visit(home)
    pick(page, folder / "soft.jpg")
    restored(page)
    handle = page.get_by_role("slider", name="Boundary between before and after")
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "52")
    page.keyboard.press("Home")
    expect(handle).to_have_attribute("aria-valuenow", "0")
    box = page.locator(".view").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 40)
    page.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", "75")


def test_a_hundred_percent_shows_each_pixel_once_and_pans(
    home: str, visit: Visit, folder: Path
) -> None:
    page = visit(home, viewport=PHONE)
    pick(page, folder / "soft.jpg")
    restored(page)
    picture = page.locator(".layer.before img")
    page.get_by_role("button", name="100%").click()
    assert picture.bounding_box()["width"] == pytest.approx(320, abs=0.5)
    page.get_by_role("button", name="Zoom in").click()
    left = picture.bounding_box()["x"]
    page.locator(".view").focus()
    page.keyboard.press("ArrowRight")
    assert picture.bounding_box()["x"] == pytest.approx(left - 40, abs=1)
    page.keyboard.press("0")
    whole, view = picture.bounding_box(), page.locator(".view").bounding_box()
    assert whole["width"] <= view["width"] + 1
    assert whole["x"] >= view["x"] - 1


def test_a_batch_goes_on_past_what_is_no_picture_and_says_so(
    home: str, visit: Visit, folder: Path
) -> None:
    page = visit(home)
    names = ("words.png", "soft.jpg", "scan.tif", "clip.mp4")
    pick(page, *(folder / name for name in names))
    expect(page.locator("#status")).to_contain_text("2 of 4 restored", **SOON)
    # The server looks at videos and at pictures side by side: which sentence comes last is open.
    status = page.locator("#status")
    for refusal in (
        "words.png: the picture is no picture that whet can read",
        "clip.mp4: this is no video that whet can read",
    ):
        expect(status).to_contain_text(refusal, **SOON)
    expect(page.get_by_role("button", name="words.png cannot be restored")).to_be_visible()
    page.get_by_role("button", name="scan.tif is restored").click()
    restored(page)
    expect(page.locator(".layer.before img")).to_be_visible()


def test_a_reference_shows_scores_that_follow_the_strength(
    home: str, visit: Visit, folder: Path
) -> None:
    page = visit(home)
    pick(page, folder / "soft.jpg")
    restored(page)
    page.set_input_files("#referencefile", str(folder / "sharp.png"))
    after = page.locator("#psnr1")
    expect(after).to_have_text(re.compile(r"^\d\d\.\d\d$"), **SOON)
    before = [page.inner_text(f"#{name}0") for name in ("psnr", "ssim")]
    # Both, since a model may leave one of them as it was to the last digit.
    assert [page.inner_text(f"#{name}1") for name in ("psnr", "ssim")] != before
    page.locator("#strength").fill("0")
    page.dispatch_event("#strength", "change")
    expect(after).to_have_text(before[0], **SOON)
    expect(page.locator("#ssim1")).to_have_text(before[1], **SOON)


def test_a_pasted_picture_is_taken(home: str, visit: Visit) -> None:
    page = visit(home)
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(64, 48);
            canvas.getContext("2d").fillRect(8, 8, 20, 20);
            const file = new File([await canvas.convertToBlob()], "", { type: "image/png" });
            const clipboardData = new DataTransfer();
            clipboardData.items.add(file);
            dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }"""
    )
    restored(page)
    expect(page.locator("#facts")).to_have_text(re.compile("64 . 48"))


def test_a_token_is_taken_from_the_address_and_asked_for_where_it_is_missing(
    serving: Callable[..., str], visit: Visit, folder: Path
) -> None:
    guarded = serving(token="let-me-in")
    page = visit(f"{guarded}#token=let-me-in")
    assert page.url == guarded
    pick(page, folder / "soft.jpg")
    restored(page)
    page = visit(guarded)
    pick(page, folder / "soft.jpg")
    page.get_by_label("Token").fill("let-me-in")
    page.keyboard.press("Enter")
    restored(page)


# Every page


@pytest.mark.parametrize("address", PAGES)
def test_no_page_makes_an_outside_request(
    address: str, home: str, visit: Visit, folder: Path
) -> None:
    asked: list[str] = []
    page = visit("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(home + address[1:])
    if address == "/":
        pick(page, folder / "soft.jpg")
        restored(page)
    elif address == "/reports":
        expect(page.locator("#reports .card")).to_be_visible(**SOON)
    page.wait_for_load_state("networkidle")
    outside = [url for url in asked if not url.startswith((home, f"blob:{home}", "data:"))]
    assert asked
    assert outside == []


@pytest.mark.parametrize("address", PAGES)
def test_pages_fit_a_phone(address: str, home: str, visit: Visit, folder: Path) -> None:
    page = visit(home + address[1:], viewport=PHONE)
    if address == "/":
        pick(page, folder / "soft.jpg", folder / "scan.tif")
        restored(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("address", PAGES)
def test_what_can_be_pressed_has_a_name(
    address: str, home: str, visit: Visit, folder: Path
) -> None:
    page = visit(home + address[1:])
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input:not([hidden]), select")]
            .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.querySelectorAll('h1').length") >= 1


# Live


def test_the_live_page_says_what_to_run_without_the_runtime(
    home: str, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.web.live.routes.runtime_folder", lambda: None)
    page = visit(home + "live")
    expect(page.get_by_text("whet serve --fetch")).to_be_visible()
    expect(page.get_by_role("button", name="Start the camera")).to_have_count(0)


def test_reports_are_shown_with_their_intervals(
    serving: Callable[..., str], visit: Visit, tmp_path: Path
) -> None:
    gain = {"mean": 0.42, "low": 0.31, "high": 0.5}
    rows = [
        {"restorer": "identity", "scores": {"psnr": {"mean": 25.5}}},
        {"restorer": "small", "gains": {"psnr": gain}},
    ]
    suite = {"name": "defocus", "description": "", "pictures": [{}], "rows": rows}
    content = {"schema": "whet-evaluation/1", "suites": [suite]}
    (tmp_path / "report.json").write_text(json.dumps(content))
    (tmp_path / "report.html").write_text("<h1>All of it</h1>")
    page = visit(serving(reports=(tmp_path,)) + "reports")
    expect(page.get_by_role("row", name=re.compile("defocus"))).to_contain_text(
        re.compile(r"\+0\.42\s*\+0\.31 to \+0\.50"), **SOON
    )
    page.get_by_role("link", name=re.compile("Open the full report")).click()
    expect(page.get_by_role("heading", name="All of it")).to_be_visible()


# What the browser is sent


def test_the_bundle_stays_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert 0 < sum(sizes) <= 200_000


def test_no_file_of_the_pages_names_another_site() -> None:
    found = {
        url
        for path in FOLDER.rglob("*")
        if path.is_file()
        for url in re.findall(rb"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", path.read_bytes())
    }
    assert found == {b"http://www.w3.org/2000/svg"}


def test_scripts_and_styles_stand_in_files_of_their_own() -> None:
    for page in FOLDER.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text), page.name
