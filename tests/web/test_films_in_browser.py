"""Videos on the restore page: sent, followed, compared frame by frame, taken home."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
from films import film
from playwright.sync_api import expect
from restore_page import OURS, SOON, WAIT_MS, Visit, download, pick

from commandline import MakePicture, succeed


@pytest.fixture(scope="module")
def home(serving: Callable[..., str]) -> str:
    return serving(max_video_seconds=20)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    film(folder / "short.mp4", picture, frames=40, size=(320, 240))
    film(folder / "long.mp4", picture, frames=300, size=(640, 480))
    film(folder / "old.avi", picture, frames=8, codec="mpeg4")
    film(folder / "old.mkv", picture, frames=8, codec="mpeg4")
    film(folder / "endless.mp4", picture, seconds=60)
    (folder / "cut.mp4").write_bytes((folder / "short.mp4").read_bytes()[:4000])
    return folder


def restored(page: Any) -> None:
    expect(page.locator("#facts")).to_have_text(re.compile("restored at"), **SOON)


def forgotten(page: Any, home: str) -> None:
    """Wait until the server holds no video."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while "whet_videos 0.0" not in page.request.get(f"{home}metrics").text():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_a_video_is_restored_played_in_step_and_downloaded_as_the_command_line_writes_it(
    home: str, visit: Visit, clips: Path, tmp_path: Path
) -> None:
    asked: list[str] = []
    page = visit("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(home)
    pick(page, clips / "short.mp4")
    restored(page)
    videos = page.locator(".layer video")
    expect(videos).to_have_count(2)
    assert videos.evaluate_all("all => all.map((v) => [v.videoWidth, v.videoHeight])") == [
        [320, 240],
        [320, 240],
    ]
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('.layer.after video').currentTime > 0.3")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function(
        """() => { const [a, b] = document.querySelectorAll('.layer video');
            return a.paused && b.paused && Math.abs(a.currentTime - b.currentTime) < 0.001; }"""
    )
    page.get_by_role("slider", name="Position in the video").fill("1")
    times = videos.evaluate_all("all => all.map((v) => v.currentTime)")
    assert times == [1, 1]
    assert download(page, tmp_path / "web.mp4") == "short-whet.mp4"
    succeed("video", clips / "short.mp4", "-o", tmp_path / "cli.mp4", "--model", "small", *OURS)
    assert (tmp_path / "web.mp4").read_bytes() == (tmp_path / "cli.mp4").read_bytes()
    assert [u for u in asked if not u.startswith((home, f"blob:{home}", "about:"))] == []
    # The server has forgotten it.
    forgotten(page, home)


def test_a_strength_beyond_full_is_shown_on_frames_and_downloaded(
    home: str, visit: Visit, clips: Path, tmp_path: Path
) -> None:
    page = visit(home)
    pick(page, clips / "short.mp4")
    restored(page)
    page.locator("#strength").fill("180")
    canvas = page.locator(".layer.after canvas")
    expect(canvas).to_have_count(1)
    first = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("slider", name="Position in the video").fill("0.8")
    page.wait_for_function(
        "first => document.querySelector('.layer.after canvas').toDataURL() !== first", arg=first
    )
    download(page, tmp_path / "web.mp4")
    words = ("--model", "small", "--strength", 1.8, *OURS)
    succeed("video", clips / "short.mp4", "-o", tmp_path / "cli.mp4", *words)
    assert (tmp_path / "web.mp4").read_bytes() == (tmp_path / "cli.mp4").read_bytes()


def test_progress_is_told_and_a_video_can_be_stopped_and_started_again(
    home: str, visit: Visit, clips: Path
) -> None:
    page = visit(home)
    pick(page, clips / "long.mp4")
    expect(page.locator("#facts")).to_have_text(
        re.compile(r"640 . 480, frame \d+ of 300, \d+\.\d frames / s, \d+ (s|min) left"), **SOON
    )
    assert 0 < float(page.locator("#progress").get_attribute("value") or 0) < 1
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#facts")).to_have_text(re.compile("stopped"), **SOON)
    forgotten(page, home)
    page.get_by_role("button", name="Restore this video").click()
    expect(page.locator("#facts")).to_have_text(re.compile("frame"), **SOON)
    # Whoever goes elsewhere takes the work along.
    page.goto(f"{home}reports")
    forgotten(page, home)


def test_what_the_browser_cannot_play_is_restored_all_the_same(
    home: str, visit: Visit, clips: Path, tmp_path: Path
) -> None:
    page = visit(home)
    pick(page, clips / "old.mkv")
    expect(page.locator(".message")).to_contain_text("cannot play old.mkv", **SOON)
    restored(page)
    assert download(page, tmp_path / "out.mkv") == "old-whet.mkv"
    assert (tmp_path / "out.mkv").stat().st_size > 1000


def test_a_result_that_plays_is_shown_alone_where_its_source_does_not(
    home: str, visit: Visit, clips: Path, tmp_path: Path
) -> None:
    page = visit(home)
    pick(page, clips / "old.avi")
    restored(page)
    expect(page.locator(".layer video")).to_have_count(1)
    expect(page.locator(".message")).to_be_hidden()
    assert download(page, tmp_path / "out.mp4") == "old-whet.mp4"


def test_hostile_and_long_videos_are_named_and_the_others_go_on(
    home: str, visit: Visit, clips: Path
) -> None:
    page = visit(home)
    pick(page, clips / "cut.mp4", clips / "endless.mp4", clips / "short.mp4")
    expect(page.locator("#status")).to_contain_text("1 of 3 restored", **SOON)
    said = page.inner_text("#status")
    assert "cut.mp4: the video is no video, or it is incomplete" in said
    assert "endless.mp4: the video lasts" in said


def test_a_large_file_that_is_no_video_is_refused_in_words(
    serving: Callable[..., str], visit: Visit, tmp_path: Path
) -> None:
    """The server answers before it has read all; the browser must hear it nevertheless."""
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"not a film " * 3_000_000)
    page = visit(serving())
    pick(page, junk)
    expect(page.locator("#status")).to_contain_text("junk.mp4: this is no video", **SOON)


def test_too_large_a_video_is_refused_before_it_is_sent(
    serving: Callable[..., str], visit: Visit, clips: Path
) -> None:
    page = visit(serving(max_video_bytes=1000))
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    pick(page, clips / "short.mp4")
    expect(page.locator("#status")).to_contain_text("the limit is")
    assert "PUT" not in asked
    assert "POST" not in asked


def test_videos_ask_for_the_token_where_it_is_needed(
    serving: Callable[..., str], visit: Visit, clips: Path
) -> None:
    page = visit(serving(token="let-me-in"))
    pick(page, clips / "short.mp4")
    page.get_by_label("Token").fill("let-me-in")
    page.keyboard.press("Enter")
    restored(page)
