"""Contact sheets: what each restorer made of the same crops, side by side at 100%.

Beside tables in Markdown they do what the viewer does in the HTML page. The smallest gain
stands first: a sheet is there to show failures too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from whet.evaluate.results import SuiteResult
from whet.evaluate.triplets import Triplet
from whet.files import replacing

__all__ = ["FOLDER", "sheet", "sheet_name", "write_sheets"]

FOLDER = "pictures"
SIDE_PX, GAP_PX, LABEL_PX = 320, 4, 20
QUALITY = 80


def sheet_name(suite: str) -> str:
    """Return the file name of a suite's sheet: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", suite.lower()).strip("-") + ".webp"


def sheet(triplets: Iterable[Triplet]) -> Image.Image:
    """Return one row per triplet: degraded, every restorer, sharp; no pixel is scaled."""
    rows = [_row(triplet) for triplet in triplets]
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    return page


def write_sheets(suites: Iterable[SuiteResult], folder: Path, *, overwrite: bool = False) -> None:
    """Write a lossy WebP per suite that has pictures to show into ``folder``, which is made.

    Raises:
        InputError: a sheet exists, or cannot be written.
    """
    for suite in suites:
        if not suite.triplets:
            continue
        folder.mkdir(exist_ok=True)
        target = folder / sheet_name(suite.name)
        with replacing(target, overwrite=overwrite) as temporary:
            sheet(suite.triplets).save(temporary, format="WEBP", quality=QUALITY, method=4)


def _row(triplet: Triplet) -> Image.Image:
    parts = {"degraded": triplet.degraded, **triplet.restored, "sharp": triplet.sharp}
    side = min(SIDE_PX, *triplet.sharp.shape[:2])
    width = len(parts) * (side + GAP_PX) - GAP_PX
    row = Image.new("RGB", (width, side + 2 * LABEL_PX), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(size=13)
    heading = f"{triplet.picture}: {triplet.why}, {triplet.lead} {triplet.gain_db:+.2f} dB"
    pen.text((2, 2), heading, fill="black", font=font)
    for column, (name, pixels) in enumerate(parts.items()):
        left = column * (side + GAP_PX)
        pen.text((left + 2, LABEL_PX + 2), name, fill="black", font=font)
        row.paste(Image.fromarray(_middle(pixels, side)), (left, 2 * LABEL_PX))
    return row


def _middle(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
