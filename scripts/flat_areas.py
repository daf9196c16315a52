"""What fading changes in flat areas does to PSNR: each model with and without it.

The middles of the photographs that come with whet, sharp and softened in three ways.

    python scripts/flat_areas.py
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import whet
from whet.artifact import shipped
from whet.metrics import psnr
from whet.runtime import open_session

PHOTOGRAPHS = Path(whet.__file__).parent / "demo_data" / "heldout"
SIDE_PX = 320


def halved(photograph: Image.Image) -> Image.Image:
    small = photograph.resize((SIDE_PX // 2, SIDE_PX // 2), Image.Resampling.BICUBIC)
    return small.resize(photograph.size, Image.Resampling.BICUBIC)


def compressed(photograph: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    photograph.filter(ImageFilter.GaussianBlur(0.8)).save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


STATES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "bicubic x2": halved,
    "Gaussian 1.3": lambda photograph: photograph.filter(ImageFilter.GaussianBlur(1.3)),
    "JPEG 60": compressed,
    "sharp": lambda photograph: photograph,
}


def middles() -> list[Image.Image]:
    cut = []
    for path in sorted(PHOTOGRAPHS.glob("*.webp")):
        photograph = Image.open(path).convert("RGB")
        left, top = (photograph.width - SIDE_PX) // 2, (photograph.height - SIDE_PX) // 2
        cut.append(photograph.crop((left, top, left + SIDE_PX, top + SIDE_PX)))
    return cut


def as_the_network_says(degraded: NDArray[Any], restored: NDArray[Any]) -> NDArray[Any]:
    del degraded
    return restored


def main() -> None:
    photographs = middles()
    print("| model | " + " | ".join(STATES) + " |")
    for name, path in shipped().items():
        session = open_session(path)
        gains = []
        for state in STATES.values():
            differences = []
            for photograph in photographs:
                sharp, degraded = np.array(photograph), np.array(state(photograph))
                faded = psnr(session.restore(degraded), sharp)
                with patch("whet.runtime.session.keep_flat", as_the_network_says):
                    differences.append(faded - psnr(session.restore(degraded), sharp))
            gains.append(f"{np.mean(differences):+.3f}")
        print(f"| {name} | " + " | ".join(gains) + " |", flush=True)


if __name__ == "__main__":
    main()
