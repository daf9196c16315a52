"""A sampled Gaussian on pictures, in numpy alone."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaussian"]

Real = TypeVar("Real", np.float32, np.float64)


def gaussian(
    picture: NDArray[Real],
    sigma_px: float,
    reach_px: int | None = None,
    edges: Literal["symmetric", "edge"] = "symmetric",
) -> NDArray[Real]:
    """Return (H, W, C) blurred by a Gaussian sampled at whole pixels and summing to one.

    With the defaults this is ``scipy.ndimage.gaussian_filter(picture, (sigma, sigma, 0))``.

    Args:
        picture: any range, float; computed in its type.
        sigma_px: standard deviation, above 0.
        reach_px: where the kernel is cut off; None cuts it at four standard deviations.
        edges: how the picture goes on outside: mirrored with its last pixel, or that pixel alone.
    """
    reach = int(4 * sigma_px + 0.5) if reach_px is None else reach_px
    weights = np.exp(-(np.arange(reach + 1) ** 2) / (2 * sigma_px**2))
    centre, *sides = (weights / (weights[0] + 2 * weights[1:].sum())).tolist()
    blurred = picture
    for axis in (0, 1):
        margin = [(0, 0)] * picture.ndim
        margin[axis] = (reach, reach)
        # The axis goes first, so that one window reads like the other; it is a view.
        padded = np.moveaxis(np.pad(blurred, margin, edges), axis, 0)
        length = picture.shape[axis]
        summed = centre * padded[reach : reach + length]
        pair = np.empty_like(summed)
        for offset, weight in enumerate(sides, 1):
            before = padded[reach - offset : reach - offset + length]
            np.add(before, padded[reach + offset : reach + offset + length], out=pair)
            pair *= weight
            summed += pair
        blurred = np.moveaxis(summed, 0, axis)
    return np.ascontiguousarray(blurred)
