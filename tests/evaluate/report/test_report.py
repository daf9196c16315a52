"""Reports say what was scored, carry their pictures losslessly, and stand alone."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whet.errors import InputError
from whet.evaluate.report.charts import curves, ticks
from whet.evaluate.report.html import to_html, to_markdown, write_report
from whet.evaluate.results import Evaluation, summarise
from whet.evaluate.score import evaluate
from whet.evaluate.suites.opening import Item, Suite
from whet.evaluate.windows import resized

Pixels = NDArray[np.uint8]
VOID = {"meta", "img", "input"}


def suite_of(name: str, count: int, *, sharp_input: bool = False) -> Suite:
    def load() -> Iterator[Item]:
        for seed in range(count):
            generator = np.random.default_rng(seed)
            sharp = generator.integers(40, 200, (60, 80, 3), dtype=np.uint8)
            noise = generator.integers(-9, 10, sharp.shape)
            degraded = sharp if sharp_input else (sharp + noise).astype(np.uint8)
            yield Item(f"<p{seed}> & co", degraded.copy(), sharp, f"scene {seed}", f"g{seed % 2}")

    return Suite(name, "a <b>test</b>", count, load)


def smooth(degraded: Pixels) -> Pixels:
    return ((degraded.astype(int) + np.roll(degraded, 1, axis=0)) // 2).astype(np.uint8)


def brighter(degraded: Pixels) -> Pixels:
    return degraded + np.uint8(1)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    suites = [
        suite_of("noise", 5),
        suite_of("pass-through", 2, sharp_input=True),
        resized(suite_of("thumbnails", 2), 32, 24),
    ]
    return evaluate(suites, {"brighter": brighter, "unsharp": smooth})


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> str:
    log = [{"step": i, "total": 1 / (i + 1), "edge": 0.5} for i in range(1000)]
    return to_html(evaluation, log=log, title="A & B", intro="Not <i>ours</i>.")


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_nests_and_escapes_names(page: str) -> None:
    reader = read(page)
    assert "<p0> & co" in reader.text
    assert "A <b>test</b>." in reader.text
    assert "Not <i>ours</i>." in reader.text
    assert "{{" not in page


def test_the_page_asks_the_network_for_nothing(page: str) -> None:
    reader = read(page)
    for tag, attributes in reader.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    code = re.sub(r"data:image/webp;base64,[^\"]*", "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest|import\(", code)
    (policy,) = [a["content"] for t, a in reader.elements if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_the_page_follows_the_light_or_dark_scheme_and_narrow_screens(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert "@media (max-width: 720px)" in page


def test_pictures_in_the_page_are_lossless(evaluation: Evaluation, page: str) -> None:
    uris = [a["src"] for tag, a in read(page).elements if tag == "img"]
    shown = []
    for uri in uris:
        data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
        with Image.open(io.BytesIO(data)) as picture:
            shown.append(np.asarray(picture.convert("RGB")))
    expected = [
        layer
        for suite in evaluation.suites
        for triplet in suite.triplets
        for layer in (triplet.degraded, *triplet.restored.values(), triplet.sharp)
    ]
    assert len(shown) == len(expected) == 4 * 7
    assert all((a == b).all() for a, b in zip(shown, expected, strict=True))


def test_every_triplet_can_be_zoomed_and_split(evaluation: Evaluation, page: str) -> None:
    count = sum(len(suite.triplets) for suite in evaluation.suites)
    elements = read(page).elements
    assert sum("viewer" in a.get("class", "") for _, a in elements) == count
    for zoom in ("fit", "1", "2", "4"):
        assert sum(a.get("data-zoom") == zoom for _, a in elements) == count
    assert sum(a.get("type") == "range" for _, a in elements) == count


def test_the_page_stays_within_its_budget(evaluation: Evaluation) -> None:
    whole = to_html(evaluation)
    pictures = whole.count("<img ")
    empty = len(re.sub(r"data:image[^\"]*", "", whole))
    budget = 400_000 + (len(whole) - empty) // 2
    small = to_html(evaluation, max_bytes=budget)
    assert 0 < len(re.findall("<img ", small)) <= pictures
    assert sum(map(len, re.findall(r"data:image[^\"]*", small))) <= budget - 400_000
    none = to_html(evaluation, max_bytes=400_001)
    assert "<img " not in none
    read(none)


def test_resized_scores_are_marked_in_page_and_markdown(evaluation: Evaluation, page: str) -> None:
    assert "thumbnails, RESIZED to 32 x 24" in read(page).text
    assert "Scored on pictures RESIZED to 32 x 24: not comparable" in read(page).text
    assert "## thumbnails, RESIZED to 32 x 24" in to_markdown(evaluation)


def test_one_scene_has_no_interval_and_says_so(evaluation: Evaluation) -> None:
    whole = evaluation.suites[0]
    pictures = [replace(picture, scene="a") for picture in whole.pictures]
    rows = summarise({row.restorer: row.values for row in whole.rows}, ["a"] * 5)
    alone = Evaluation((replace(whole, pictures=pictures, rows=rows),))
    section = to_markdown(alone).split("## noise")[1]
    assert "5 pictures of 1 scene." in section
    assert " to " not in section.split("###")[0]
    gain = rows[1].gains["psnr"].mean
    assert f"| {gain:+.2f} (one scene) |".replace("-", "\u2212") in section
    text = to_html(alone)
    assert "<small>one scene</small>" in text
    assert 'class="good"' not in text
    assert 'class="bad"' not in text


def test_markdown_holds_the_numbers_of_the_evaluation(evaluation: Evaluation) -> None:
    text = to_markdown(evaluation)
    row = evaluation.suites[0].rows[1]
    section = text.split(f"## {evaluation.suites[0].name}")[1]
    line = next(line for line in section.splitlines() if line.startswith("| brighter "))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    psnr = row.scores["psnr"]
    assert cells[1] == f"{psnr.mean:.2f} ({psnr.low:.2f} to {psnr.high:.2f})"
    assert cells[3].startswith(f"{row.scores['ssim_matlab'].mean:.4f} (")
    gain = row.gains["psnr"]
    assert cells[4].startswith(f"{gain.mean:+.2f}".replace("-", "\u2212"))
    assert cells[6] == f"{100 * (row.made_worse or 0):.0f}%"
    assert cells[7] == f"{row.worst_db:+.2f}".replace("-", "\u2212")


def test_markdown_rows_have_as_many_cells_as_their_head(evaluation: Evaluation) -> None:
    tables: list[list[str]] = [[]]
    for line in to_markdown(evaluation).splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    found = [{line.count("|") for line in table} for table in tables if table]
    # The overview first; then a column more where there are baselines to be beaten.
    assert found[0] == {4}
    assert all(widths in ({9}, {10}) for widths in found[1:])
    assert {10} in found


def test_markdown_begins_with_all_gains_in_one_table(evaluation: Evaluation) -> None:
    overview = to_markdown(evaluation).split("## overview")[1].split("\n## ")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in overview.splitlines()]
    table = {row[0]: row[1:] for row in rows if len(row) == 3}
    assert table["suite"] == ["brighter", "unsharp"]
    gain = evaluation.suites[0].rows[1].gains["psnr"].mean
    assert table["noise"][0].startswith(f"{gain:+.2f} (".replace("-", "\u2212"))
    # Nothing can be gained on sharp pictures: how close they stay is told instead.
    psnr_db = evaluation.suites[1].rows[1].scores["psnr"].mean
    assert table["pass-through"][0] == f"{psnr_db:.2f}"


def test_a_sharp_input_is_called_identical_and_has_no_gain(evaluation: Evaluation) -> None:
    section = to_markdown(evaluation).split("## pass-through")[1].split("##")[0]
    assert "| identity | identical |" in section
    assert "| brighter | 48.13 (48.13 to 48.13) |" in section
    assert section.count("|  |  |  |  |") == 3


def test_the_breakdown_by_group_is_in_both(evaluation: Evaluation, page: str) -> None:
    assert "### noise: g0" in to_markdown(evaluation)
    assert "By group (2)" in read(page).text


def test_every_picture_is_a_dot_in_the_chart(page: str) -> None:
    circles = [a for tag, a in read(page).elements if tag == "circle" and "dot" in a["class"]]
    # Two restorers; the pass-through suite has no gains to draw.
    assert len(circles) == 2 * 5 + 2 * 2
    assert all(0 <= float(a["cx"].rstrip("%")) <= 100 for a in circles)


def test_an_evaluation_read_from_json_still_reports(evaluation: Evaluation) -> None:
    again = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json())))
    shown = [line for line in to_markdown(evaluation).splitlines() if line.startswith("![")]
    assert shown
    text = to_markdown(evaluation)
    for line in shown:  # the JSON has no pictures
        text = text.replace(line + "\n\n", "").replace("\n" + line + "\n", "")
    assert to_markdown(again) == text
    assert "<img " not in to_html(again)


@pytest.mark.parametrize("suffix", [".json", ".md", ".html"])
def test_reports_are_written_by_suffix_and_never_over_another(
    evaluation: Evaluation, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"report{suffix}"
    write_report(evaluation, target)
    assert "noise" in target.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="exists already"):
        write_report(evaluation, target)
    write_report(evaluation, target, overwrite=True)
    beside = [tmp_path / "pictures"] if suffix == ".md" else []
    assert sorted(tmp_path.iterdir()) == sorted([target, *beside])


def test_other_suffixes_are_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.json, \.md or \.html"):
        write_report(evaluation, tmp_path / "report.pdf")


def test_curves_draw_each_named_value_and_thin_long_logs() -> None:
    log = [{"step": i, "total": 2.0**-i if i < 60 else 2.0**-60} for i in range(5000)]
    log.append({"step": 5000, "psnr": 25.0})
    chart = curves(log)
    assert chart.count("<figure") == 2
    assert "logarithmic" in chart
    (points, _) = re.findall(r'points="([^"]*)"', chart)
    positions = [tuple(map(float, point.split(","))) for point in points.split()]
    assert 100 < len(positions) <= 240
    assert positions[0][1] == 4
    assert positions[-1][1] == 56
    assert positions == sorted(positions)


def test_curves_of_nothing_are_nothing() -> None:
    assert curves([]) == ""
    assert curves([{"step": 1, "total": float("nan")}]) == ""


@pytest.mark.parametrize(("low", "high"), [(-0.13, 0.05), (-3, 12), (0, 1e-6), (-4000, -1)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 7
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)
    steps = {round((b - a) / (marks[1] - marks[0]), 3) for a, b in pairwise(marks)}
    assert steps == {1.0}
