"""Whole studies in a real browser: several participants at once, a server that is killed."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
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
from studies import build_study

from commandline import MakePicture
from whet import image
from whet.study.design import Rating, completion, picture_name, session
from whet.study.plan import DEGRADED, PICTURES, RUINED, SHARP, Plan
from whet.study.statistics.analysis import analyse
from whet.study.store import Store

Visit = Callable[..., Any]
WAIT_MS = 120_000
SOON = {"timeout": WAIT_MS}

LIKED = {RUINED: 1, DEGRADED: 1, "weakling": 3, "champion": 4, SHARP: 5}
"""What a participant answers, by condition."""

STEEPNESS = """() => {
    const image = document.querySelector("#pictures img");
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let y = 0; y < height; y++)
        for (let x = 1; x < width; x++) {
            const at = 4 * (y * width + x) + 1;
            sum += Math.abs(data[at] - data[at - 4]);
        }
    return sum / (height * (width - 1));
}"""
AT_HAND = """(last) => {
    const shown = (id) => !document.getElementById(id).hidden;
    const place = document.getElementById("place").textContent;
    const open = document.querySelector("#answers button:not([aria-disabled])");
    return shown("end") || shown("interlude") || (shown("trial") && place !== last && open);
}"""


def steepness(pixels: NDArray[np.uint8]) -> float:
    """Return the mean difference of horizontal neighbours, in green."""
    return float(np.abs(np.diff(pixels[..., 1].astype(np.int64), axis=1)).mean())


class Eyes:
    """Participants who look at the pixels on the page, and like sharp pictures."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.scenes = (*plan.scenes, *plan.practice_scenes)
        self.known = {
            steepness(
                image.read(folder / PICTURES / picture_name(plan.secret, scene, name)).pixels
            ): (scene, name)
            for scene in self.scenes
            for name in (*plan.conditions, RUINED, SHARP)
        }

    def recognise(self, seen: float) -> tuple[str, str]:
        nearest = min(self.known, key=lambda known: abs(known - seen))
        assert nearest == pytest.approx(seen, rel=1e-3)
        return self.known[nearest]

    def opinion(self, person: int, scene: str, condition: str) -> int:
        """Return an answer; people differ a little on the scenes that count."""
        liked, place = LIKED[condition], self.scenes.index(scene)
        if place < len(self.scenes) - 1 and (person + place) % 3 == 0:
            return liked + 1 if liked == 1 else liked - 1
        return liked


class Browser:
    """One participant's page; keeps what was asked for and what was acknowledged."""

    def __init__(self, visit: Visit, address: str, person: int, **context: Any) -> None:
        self.person, self.place = person, ""
        self.asked: list[str] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.page = visit("about:blank", **context)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("response", self._note)
        self.page.goto(address)
        self.page.get_by_label("I have read this").check()
        self.page.get_by_role("button", name="Start").click()

    def _note(self, response: Any) -> None:
        if response.request.method == "POST" and "/trials/" in response.url and response.ok:
            answer = response.request.post_data_json["answer"]
            self.acknowledged.append((response.url.rpartition("/")[2], answer))

    def come(self) -> bool:
        """Wait for the next trial, past breaks; return whether there is one."""
        while True:
            self.page.wait_for_function(AT_HAND, arg=self.place, timeout=WAIT_MS)
            if self.page.is_visible("#end"):
                return False
            if not self.page.is_visible("#interlude"):
                self.place = self.page.inner_text("#place")
                return True
            self.page.get_by_role("button", name="Continue").click()
            expect(self.page.locator("#interlude")).to_be_hidden(**SOON)

    def answer(self, value: int) -> None:
        """Give an answer: by a number, by a double click, or by arrows and Enter."""
        keyboard = self.page.keyboard
        if self.person % 3 == 0:
            keyboard.press(str(value))
        elif self.person % 3 == 1:
            self.page.locator(f"#answers button >> nth={value - 1}").dblclick()
        else:
            for _ in range(value):
                keyboard.press("ArrowRight")
            keyboard.press("Enter")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def plans(folder: Path, picture: MakePicture) -> dict[str, Plan]:
    """Study by name; the first person of each study must be its test's own."""
    few = {"practice": 1, "repeats": 0, "gold": 0, "scenes": 2}
    return {
        "whole": build_study(folder / "whole", picture, scenes=4),
        "acr": build_study(folder / "acr", picture, **few),
        "large": build_study(folder / "large", picture, size=(270, 360), protocol="dcr", **few),
        "dcr": build_study(folder / "dcr", picture, protocol="dcr", **few),
        "pairs": build_study(folder / "pairs", picture, protocol="pairs", **few),
    }


@pytest.fixture(scope="module")
def addresses(serving: Callable[..., str], folder: Path, plans: dict[str, Plan]) -> dict[str, str]:
    home = serving(studies=(folder,))
    return {name: f"{home}study/{plan.id}" for name, plan in plans.items()}


def stored(folder: Path, plan: Plan) -> list[Rating]:
    store = Store.open(folder)
    try:
        return store.ratings(plan.id)
    finally:
        store.close()


def positions(plan: Plan, people: int) -> dict[str, tuple[int, int]]:
    """Return trial id -> (participant, position)."""
    return {
        trial.id: (number, trial.position)
        for number in range(people)
        for trial in session(plan, number)
    }


def test_three_participants_at_once_and_every_acknowledged_answer_is_there_once(
    addresses: dict[str, str], plans: dict[str, Plan], folder: Path, visit: Visit
) -> None:
    plan, address = plans["whole"], addresses["whole"]
    eyes = Eyes(plan, folder / "whole")
    people = [Browser(visit, address, person) for person in range(3)]
    while all(going := [one.come() for one in people]):
        seen = [eyes.recognise(one.page.evaluate(STEEPNESS)) for one in people]
        for one, what in zip(people, seen, strict=True):
            one.answer(eyes.opinion(one.person, *what))
    assert not any(going)
    ratings = stored(folder / "whole", plan)
    where = positions(plan, 3)
    acknowledged = [(*where[t], a) for one in people for t, a in one.acknowledged]
    assert Counter((r.participant, r.position, r.answer) for r in ratings) == Counter(acknowledged)
    assert len(ratings) == 3 * len(session(plan, 0))
    for one in people:
        (number,) = {where[trial][0] for trial, _ in one.acknowledged}
        own = [r for r in ratings if r.participant == number]
        assert [r.answer for r in own] == [
            eyes.opinion(one.person, r.scene, r.candidate) for r in own
        ]
        expect(one.page.locator("#endtext")).to_contain_text(f"All {len(own)} answers are kept")
    home = address.partition("study/")[0]
    outside = [u for one in people for u in one.asked if not u.startswith((home, f"blob:{home}"))]
    assert outside == []
    # This browser is in more of a hurry than people are.
    result = analyse(plan, [replace(rating, elapsed_ms=2000) for rating in ratings])
    assert result.kept == 3
    liked = sorted(result.scores, key=lambda score: score.mos.value)
    assert [score.condition for score in liked] == [DEGRADED, "weakling", "champion", SHARP]


# A server that dies


def test_a_killed_server_loses_and_doubles_no_answer(
    command: Any, plans: dict[str, Plan], folder: Path, visit: Visit
) -> None:
    plan = plans["acr"]
    server = command("--study", folder / "acr")
    address = f"{command.home}study/{plan.id}"
    reloads, waits = Browser(visit, address, 0), Browser(visit, address, 3)
    for value in (2, 3):
        for one in (reloads, waits):
            assert one.come()
            one.answer(value)
    assert reloads.come()
    assert waits.come()
    reloads.answer(4)  # on its way when the server dies, or not
    server.kill()
    server.wait()
    waits.answer(5)  # nobody is there
    expect(waits.page.locator("#status")).to_contain_text("Trying again", **SOON)
    assert len(waits.acknowledged) == 2
    command("--study", folder / "acr")
    reloads.page.reload()
    reloads.place = ""  # the trial on show may be the one from before
    assert waits.come()  # its answer was sent again, without a reload
    assert waits.acknowledged[2][1] == 5
    waits.answer(1)
    for one in (reloads, waits):
        while one.come():
            one.answer(1)
    ratings = stored(folder / "acr", plan)
    found = Counter((r.participant, r.position) for r in ratings)
    assert found == Counter(positions(plan, 2).values())
    where = positions(plan, 2)
    acknowledged = {(*where[t], a) for one in (reloads, waits) for t, a in one.acknowledged}
    assert acknowledged <= {(r.participant, r.position, r.answer) for r in ratings}
    # One answer may have been kept whose acknowledgement died with the server.
    assert len(acknowledged) >= len(ratings) - 1


# What a participant sees


def test_triplets_and_pairs_stand_side_by_side_at_full_size(
    addresses: dict[str, str], visit: Visit
) -> None:
    for name, captions in {
        "dcr": ["before", "the picture to rate", "the sharp original"],
        "pairs": ["left", "right"],
    }.items():
        one = Browser(visit, addresses[name], 0)
        assert one.come()
        expect(one.page.locator("figcaption")).to_have_text(captions)
        boxes = [picture.bounding_box() for picture in one.page.locator("figure img").all()]
        assert {(box["width"], box["height"]) for box in boxes} == {(120, 90)}
        assert len({box["y"] for box in boxes}) == 1
        assert [box["x"] for box in boxes] == sorted({box["x"] for box in boxes})
    one.page.keyboard.press("ArrowRight")
    expect(one.page.get_by_role("button", name="right picture")).to_be_focused()
    one.page.keyboard.press("Enter")
    assert one.come()
    assert one.acknowledged[0][1] == 2


def test_who_comes_from_a_panel_goes_back_to_it_with_a_code(
    serving: Callable[..., str], folder: Path, picture: MakePicture, visit: Visit
) -> None:
    few = {"practice": 0, "repeats": 0, "gold": 0, "scenes": 1}
    own = build_study(folder / "paid" / "own", picture, external="PROLIFIC_PID", **few)
    back = "https://panel.example/done?cc=C0DE"
    link = build_study(folder / "paid" / "link", picture, completion=back, **few)
    home = serving(studies=(folder / "paid",))
    lost = visit(f"{home}study/{own.id}")
    lost.get_by_label("I have read this").check()
    expect(lost.locator("#missing")).to_contain_text("the link that your panel gave you")
    expect(lost.get_by_role("button", name="Start")).to_be_disabled()
    for address, plan in ((f"{own.id}?PROLIFIC_PID=5f3a", own), (link.id, link)):
        one = Browser(visit, f"{home}study/{address}", 0)
        while one.come():
            one.answer(1)
        if plan is own:
            expect(one.page.locator("#completion code")).to_have_text(completion(own, 0))
            assert "5f3a" not in one.page.url
        else:
            shown = one.page.get_by_role("link", name="Tell your panel")
            expect(shown).to_have_attribute("href", back)
    store = Store.open(folder / "paid" / "own")
    assert [who.external for who in store.progress(own.id)] == ["5f3a"]
    store.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_trials_stand_on_mid_grey_whatever_the_colours_of_the_rest(
    addresses: dict[str, str], visit: Visit, scheme: str
) -> None:
    one = Browser(visit, addresses["dcr"], 0, color_scheme=scheme)
    assert one.come()
    data = one.page.screenshot()
    corners = np.array(Image.open(io.BytesIO(data)).convert("RGB"))[[1, -2], :][:, [1, -2]]
    assert (corners == 0x6E).all()


def test_a_second_click_does_not_rate_a_picture_that_has_just_appeared(
    addresses: dict[str, str], visit: Visit
) -> None:
    one = Browser(visit, addresses["pairs"], 0)
    assert one.come()
    one.answer(1)
    assert one.come()  # past the words between training and the rest
    one.page.evaluate(
        """() => new Promise((clicked) => {
            const click = () => document.querySelector("#answers button").click();
            new MutationObserver((_, watch) => {
                watch.disconnect();
                click();
                clicked();
            }).observe(document.getElementById("answers"), { childList: true });
            click();
        })"""
    )
    assert one.come()
    one.page.wait_for_timeout(500)
    assert len(one.acknowledged) == 2


def test_pixels_cover_whole_pixels_of_a_dense_screen(
    addresses: dict[str, str], visit: Visit
) -> None:
    for ratio, width in ((1.25, 96), (2, 120), (2.625, 120 * 2 / 2.625)):
        one = Browser(visit, addresses["dcr"], 0, device_scale_factor=ratio)
        assert one.come()
        shown = one.page.locator(".candidate img").bounding_box()["width"]
        assert shown == pytest.approx(width, abs=0.05)


def test_a_small_or_zoomed_window_is_refused_before_and_covered_during_the_study(
    addresses: dict[str, str], plans: dict[str, Plan], visit: Visit
) -> None:
    display = plans["large"].display
    small = {"width": display.width_px - 1, "height": display.height_px}
    large = {"width": display.width_px, "height": display.height_px}
    page = visit(addresses["large"], viewport=small)
    page.get_by_label("I have read this").check()
    expect(page.locator("#checks")).to_contain_text(f"it takes {display.width_px}")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.set_viewport_size(large)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#trial")).to_be_visible(**SOON)
    page.set_viewport_size(small)
    expect(page.get_by_role("heading", name="Please make room")).to_be_visible()
    expect(page.locator("#trial")).to_be_hidden()
    page.set_viewport_size(large)
    expect(page.locator("#trial")).to_be_visible(**SOON)
    page = visit("about:blank")
    # The browser's own zoom cannot be driven from here; this is what a page sees of it.
    page.add_init_script("Object.defineProperty(window, 'outerWidth', {value: innerWidth * 1.5})")
    page.goto(addresses["large"])
    expect(page.locator("#checks")).to_contain_text("zoomed to about 150%")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()


def test_the_smallest_window_shows_pictures_and_answers_without_scrolling(
    addresses: dict[str, str], plans: dict[str, Plan], visit: Visit
) -> None:
    # Pictures of a usual size: below 700 px of width answers are stacked.
    display = plans["large"].display
    window = {"width": display.width_px, "height": display.height_px}
    one = Browser(visit, addresses["large"], 0, viewport=window)
    assert one.come()
    size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert one.page.evaluate(size) == list(window.values())


def test_answers_can_be_deleted_by_who_gave_them(
    addresses: dict[str, str], plans: dict[str, Plan], folder: Path, visit: Visit
) -> None:
    before = len(stored(folder / "pairs", plans["pairs"]))
    one = Browser(visit, addresses["pairs"], 0)
    assert one.come()
    one.answer(1)
    assert one.come()
    assert len(stored(folder / "pairs", plans["pairs"])) == before + 1
    page = one.page
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_label("Your link")).to_have_value(re.compile(r"/study/\w+#[\w-]{22}$"))
    page.get_by_role("button", name="Delete all my answers").click()
    page.get_by_role("button", name="Really delete all of them").click()
    expect(page.get_by_text("Your answers are deleted")).to_be_visible(**SOON)
    assert len(stored(folder / "pairs", plans["pairs"])) == before
