"""Writes the picture of the README: degraded, restored and sharp crops side by side.

python scripts/triplet.py -o docs/pictures/triplet.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import whet
from whet.data.demo import HELD_OUT
from whet.degrade.pictures import degraded_picture
from whet.metrics import psnr

ROWS = (
    ("casa-mila", "bicubic-x3", 0.35, 0.95),
    ("the-spices-of-life", "defocus", 0.5, 0.5),
    ("motherboard-circuits", "bicubic-x2", 0.5, 0.5),
)
SIDE_PX, GAP_PX, LABEL_PX = 300, 6, 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    session = whet.load(args.model)
    width = 3 * SIDE_PX + 2 * GAP_PX
    page = Image.new("RGB", (width, len(ROWS) * (SIDE_PX + LABEL_PX)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=14)
    for row, (name, kind, across, down) in enumerate(ROWS):
        picture = degraded_picture(HELD_OUT / f"{name}.webp", kind)
        restored = session.restore(picture.degraded)
        height, span = picture.sharp.shape[:2]
        top, left = int((height - SIDE_PX) * down), int((span - SIDE_PX) * across)
        y = row * (SIDE_PX + LABEL_PX)
        labels = (
            f"{kind}: {psnr(picture.degraded, picture.sharp):.1f} dB",
            f"{Path(args.model).stem}: {psnr(restored, picture.sharp):.1f} dB",
            "the sharp photograph",
        )
        for column, pixels in enumerate((picture.degraded, restored, picture.sharp)):
            crop = np.ascontiguousarray(pixels[top : top + SIDE_PX, left : left + SIDE_PX])
            x = column * (SIDE_PX + GAP_PX)
            pen.text((x + 2, y + 3), labels[column], fill="black", font=font)
            page.paste(Image.fromarray(crop), (x, y + LABEL_PX))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    page.save(args.out, quality=92, method=6)


if __name__ == "__main__":
    main()
