"""What a session returns, by dtype, shape and layout in memory: in every runtime and precision.

Whoever takes a session's result may walk through it as memory holds it, as the filter against
trembling and encoders do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whet.artifact import shipped
from whet.graph.yuv420_io import Colours
from whet.runtime import RUNTIMES, Session, available, open_session, tiling
from whet.runtime.session import planar_session
from whet.runtime.yuv420 import Planes

WAYS = [
    (runtime, precision)
    for runtime in available()
    for precision in RUNTIMES[runtime].precisions
    if precision == "float32" or "nano-int8" in shipped()
]
SIZES = [(1, 1), (16, 24), (33, 47), (64, 50), (130, 75)]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: "-".join(way))
def session(request: pytest.FixtureRequest) -> Session:
    runtime, precision = request.param
    return open_session("nano", runtime=runtime, threads=1, precision=precision)


def noise(shape: tuple[int, ...], kind: type) -> NDArray[Any]:
    random = np.random.default_rng(7)
    return random.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def layouts(image: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the same picture in three layouts of memory."""
    planar = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    return [image, planar, wide]


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_result_is_an_array_of_its_own_in_c_order(
    session: Session, kind: type, strength: float
) -> None:
    for size in SIZES:
        image = noise((*size, 3), kind)
        before = image.copy()
        for given in layouts(image):
            restored = session.restore(given, strength)
            assert (restored.dtype, restored.shape) == (kind, image.shape)
            assert restored.flags.c_contiguous
            assert restored.flags.writeable
            assert not np.shares_memory(restored, given)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_layout_of_the_input_and_tiles_change_nothing(
    session: Session, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise((150, 135, 3), kind)
    whole = session.restore(image)
    for given in layouts(image):
        np.testing.assert_array_equal(session.restore(given), whole)
    monkeypatch.setattr(tiling, "TILE_PX", 96)
    tiled = session.restore(image)
    assert (tiled.dtype, tiled.shape, tiled.flags.c_contiguous) == (kind, image.shape, True)
    # Rounding in int8 may fall either way; what tiles must not do is move values about.
    assert np.abs(tiled.astype(int) - whole).mean() < np.iinfo(kind).max / 255


def test_planes_come_back_in_c_order_too(session: Session) -> None:
    planar = planar_session(session, Colours(5, False))
    if planar is None:
        pytest.skip(f"{session.runtime} restores no planes")
    for height, width in SIZES:
        planes = Planes.empty(height, width)
        for plane in planes:
            plane[:] = noise(plane.shape, np.uint8)
        blocks = planar.blocks(planes)
        restored = planar.restore(blocks)
        assert (restored.dtype, restored.shape) == (np.uint8, blocks.shape)
        assert restored.flags.c_contiguous
        assert not np.shares_memory(restored, blocks)
        assert planar.planes(restored, height, width).shape == (height, width)
