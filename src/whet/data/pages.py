"""Pages, screens and flat colours to train on: what photographs hardly show, drawn by code."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["gradient", "page"]

Pixels = NDArray[np.uint8]

DARK_PROBABILITY = 0.25
"""Share of screens with light letters on a dark ground."""
COLOURED_PROBABILITY = 0.3
LETTER_PX = (9, 30)
FRAME_PROBABILITY = 0.12
"""Share of lines that stand in a box: a button, a cell of a table."""
LETTERS = "etaoinshrdlcumwfgypbvkxjqz"
LETTER_ODDS = np.array([0.88**i for i in range(len(LETTERS))])
"""About as often as in text: what matters is that round, straight and slanted strokes all come."""


def page(rng: Generator, side: int) -> Pixels:
    """Return a part of a page or screen, uint8 (side, side, 3): words, numbers, rules, boxes.

    The letters are those of the font inside Pillow, the words are made up.
    """
    paper, ink = _colours(rng)
    image = Image.new("RGB", (side, side), paper)
    pen = ImageDraw.Draw(image)
    size = int(rng.integers(*LETTER_PX))
    top, left = int(rng.integers(-size, size)), int(rng.integers(-3 * size, size))
    while top < side:
        if rng.random() < 0.1:
            size = int(rng.integers(*LETTER_PX))
        text, font = _line(rng, side, size), ImageFont.load_default(size)
        if rng.random() < FRAME_PROBABILITY:
            _box(pen, rng, (left, top, int(rng.integers(side // 3, side)), top + round(1.3 * size)))
        pen.text((left, top), text, fill=ink, font=font)
        top += round(size * rng.uniform(1.2, 1.8))
        if rng.random() < 0.1:
            pen.line((left, top, side, top), fill=ink)
            top += 4
    return np.array(image)


def gradient(rng: Generator, side: int) -> Pixels:
    """Return one colour, or one running into another, uint8 (side, side, 3)."""
    start, end = (rng.integers(0, 256, 3) for _ in range(2))
    if rng.random() < 0.5:
        end = start
    along = np.linspace(0, 1, side)
    way = (along[:, None] * rng.random() + along[None, :] * rng.random())[..., None] / 2
    return np.rint(start + (end - start) * way).astype(np.uint8)


def _colours(rng: Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    light, dark = rng.integers(215, 256, 3), rng.integers(0, 70, 3)
    if rng.random() >= COLOURED_PROBABILITY:
        light[:], dark[:] = light[0], dark[0]
    paper, ink = (tuple(int(v) for v in colour) for colour in (light, dark))
    return (ink, paper) if rng.random() < DARK_PROBABILITY else (paper, ink)


def _box(pen: ImageDraw.ImageDraw, rng: Generator, corners: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = corners
    if right > left:
        pen.rectangle(
            (left, top, right, bottom), outline=tuple(int(v) for v in rng.integers(0, 256, 3))
        )


def _line(rng: Generator, side: int, size: int) -> str:
    words: list[str] = []
    odds = LETTER_ODDS / LETTER_ODDS.sum()
    while sum(map(len, words)) < 3 * side / size:
        if rng.random() < 0.12:
            words.append(f"{rng.integers(10_000)}"[: int(rng.integers(1, 5))])
            continue
        word = "".join(rng.choice(list(LETTERS), int(rng.integers(1, 10)), p=odds))
        words.append(word.capitalize() if rng.random() < 0.2 else word)
    return " ".join(words)
