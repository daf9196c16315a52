"""MATLAB's bicubic, against its published kernel and a pixel-by-pixel rewrite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from whet.degrade.resize import cubic, imresize, resize_matrix


def naive_line(line: list[float], target: int) -> list[float]:
    """Resize one line as MATLAB's documentation describes it: 1-based, loop by loop."""
    source, result = len(line), []
    scale = target / source

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    width = 4.0 if scale >= 1 else 4.0 / scale
    for x in range(1, target + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - width / 2)
        total = norm = 0.0
        for j in range(math.ceil(width) + 2):
            index = left + j
            weight = kernel((u - index) * min(scale, 1.0))
            while not 1 <= index <= source:
                index = 1 - index if index < 1 else 2 * source + 1 - index
            total += weight * line[index - 1]
            norm += weight
        result.append(total / norm)
    return result


def test_kernel_has_the_values_of_keys_1981() -> None:
    points = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, -0.5])
    assert cubic(points) == pytest.approx([1, 0.5625, 0, -0.0625, 0, 0, 0.5625])


def test_halving_weights_are_those_of_matlab() -> None:
    # The eight weights that every table of LR_bicubic quotes for an interior sample.
    expected = [-0.01171875, -0.03515625, 0.11328125, 0.43359375]
    row = resize_matrix(32, 16)[8]
    assert row[13:21] == pytest.approx(expected + expected[::-1], abs=1e-7)
    assert np.count_nonzero(row) == 8


def test_ramp_stays_a_ramp_away_from_the_edges() -> None:
    ramp = torch.arange(32, dtype=torch.float32).expand(1, 1, 4, 32)
    small = imresize(ramp, (4, 16))[0, 0, 0]
    # Target pixel 5 covers source pixels 10 and 11: value 10.5.
    assert small[2:-2].tolist() == pytest.approx([2 * i + 0.5 for i in range(2, 14)], abs=1e-4)


@pytest.mark.parametrize(
    ("source", "target"), [(16, 8), (15, 5), (17, 6), (5, 20), (7, 16), (3, 1)]
)
def test_line_equals_the_naive_rewrite(source: int, target: int) -> None:
    line = np.random.default_rng(source).random(source)
    image = torch.tensor(line, dtype=torch.float64).view(1, 1, 1, source)
    resized = imresize(image, (1, target))[0, 0, 0]
    assert resized.tolist() == pytest.approx(naive_line(line.tolist(), target), abs=1e-6)


def test_image_equals_rows_then_columns() -> None:
    image = np.random.default_rng(3).random((9, 14))
    columns = np.array([naive_line(row.tolist(), 7) for row in image])
    expected = np.array([naive_line(column.tolist(), 5) for column in columns.T]).T
    resized = imresize(torch.tensor(image, dtype=torch.float32)[None, None], (5, 7))[0, 0]
    assert resized.numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (11, 3), (40, 61)])
def test_constant_stays_constant(size: tuple[int, int]) -> None:
    assert imresize(torch.full((2, 3, 16, 20), 0.3), size) == pytest.approx(0.3, abs=1e-6)


def test_same_size_is_untouched() -> None:
    image = torch.rand(1, 3, 6, 7)
    assert torch.equal(imresize(image, (6, 7)), image)
