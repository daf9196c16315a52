"""Families, points lost to a mask and halves, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from whet.evaluate.families import by_family, halves
from whet.evaluate.report.html import to_html
from whet.evaluate.report.markdown import to_markdown
from whet.evaluate.results import Evaluation, PictureInfo, SuiteResult, summarise


def suite(name: str, family: str, psnr_db: Mapping[str, Sequence[float]]) -> SuiteResult:
    count = len(psnr_db["identity"])
    pictures = [PictureInfo(f"{i}", f"scene {i}", "", "", 8, 8) for i in range(count)]
    values = {r: {"psnr": list(v), "ssim": [0.5] * count} for r, v in psnr_db.items()}
    scenes = [picture.scene for picture in pictures]
    return SuiteResult(name, "", None, pictures, summarise(values, scenes), family=family)


GRID = [
    suite(
        "soft-a",
        "soft",
        {"identity": [30, 20], "mine": [31, 22], "best-mask": [32, 22], "m": [0] * 2},
    ),
    suite("soft-b", "soft", {"identity": [30, 20], "mine": [29.5, 24], "best-mask": [30, 21]}),
    suite("jpeg-c", "jpeg", {"identity": [30, 20], "mine": [29, 20], "best-mask": [25, 18]}),
    suite("sharp", "standard", {"identity": [100, 100], "mine": [60, 62], "best-mask": [30, 30]}),
]


def test_a_family_is_all_its_pictures_and_its_points_are_counted() -> None:
    rows = {(r.family, r.row.restorer): r for r in by_family(GRID)}
    assert list(rows) == [
        ("soft", "mine"),
        ("soft", "best-mask"),
        ("jpeg", "mine"),
        ("jpeg", "best-mask"),
    ]
    mine = rows["soft", "mine"]
    assert mine.row.gains["psnr"].mean == pytest.approx((1 + 2 - 0.5 + 4) / 4)
    assert (mine.points, mine.lost) == (2, 1)
    assert (mine.row.made_worse, mine.row.worst_db) == (0.25, -0.5)
    # Two pictures, seen twice, are two scenes.
    assert mine.row.gains["psnr"].low == pytest.approx(1.625 - 12.706 * 1.375, abs=0.01)
    assert rows["jpeg", "mine"].lost == 0
    assert rows["soft", "best-mask"].lost is None


def test_without_the_mask_nothing_is_lost_to_it() -> None:
    bare = [suite("soft-a", "soft", {"identity": [30, 20], "mine": [31, 22]})]
    assert [row.lost for row in by_family(bare)] == [None]


def test_the_soft_half_keeps_a_share_of_what_it_gains_alone() -> None:
    pictures = [
        suite("half-x2-soft, middle 8 x 8", "half", {"identity": [30, 20], "mine": [31, 22]}),
        suite("half-x2-alone, middle 8 x 8", "half", {"identity": [30, 20], "mine": [32, 22]}),
        suite("half-x2-sharp, middle 8 x 8", "half", {"identity": [100] * 2, "mine": [56, 58]}),
        suite("half-1.0-soft", "half", {"identity": [30, 20], "mine": [31, 22]}),
    ]
    (row,) = halves(pictures)
    assert (row.point, row.restorer) == ("half-x2, middle 8 x 8", "mine")
    assert (row.gain_db, row.alone_db, row.sharp_db) == (1.5, 2.0, 57)
    assert row.kept == 0.75
    text = to_markdown(Evaluation(tuple(pictures)))
    assert "| half-x2, middle 8 x 8 | mine | +1.50 | +2.00 | 75% | 57.00 |" in text
    assert "half-x2, middle 8 x 8</td><td>mine</td><td>+1.50" in to_html(
        Evaluation(tuple(pictures))
    )


def test_reports_say_how_many_points_are_lost_to_a_mask() -> None:
    text = to_markdown(Evaluation(tuple(GRID)))
    assert "points lost to a mask" in text
    (line,) = (x for x in text.split("## by family")[1].splitlines() if x.startswith("| soft | mi"))
    assert line.startswith("| soft | mine | 4 | +1.62 (")
    assert line.endswith("| 1 of 2 | 25% | \u22120.50 |")
    assert "<td>1 of 2</td><td>25%</td><td>\u22120.50</td>" in to_html(Evaluation(tuple(GRID)))
