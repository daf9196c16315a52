"""Pages and screens of text, drawn by code: the held-out photographs show none."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["COUNT", "SIZE", "page"]

Pixels = NDArray[np.uint8]

COUNT = 8
SIZE = (640, 480)
"""Width and height in pixels."""

_COLOURS = (
    ((255, 255, 255), (0, 0, 0)),
    ((250, 246, 235), (40, 30, 20)),
    ((24, 26, 31), (214, 218, 224)),
    ((232, 240, 250), (20, 40, 110)),
)
"""Paper and ink: print, book, dark screen, form."""
_SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ter",
    "on",
    "sa",
    "ve",
    "du",
    "pen",
    "al",
    "tho",
    "gra",
    "qu",
    "im",
    "fy",
)
_DIGITS = 0.12  # share of words that are numbers


def page(index: int) -> Pixels:
    """Return page ``index`` (0 to :data:`COUNT` - 1), uint8 (480, 640, 3), always the same.

    Words of made-up syllables in sizes from 11 to 30 px, left to right, with a ruled line here
    and there; the font is the one that comes inside Pillow.
    """
    rng = np.random.default_rng([index, 640])
    paper, ink = _COLOURS[index % len(_COLOURS)]
    image = Image.new("RGB", SIZE, paper)
    draw = ImageDraw.Draw(image)
    top = 14
    while top < SIZE[1] - 12:
        height = int(rng.integers(11, 17)) if rng.random() < 0.8 else int(rng.integers(18, 31))
        draw.text((16, top), _line(rng, height), fill=ink, font=ImageFont.load_default(height))
        top += round(1.45 * height)
        if rng.random() < 0.15:
            draw.line((16, top, SIZE[0] - 16, top), fill=ink)
            top += 6
    return np.array(image)


def _line(rng: Generator, height: int) -> str:
    """Return about as many words as fit at a letter height of ``height`` pixels."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < 1.9 * (SIZE[0] - 40) / height:
        if rng.random() < _DIGITS:
            words.append(str(rng.integers(2, 5000)))
            continue
        word = "".join(str(rng.choice(_SYLLABLES)) for _ in range(rng.integers(1, 5)))
        words.append(word.capitalize() if rng.random() < 0.2 else word)
    return " ".join(words)
