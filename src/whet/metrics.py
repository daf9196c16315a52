"""How close a restored picture is to the sharp one, in numpy alone.

Pictures are uint8 HWC RGB at full resolution. Two values are called SSIM in
this field and they differ by several points; both are here, under two names:

* :func:`ssim` filters each colour channel on its own in two dimensions and
  ignores a border of 5 pixels (Wang et al. 2004, as scikit-image computes it
  with ``gaussian_weights=True``). DeepDeblur prints this one.
* :func:`ssim_matlab` is what MATLAB's ``ssim(A, ref)`` returns for an RGB
  array: without a ``DataFormat`` MATLAB takes height x width x 3 for a volume,
  so the Gaussian also crosses the channels. The evaluation scripts of MPRNet,
  Restormer, MAXIM and NAFNet print this one, and it is the higher of the two.

A new metric is one function plus one line in :data:`METRICS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError

__all__ = [
    "METRICS",
    "Accumulator",
    "Metric",
    "psnr",
    "ssim",
    "ssim_matlab",
]

Pixels = NDArray[np.uint8]
Maps = NDArray[np.float32]

SIGMA = 1.5
"""Standard deviation of the window in pixels (Wang et al. 2004, section III.B)."""
RADIUS = 5
"""int(3.5 sigma + .5) in scikit-image, ceil(3 sigma) in MATLAB: the same 11 taps."""
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
_BLOCK = 48
"""Side of the tiles filtered at once. They fit the cache, and their matrix products stay
below the size at which OpenBLAS starts threads, which cost more than they bring here and
stall for seconds on a busy machine."""


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio ``10 log10(peak^2 / mean((a - b)^2))`` in dB, over all channels.

    Args:
        a: picture of any shape and real dtype in [0, ``peak``].
        b: picture of the same shape.
        peak: largest possible value: 255 for uint8, 65535 for uint16.

    Returns:
        dB; infinity when the pictures are identical.

    Raises:
        InputError: the shapes differ or are empty.
    """
    _require_equal_shape(a, b)
    squares = 0.0
    for top in range(0, a.shape[0], _BLOCK):
        rows = slice(top, top + _BLOCK)
        difference = np.subtract(a[rows], b[rows], dtype=np.float64)
        squares += float(np.sum(np.square(difference)))
    if squares == 0:
        return math.inf
    return 10 * math.log10(peak * peak * a.size / squares)


def ssim(a: Pixels, b: Pixels) -> float:
    """Mean structural similarity, each channel on its own (Wang et al. 2004).

    Equals ``skimage.metrics.structural_similarity(a, b, gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2)``:
    only windows that lie wholly inside the picture count.

    Args:
        a: uint8 HWC, at least 11 pixels in both directions.
        b: uint8 HWC of the same shape.

    Returns:
        A value in [-1, 1]; 1 when the pictures are identical.

    Raises:
        InputError: not uint8 HWC, unequal shapes, or a side below 11 pixels.
    """
    _require_pictures(a, b)
    if min(a.shape[:2]) <= 2 * RADIUS:
        raise InputError(
            f"SSIM needs at least {2 * RADIUS + 1} pixels in height and width, "
            f"this picture has {a.shape[0]} x {a.shape[1]}; compare larger pictures"
        )
    return _mean_similarity(a, b, mixing=None)


def ssim_matlab(a: Pixels, b: Pixels) -> float:
    """Structural similarity as MATLAB's ``ssim`` and deblurring papers print it.

    The picture is a volume of depth 3: a three-dimensional Gaussian (sigma 1.5,
    11 x 11 x 11 taps), edges replicated in all three directions, every voxel
    counted (MATLAB Image Processing Toolbox, ``ssim``, default ``DataFormat``
    "SSS" for three-dimensional arrays).

    Args:
        a: uint8 HWC of any size.
        b: uint8 HWC of the same shape.

    Returns:
        A value in [-1, 1]; 1 when the pictures are identical.

    Raises:
        InputError: not uint8 HWC or unequal shapes.
    """
    _require_pictures(a, b)
    margin = ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))
    mixing = _channel_mixing(a.shape[2])
    return _mean_similarity(np.pad(a, margin, "edge"), np.pad(b, margin, "edge"), mixing)


@dataclass(frozen=True)
class Metric:
    """One row of :data:`METRICS`.

    Attributes:
        function: ``(restored, sharp) -> value`` on uint8 HWC.
        label: what tables print.
        unit: "dB", or "" for a pure number.
        higher_is_better: the direction of improvement.
        decimals: digits after the point worth printing.
    """

    function: Callable[[Pixels, Pixels], float]
    label: str
    unit: str
    higher_is_better: bool
    decimals: int


METRICS: Mapping[str, Metric] = {
    "psnr": Metric(psnr, "PSNR", "dB", True, 2),
    "ssim": Metric(ssim, "SSIM (Gaussian, per channel)", "", True, 4),
    "ssim_matlab": Metric(ssim_matlab, "SSIM (MATLAB, RGB volume)", "", True, 4),
}


@dataclass
class Accumulator:
    """Scores of a stream of pictures; keeps numbers, never pixels.

    Attributes:
        metrics: what to compute.
        values: one list per metric, in the order of arrival.
    """

    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    values: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.values = {name: [] for name in self.metrics}

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), []))

    def add(self, restored: Pixels, sharp: Pixels) -> dict[str, float]:
        """Score one pair, remember the values and return them by name."""
        scores = {name: metric.function(restored, sharp) for name, metric in self.metrics.items()}
        for name, value in scores.items():
            self.values[name].append(value)
        return scores

    def merge(self, other: Accumulator) -> None:
        """Append what another process accumulated."""
        for name in self.metrics:
            self.values[name].extend(other.values[name])

    def means(self) -> dict[str, float]:
        """Return the mean of each metric; InputError while nothing was added."""
        if not len(self):
            raise InputError("nothing was scored yet; add at least one pair of pictures")
        return {name: float(np.mean(values)) for name, values in self.values.items()}


def _require_equal_shape(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape or a.size == 0:
        raise InputError(f"only pictures of one size compare; these are {a.shape} and {b.shape}")


def _require_pictures(a: Pixels, b: Pixels) -> None:
    _require_equal_shape(a, b)
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim != 3:
        raise InputError(
            f"SSIM compares uint8 HWC pictures, not {a.dtype}/{b.dtype} of {a.ndim} dimensions; "
            "convert to 8 bits first"
        )


def _taps() -> NDArray[np.float64]:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _channel_mixing(channels: int) -> Maps:
    """Return the (channels, channels) matrix of a Gaussian along an edge-replicated axis."""
    matrix = np.zeros((channels, channels))
    for channel in range(channels):
        for offset, weight in zip(range(-RADIUS, RADIUS + 1), _taps(), strict=True):
            matrix[channel, min(max(channel + offset, 0), channels - 1)] += weight
    return matrix.astype(np.float32)


def _band(length: int) -> Maps:
    """Return (length, length + 10): the filter as a banded matrix, valid positions only."""
    matrix = np.zeros((length, length + 2 * RADIUS), np.float32)
    for row in range(length):
        matrix[row, row : row + 2 * RADIUS + 1] = _taps()
    return matrix


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, _BLOCK):
        yield start, min(_BLOCK, length - start)


def _filter(maps: Maps, rows: Maps, columns: Maps) -> Maps:
    """Gaussian-filter (..., h + 10, w + 10) to (..., h, w) with bands of h and w.

    A banded matrix product does several times the arithmetic of 11 shifted
    sums and is still faster, because BLAS keeps it in registers.
    """
    return np.asarray(rows @ maps @ columns.T, dtype=np.float32)


def _mean_similarity(a: Pixels, b: Pixels, mixing: Maps | None) -> float:
    """Average the SSIM map over all windows inside (H, W, C) pictures, tile by tile."""
    height, width = a.shape[0] - 2 * RADIUS, a.shape[1] - 2 * RADIUS
    lengths = {count for side in (height, width) for _, count in _blocks(side)}
    bands = {length: _band(length) for length in lengths}
    total = 0.0
    for top, rows in _blocks(height):
        for left, columns in _blocks(width):
            tile = (
                slice(top, top + rows + 2 * RADIUS),
                slice(left, left + columns + 2 * RADIUS),
            )
            total += _summed_similarity(a[tile], b[tile], bands[rows], bands[columns], mixing)
    voxels: int = height * width * a.shape[2]
    return total / voxels


def _summed_similarity(
    a: Pixels, b: Pixels, rows: Maps, columns: Maps, mixing: Maps | None
) -> float:
    """Sum the SSIM map of one tile.

    With s = a + b and d = a - b the formula of Wang et al. needs four filtered
    maps in place of five: 2 cov(a, b) = (var s - var d) / 2 and
    var a + var b = (var s + var d) / 2. It also is exact where the pictures
    agree, since d vanishes there: float32 suffices.
    """
    first = np.ascontiguousarray(a.transpose(2, 0, 1), dtype=np.float32)
    second = np.ascontiguousarray(b.transpose(2, 0, 1), dtype=np.float32)
    # Centred on zero, so that the squares below lose no digits to a bright picture.
    s, d = first + second - 255, first - second
    maps: Maps = np.stack([s, d, s * s, d * d])
    if mixing is not None:
        maps = np.matmul(mixing, maps.reshape(4, a.shape[2], -1)).reshape(maps.shape)
    mean_s, mean_d, power_s, power_d = _filter(maps, rows, columns)
    var_s, var_d = power_s - mean_s * mean_s, power_d - mean_d * mean_d
    light_s, light_d = np.square(mean_s + 255), np.square(mean_d)
    numerator = (light_s - light_d + 2 * C1) * (var_s - var_d + 2 * C2)
    denominator = (light_s + light_d + 2 * C1) * (var_s + var_d + 2 * C2)
    return float(np.sum(numerator / denominator, dtype=np.float64))
