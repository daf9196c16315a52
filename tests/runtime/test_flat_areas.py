"""What is flat comes back as it was: in every model, precision, runtime and depth."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from whet.artifact import read_card, shipped
from whet.graph.yuv420_io import Colours
from whet.runtime import RUNTIMES, available, open_session
from whet.runtime.flat_areas import FULL, keep_flat, keep_flat_blocks
from whet.runtime.session import ArtifactSession, planar_session

COLOURS = tuple(product((0, 128, 255), repeat=3))
SIZE = (21, 38)  # no multiple of anything
PAIRS = [
    (name, runtime)
    for name, path in shipped().items()
    for runtime in available()
    if read_card(path).precision in RUNTIMES[runtime].precisions
]


def opened(name: str, runtime: str) -> ArtifactSession:
    session = open_session(shipped()[name], runtime=runtime)
    assert isinstance(session, ArtifactSession)
    return session


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_flat_fields_of_27_colours_come_back_exactly(name: str, runtime: str) -> None:
    session = opened(name, runtime)
    for colour in COLOURS:
        for kind, strength in ((np.uint8, 1.0), (np.uint8, 1.6), (np.uint16, 1.0)):
            field = np.empty((*SIZE, 3), kind)
            field[:] = np.array(colour) * (np.iinfo(kind).max // 255)
            np.testing.assert_array_equal(session.restore(field, strength), field, str(colour))


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_flat_fields_come_back_exactly_in_planes(name: str, runtime: str) -> None:
    planes = planar_session(opened(name, runtime), Colours(matrix=1, full_range=False))
    if planes is None:
        pytest.skip(f"{runtime} has no way in planes")
    block = planes._engine.block
    luma, chroma = block**2, block**2 // 4
    for y, u, v in product((16, 126, 235), (16, 128, 240), (16, 128, 240)):
        channels = [y] * luma + [u] * chroma + [v] * chroma
        field = np.broadcast_to(np.array(channels, np.uint8), (8, 12, len(channels))).copy()
        np.testing.assert_array_equal(planes.restore(field), field, str((y, u, v)))


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_a_screen_changes_beside_its_letters_only(name: str, runtime: str) -> None:
    letters = Image.new("RGB", (128, 96), (30, 34, 42))
    for left in (52, 62, 72):
        letters.paste((220, 220, 210), (left, 40, left + 4, 56))
    screen = np.array(letters.filter(ImageFilter.GaussianBlur(1.5)))
    changed = (opened(name, runtime).restore(screen) != screen).any(-1)
    assert changed[40:56, 52:76].any(), "a model that does nothing proves nothing"
    changed[24:72, 36:92] = False
    assert not changed.any()


def test_dark_noise_of_a_level_is_not_lifted() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (64, 64, 3), dtype=np.uint8)
    for name in shipped():
        change = opened(name, available()[0]).restore(noise).astype(int) - noise
        assert np.abs(change.mean((0, 1))).max() < 0.02, name


# The rule


def by_hand(
    degraded: NDArray[Any], restored: NDArray[Any], side: int, full: int
) -> NDArray[np.int64]:
    """Return what the rule says, square by square; ``degraded`` is in whole squares."""
    result = restored.astype(int)
    for y, x in np.ndindex(degraded.shape[0] // side, degraded.shape[1] // side):
        rows = slice(max(0, y - 1) * side, (y + 2) * side)
        columns = slice(max(0, x - 1) * side, (x + 2) * side)
        around = degraded[rows, columns].reshape(-1, degraded.shape[-1]).astype(int)
        contrast = min(full, (around.max(0) - around.min(0)).max())
        own = np.s_[y * side : (y + 1) * side, x * side : (x + 1) * side]
        before = degraded[own].astype(int)
        result[own] = before + np.floor((result[own] - before) * contrast / full + 0.5)
    return result


def nearly_flat(shape: tuple[int, ...], level: int, kind: type) -> NDArray[Any]:
    """Return noise of 0 to 11 levels that grows from left to right, and an edge."""
    rng = np.random.default_rng(1)
    most = np.linspace(0, 12, shape[1])[:, None]
    picture = 40 + np.floor(rng.random(shape) * most)
    picture[:, -5:] += 90
    return (picture * level).astype(kind)


@pytest.mark.parametrize(("kind", "level", "full"), [(np.uint8, 1, FULL), (np.uint16, 257, 2048)])
def test_change_is_scaled_by_the_contrast_around_it(kind: type, level: int, full: int) -> None:
    degraded = nearly_flat((24, 56, 3), level, kind)
    rng = np.random.default_rng(2)
    restored: NDArray[Any] = (
        rng.integers(0, 256 * level, degraded.shape).clip(0, 255 * level).astype(kind)
    )
    wanted = by_hand(degraded, restored, 4, full)
    np.testing.assert_array_equal(keep_flat(degraded, restored.copy()), wanted)
    # A picture that ends within a square is continued by its own pixels.
    cut = keep_flat(degraded[:22, :53].copy(), restored[:22, :53].copy())
    assert cut.shape == (22, 53, 3)
    np.testing.assert_array_equal(cut[:16, :44], wanted[:16, :44])


@pytest.mark.parametrize("block", [2, 4])
def test_blocks_of_planes_obey_the_same_rule(block: int) -> None:
    luma, rows, columns = block**2, 28 // block, 60 // block
    degraded = nearly_flat((rows, columns, 3 * luma // 2), 1, np.uint8)
    restored = np.random.default_rng(3).integers(0, 256, degraded.shape, dtype=np.uint8)
    ends = (0, luma, 5 * luma // 4, 3 * luma // 2)
    contrast = np.zeros((rows, columns), int)
    joined = 4 // block
    for y, x in np.ndindex(rows, columns):
        tops = [max(0, (place // joined - 1) * joined) for place in (y, x)]
        bottoms = [(place // joined + 2) * joined for place in (y, x)]
        around = degraded[tops[0] : bottoms[0], tops[1] : bottoms[1]].astype(int)
        parts = [around[..., a:b] for a, b in pairwise(ends)]
        contrast[y, x] = min(FULL, max(part.max() - part.min() for part in parts))
    change = restored.astype(int) - degraded
    wanted = degraded + np.floor(change * contrast[..., None] / FULL + 0.5).astype(int)
    np.testing.assert_array_equal(keep_flat_blocks(degraded, restored.copy(), block), wanted)


def test_what_has_contrast_everywhere_is_left_to_the_network() -> None:
    degraded = np.random.default_rng(4).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    restored = degraded[::-1].copy()
    np.testing.assert_array_equal(keep_flat(degraded, restored.copy()), restored)
