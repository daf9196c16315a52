"""Many pictures on the restore page: folders in, one ZIP out, and nothing lost on the way."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
from playwright.sync_api import expect
from restore_page import OURS, SOON, WAIT_MS, Visit, download, pick

from commandline import MakePicture, save, soften, succeed

COUNT = 14
"""More than the ten files a second that browsers let a page download."""


@pytest.fixture(scope="module")
def home(serving: Callable[..., str]) -> str:
    return serving()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> Path:
    """A folder with folders, in which two pictures share a name, and with what is no picture."""
    place = tmp_path_factory.mktemp("pictures") / "album"
    for number in range(COUNT):
        folder = place / ("day 1" if number % 2 else "day 2/évening")
        save(soften(picture(24, 32, seed=number)), folder / f"p{number // 2}.png")
    (place / "notes.txt").write_text("words")
    (place / ".hidden.png").write_text("hidden")
    (place / "day 1" / "._p0.png").write_text("what macOS leaves")
    return place


def members(album: Path) -> list[str]:
    pictures = [path for path in album.rglob("*.png") if not path.name.startswith(".")]
    names = (path.relative_to(album.parent).as_posix() for path in pictures)
    return sorted(name.removesuffix(".png") + "-whet.png" for name in names)


def all_restored(page: Any, count: int) -> None:
    expect(page.locator("#status")).to_contain_text(f"{count} of {count} restored", **SOON)


def take_all(page: Any, target: Path) -> str:
    with page.expect_download(timeout=WAIT_MS) as got:
        page.click("#downloadall")
    got.value.save_as(target)
    return str(got.value.suggested_filename)


def drop(page: Any, *paths: Path) -> None:
    """Drop files or folders as a visitor does: the browser itself reads them from the disk."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_folder_comes_back_as_one_zip(
    home: str, visit: Visit, album: Path, tmp_path: Path, way: str
) -> None:
    page = visit(home)
    downloads: list[Any] = []
    page.on("download", lambda download: downloads.append(download))
    if way == "chosen":
        page.set_input_files("#folder", str(album))
    else:
        drop(page, album)
    expect(page.locator("#strip button")).to_have_count(COUNT, **SOON)
    all_restored(page, COUNT)
    assert take_all(page, tmp_path / "all.zip") == "album.zip"
    assert len(downloads) == 1
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        assert packed.testzip() is None
        assert sorted(packed.namelist()) == members(album)
        one = packed.read("album/day 1/p3-whet.png")
    succeed("image", album / "day 1/p3.png", "-o", tmp_path / "cli.png", *OURS)
    assert one == (tmp_path / "cli.png").read_bytes()


def test_names_that_clash_and_notes_are_kept_apart_in_the_zip(
    home: str, visit: Visit, picture: MakePicture, tmp_path: Path
) -> None:
    save(soften(picture(24, 32)), tmp_path / "a.png")
    stream = io.BytesIO()
    Image.fromarray(soften(picture(24, 32))).save(stream, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(stream.getvalue()[:-2])
    page = visit(home)
    pick(page, tmp_path / "a.png", tmp_path / "a.png", tmp_path / "cut.jpg")
    all_restored(page, 3)
    page.locator("#strip button").nth(2).click()
    expect(page.locator("#notes li")).to_have_text(re.compile("end marker"))
    page.locator("#strength").fill("50")  # each is made anew
    assert take_all(page, tmp_path / "all.zip") == "whet.zip"
    with zipfile.ZipFile(tmp_path / "all.zip") as packed:
        names = ["a-whet (2).png", "a-whet.png", "cut-whet.jpg", "notes.txt"]
        assert sorted(packed.namelist()) == names
        notes = packed.read("notes.txt").decode()
        # The others may have notes of their own, such as that they hardly changed.
        assert "end marker" in notes.partition("cut-whet.jpg\n  ")[2]


def leaves(page: Any) -> bool:
    """Whether the page lets a visitor go without a warning."""
    event = "new Event('beforeunload', { cancelable: true })"
    return bool(page.evaluate(f"() => dispatchEvent({event})"))


def test_leaving_warns_as_long_as_something_would_be_lost(
    home: str, visit: Visit, album: Path, tmp_path: Path
) -> None:
    page = visit(home)
    pick(page, album / "day 1/p0.png")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    assert not leaves(page)
    download(page, tmp_path / "one.png")
    assert leaves(page)
    assert leaves(visit(home))


def test_pictures_are_removed_one_by_one_and_all_at_once(
    home: str, visit: Visit, album: Path
) -> None:
    page = visit(home)
    pick(page, *sorted((album / "day 1").glob("p[0-3].png")))
    strip = page.locator("#strip button")
    expect(strip).to_have_count(4)
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#name")).to_have_text("p1.png")
    strip.nth(2).focus()
    page.keyboard.press("Delete")
    expect(strip).to_have_count(2)
    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_role("heading", name="Soft pictures, sharper.")).to_be_visible()
    pick(page, album / "day 1/p0.png")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)


def test_a_file_that_is_gone_is_not_blamed_on_the_server(
    home: str, visit: Visit, album: Path, tmp_path: Path
) -> None:
    source = tmp_path / "gone.png"
    source.write_bytes((album / "day 1/p0.png").read_bytes())
    page = visit(home)
    pick(page, source)
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    source.unlink()
    page.locator("#models input").first.check()
    expect(page.locator("#status")).to_contain_text("can no longer be read", **SOON)


def test_a_wrong_token_is_called_wrong(
    serving: Callable[..., str], visit: Visit, album: Path
) -> None:
    page = visit(f"{serving(token='let-me-in')}#token=let-me-out")
    pick(page, album / "day 1/p0.png")
    wrong = page.get_by_text("That is not the token of this server.")
    expect(wrong).to_be_visible(**SOON)
    page.get_by_label("Token").fill("still wrong")
    page.keyboard.press("Enter")
    expect(wrong).to_be_visible(**SOON)
    page.get_by_label("Token").fill("let-me-in")
    page.keyboard.press("Enter")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)


def test_models_are_offered_in_words_with_one_time_each(home: str, visit: Visit) -> None:
    page = visit(home)
    page.click("#example")
    for word in ("fast", "balanced", "best"):
        expect(page.get_by_role("radio", name=re.compile(f"^{word}"))).to_be_visible(**SOON)
    times = page.locator("#models span")
    expect(times.nth(2)).to_have_text(re.compile(r"s/megapixel"), **SOON)
    expect(times.first).to_have_text(re.compile(r"s/megapixel"), **SOON)
    shown = times.all_inner_texts()[:3]
    for option in page.locator("#models input").all()[:3]:
        option.check()
        expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    page.reload()
    page.click("#example")
    expect(times.first).to_have_text(re.compile(r"s/megapixel"), **SOON)
    assert times.all_inner_texts()[:3] == shown


def test_the_page_opens_on_what_changed_most_at_full_size(
    home: str, visit: Visit, picture: MakePicture, tmp_path: Path
) -> None:
    whole = np.full((1400, 2000, 3), 128, np.uint8)
    squares = np.random.default_rng(0).integers(0, 256, (25, 32, 3), np.uint8)
    whole[1000:1200, 1600:1850] = soften(squares.repeat(8, 0).repeat(8, 1))[:, :250]
    save(whole, tmp_path / "corner.png")
    page = visit(home)
    pick(page, tmp_path / "corner.png")
    shown = page.locator(".tools output")
    expect(shown).to_have_text("100%", **SOON)
    view, box = (page.locator(s).bounding_box() for s in (".view", ".layer.before img"))
    assert view["x"] <= box["x"] + 1600
    assert box["x"] + 1850 <= view["x"] + view["width"]
    assert view["y"] <= box["y"] + 1000
    assert box["y"] + 1200 <= view["y"] + view["height"]
    page.get_by_role("button", name="Fit").click()
    page.locator("#models input").first.check()
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    expect(shown).not_to_have_text("100%")  # the visitor has chosen since


def test_holding_shows_what_was_before(home: str, visit: Visit, album: Path) -> None:
    page = visit(home)
    pick(page, album / "day 1/p0.png")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    after, button = page.locator(".layer.after img"), page.get_by_role("button", name="Hold")
    box = button.bounding_box()
    page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.mouse.down()
    expect(after).to_be_hidden()
    page.mouse.up()
    expect(after).to_be_visible()
    page.locator(".view").focus()
    page.keyboard.down("b")
    expect(after).to_be_hidden()
    page.keyboard.up("b")
    expect(after).to_be_visible()


def test_transparent_parts_show_squares_on_both_sides(
    home: str, visit: Visit, tmp_path: Path
) -> None:
    clear = np.zeros((60, 80, 4), np.uint8)
    clear[:, :40, 3] = 255
    save(clear, tmp_path / "clear.png")
    page = visit(home)
    pick(page, tmp_path / "clear.png")
    expect(page.locator("#facts")).to_have_text(re.compile(r"(^|, )restored"), **SOON)
    for layer in ("before", "after"):
        expect(page.locator(f".layer.{layer} img")).to_have_css(
            "background-image", re.compile("conic-gradient")
        )
    page.locator("#strength").fill("150")
    expect(page.locator(".layer.after canvas")).to_have_css(
        "background-image", re.compile("conic-gradient")
    )
