"""A model file that did not come with whet shows first, on a small picture, that it restores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ModelError
from whet.runtime.session import Engine

__all__ = ["probe", "try_out"]

_LEAST_PX = 32
_ROUNDING = 1e-3  # by which a clamp at 0 and 1 may be missed


def probe(multiple: int) -> NDArray[np.float32]:
    """Return a float32 (H, W, 3) picture in [0, 1]: noise, a slope, black, white, from the left."""
    height = -(-_LEAST_PX // multiple) * multiple
    width = height + multiple
    picture = np.random.default_rng(0).random((height, width, 3), np.float32)
    quarter = width // 4
    picture[:, quarter : 2 * quarter] = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture[:, 2 * quarter : 3 * quarter] = 0
    picture[:, 3 * quarter :] = 1
    return picture


def try_out(engine: Engine, multiple: int) -> None:
    """Let an engine restore :func:`probe` in floats and in bytes.

    Args:
        engine: may be thrown away afterwards.
        multiple: of which the network wants height and width, in pixels.

    Raises:
        ModelError: what comes back is no picture of that size, or no numbers.
    """
    picture = probe(multiple)
    restored = engine.restore_floats(picture)
    _check(restored, picture)
    if not (np.isfinite(restored).all() and np.abs(restored - 0.5).max() <= 0.5 + _ROUNDING):
        raise ModelError("makes no numbers, or values beyond black and white; it is not used")
    pixels = np.rint(picture * 255).astype(np.uint8)
    _check(engine.restore_bytes(pixels, 1.0), pixels)


def _check(restored: NDArray[Any], picture: NDArray[Any]) -> None:
    if (restored.shape, restored.dtype) != (picture.shape, picture.dtype):
        raise ModelError(
            f"makes {restored.dtype} {restored.shape} of {picture.dtype} {picture.shape}, so it is "
            "not used; export it again"
        )
