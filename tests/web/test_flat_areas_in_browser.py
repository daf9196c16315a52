"""The live page fades changes in flat areas by the same rule as the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")

from whet.runtime.flat_areas import keep_flat

RUN = """async ([address, width, height, before, after]) => {
  const { keepFlat } = await import(address);
  const picture = (bytes) => new ImageData(Uint8ClampedArray.from(bytes), width, height);
  const [one, other] = [before, after].map(picture);
  keepFlat(one, other);
  return Array.from(other.data);
}"""


def rgba(pixels: np.ndarray) -> list[int]:
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return [int(value) for value in np.concatenate([pixels, opaque], axis=2).ravel()]


def test_the_page_fades_as_python_does(
    serving: Callable[..., str], visit: Callable[..., Any]
) -> None:
    page = visit(serving())
    rng = np.random.default_rng(0)
    height, width = 24, 44
    spread = np.linspace(0, 13, width)[:, None]
    before = (60 + np.floor(rng.random((height, width, 3)) * spread)).astype(np.uint8)
    before[:, :12] = 60
    before[:, -6:] += 90
    after = rng.integers(0, 256, before.shape, dtype=np.uint8)
    words = ["/app/flat.js", width, height, rgba(before), rgba(after)]
    faded = np.array(page.evaluate(RUN, words), np.uint8).reshape(height, width, 4)[..., :3]
    np.testing.assert_array_equal(faded, keep_flat(before, after.copy()))
    np.testing.assert_array_equal(faded[:, :8], before[:, :8])
