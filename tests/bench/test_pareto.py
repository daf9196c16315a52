"""Quality against time: which points are on the front, and what the plot shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from whet.bench.pareto import Point, front, main, plot, points
from whet.errors import InputError
from whet.evaluate.results import Evaluation, PictureInfo, SuiteResult, summarise

SVG = "{http://www.w3.org/2000/svg}"


def evaluation(**gains_db: float) -> Evaluation:
    """Return one of two pictures that everybody gains the same on."""
    values = {
        name: {metric: [25.0 + gain, 30.0 + gain] for metric in ("psnr", "ssim", "ssim_matlab")}
        for name, gain in {"identity": 0.0, **gains_db}.items()
    }
    pictures = [PictureInfo(name, name, name, "", 64, 48) for name in "ab"]
    return Evaluation([SuiteResult("blur", "", None, pictures, summarise(values))])


def row(name: str, ms: float, width: int = 640, **other: Any) -> dict[str, Any]:
    facts = {"precision": "int8", "runtime": "openvino", "threads": None, "height": 360}
    return {"name": name, "latency_p50_ms": ms, "width": width, **facts, **other}


BENCH = {"rows": [row("nano", 4), row("small", 9), row("unsharp", 1), row("nano", 16, 1280)]}


def test_the_front_holds_whom_nobody_beats_in_both() -> None:
    fast, slow, worse, late = (
        Point("f", 1, 0.1),
        Point("s", 9, 0.5),
        Point("w", 5, 0.05),
        Point("l", 10, 0.5),
    )
    assert front([late, worse, slow, fast]) == [fast, slow]
    twins = [Point("a", 1, 0.2), Point("b", 1, 0.3)]
    assert front(twins) == [twins[1]]


def test_points_are_those_that_both_files_know() -> None:
    found = points(BENCH, evaluation(nano=0.5, small=0.75, other=9.0))
    assert [(p.label, p.ms) for p in found] == [
        ("nano int8, openvino", 4), ("small int8, openvino", 9),
    ]  # fmt: skip
    assert [p.gain_db for p in found] == pytest.approx([0.5, 0.75])
    (large,) = points(BENCH, evaluation(nano=0.5), size="1280x360")
    assert large.ms == 16
    renamed = points(BENCH, evaluation(soft=-0.25), names={"unsharp": "soft"}, suite="blur")
    assert [(p.ms, p.gain_db) for p in renamed] == [(1, pytest.approx(-0.25))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "fog"}, "no suite 'fog' .* choose from blur"),
        ({"size": "9x9"}, "no size '9x9' .* choose from 640x360, 1280x360"),
        ({"names": {"nano": "x", "small": "x"}}, "use the same -m in both"),
    ],
)
def test_what_does_not_fit_names_the_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        points(BENCH, evaluation(nano=0.5, small=0.6), **options)
    with pytest.raises(InputError, match="run whet bench again"):
        points({"rows": [{}]}, evaluation(nano=0.5))


def test_the_plot_is_svg_with_every_point_in_its_place() -> None:
    found = [Point("a <fast>", 1, 0.1), Point("b", 10, -0.2), Point("c", 100, 0.6)]
    drawn = ElementTree.fromstring(plot(found, "a & b"))
    circles = drawn.findall(f"{SVG}circle")
    across = [float(c.attrib["cx"]) for c in circles]
    down = [float(c.attrib["cy"]) for c in circles]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)  # logarithmic
    assert (down[1] - down[0]) / (down[0] - down[2]) == pytest.approx(0.3 / 0.5, rel=0.01)
    assert [c.attrib["class"] for c in circles] == ["dot best", "dot", "dot best"]
    words = [t.text for t in drawn.iter(f"{SVG}text")]
    assert {"a & b", "1 a <fast>", "2 b", "3 c", "ms per picture (p50)"} <= set(words)
    assert "href" not in plot(found, "t"), "it stands alone"


def test_one_point_alone_can_be_drawn() -> None:
    assert len(ElementTree.fromstring(plot([Point("a", 5, 0)], "t")).findall(f"{SVG}circle")) == 1


def test_the_command_writes_a_file_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, scores, target = (tmp_path / name for name in ("bench.json", "e.json", "p.svg"))
    bench.write_text(json.dumps(BENCH))
    evaluation(nano=0.5, small=0.6).write(scores)
    words = [str(bench), str(scores), "-o", str(target)]
    assert main(words) == 0
    assert "small int8" in target.read_text()
    for again, remedy in ((words, "exists already"), (["gone.json", *words[1:]], "check the path")):
        capsys.readouterr()
        assert main(again) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert remedy in line
