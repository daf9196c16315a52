"""Contact sheets: the right pixels in the right column, unscaled, beside the Markdown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whet.errors import InputError
from whet.evaluate.report.html import write_report
from whet.evaluate.report.sheets import GAP_PX, LABEL_PX, sheet, sheet_name, write_sheets
from whet.evaluate.results import Evaluation, PictureInfo, SuiteResult, summarise
from whet.evaluate.triplets import Triplet


def triplet(level: int, height: int = 40, width: int = 60) -> Triplet:
    def flat(value: int) -> np.ndarray:
        return np.full((height, width, 3), value, np.uint8)

    restored = {"mine": flat(level + 1), "unsharp": flat(level + 2)}
    return Triplet("p", "mine", "smallest gain", -0.5, 0, 0, flat(level), flat(level + 3), restored)


def suite(*triplets: Triplet) -> SuiteResult:
    values = {"identity": {"psnr": [30.0], "ssim": [0.9], "ssim_matlab": [0.9]}}
    pictures = [PictureInfo("p", "p", "", "", 60, 40)]
    return SuiteResult("Bicubic, x2", "halved", None, pictures, summarise(values), triplets)


def test_columns_are_degraded_restored_and_sharp_in_this_order() -> None:
    page = np.asarray(sheet([triplet(100), triplet(200)]))
    side = 40  # the smaller side of the crop
    assert page.shape == (2 * (side + 2 * LABEL_PX), 4 * side + 3 * GAP_PX, 3)
    for row, level in enumerate((100, 200)):
        y = row * (side + 2 * LABEL_PX) + 2 * LABEL_PX + side // 2
        seen = [int(page[y, column * (side + GAP_PX) + side // 2, 0]) for column in range(4)]
        assert seen == [level, level + 1, level + 2, level + 3]


def test_markdown_shows_the_sheets_that_lie_beside_it(tmp_path: Path) -> None:
    write_report(Evaluation((suite(triplet(100)),)), tmp_path / "report.md")
    link = f"pictures/{sheet_name('Bicubic, x2')}"
    assert link == "pictures/bicubic-x2.webp"
    assert f"({link})" in (tmp_path / "report.md").read_text(encoding="utf-8")
    with Image.open(tmp_path / link) as picture:
        assert picture.format == "WEBP"


def test_a_suite_without_pictures_has_no_sheet_and_none_is_overwritten(tmp_path: Path) -> None:
    write_sheets([suite()], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    write_sheets([suite(triplet(1))], tmp_path / "some")
    before = (tmp_path / "some" / "bicubic-x2.webp").read_bytes()
    with pytest.raises(InputError, match="exists"):
        write_sheets([suite(triplet(200))], tmp_path / "some")
    assert (tmp_path / "some" / "bicubic-x2.webp").read_bytes() == before
