"""Tiles cover a picture once, blend without a trace, and stay in bounded memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from whet.studio.tiles import Box, Tiling, astray, blend_rows, boxes

TILING = Tiling(size=64, overlap=16, multiple=16)


@pytest.mark.parametrize("shape", [(64, 64), (65, 200), (40, 130), (1, 1), (200, 63)])
def test_what_tiles_hold_comes_back_whole(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random((*shape, 3), np.float32)
    rows = boxes(*shape, TILING)
    seen: list[Box] = []

    def crop(box: Box) -> np.ndarray:
        seen.append(box)
        return box.of(picture)

    bands = list(blend_rows(rows, TILING.overlap, crop))
    assert [top for top, _ in bands] == list(np.cumsum([0, *(len(b) for _, b in bands)])[:-1])
    np.testing.assert_allclose(np.concatenate([b for _, b in bands]), picture, atol=1e-6)
    assert seen == [box for row in rows for box in row]


def test_neighbours_share_the_overlap_and_end_with_the_picture() -> None:
    (row,) = boxes(64, 300, TILING)
    lefts = [box.left for box in row]
    assert lefts[0] == 0
    assert row[-1].left + row[-1].width == 300
    assert all(64 - (b - a) >= 16 for a, b in pairwise(lefts))


def test_a_step_between_two_tiles_becomes_a_slope() -> None:
    rows = boxes(64, 112, TILING)  # two tiles, 16 px shared
    values = iter((0.0, 1.0))
    ((_, band),) = blend_rows(
        rows, 16, lambda box: np.full((box.height, box.width, 3), next(values), np.float32)
    )
    line = band[32, :, 0]
    assert line[47] == pytest.approx(0, abs=1e-6)
    assert line[64] == pytest.approx(1, abs=1e-6)
    assert 0 < np.diff(line).max() < 0.11  # pi / 2 / 16 at its steepest
    assert np.diff(line).min() >= -1e-6


def test_a_tile_that_leaves_its_picture_is_noticed() -> None:
    degraded = np.random.default_rng(0).random((100, 70, 3), np.float32)
    edged = degraded.copy()
    edged[:, ::2] = 1 - edged[:, ::2]  # every other column inverted: the means stay
    assert not astray(degraded, edged)
    blown = degraded.copy()
    blown[40:80, 30:66] = 5.0
    assert astray(degraded, blown)
    blown[...] = degraded
    blown[3, 3, 1] = np.nan
    assert astray(degraded, blown)
