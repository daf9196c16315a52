"""Tiles join without a seam, whatever the size of picture, block, halo and window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.runtime.tiling import pad_to_multiple, restore_bands, restore_tiled, windows


class BlockNet:
    """A stand-in for a network: blocks of ``multiple`` pixels, zeros beyond its border.

    Every output block is a sum of the blocks within ``reach`` blocks, weighted
    so that no two offsets count alike, plus a term that depends on the position
    inside the block: a wrong origin, a wrong neighbour or a seam shows at once.
    All sums are of small integers, hence exact.
    """

    def __init__(self, multiple: int, reach: int) -> None:
        self.multiple, self.reach = multiple, reach
        self.halo = reach * multiple + multiple - 1
        self.shapes: set[tuple[int, ...]] = set()
        self.calls = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width, channels = image.shape
        assert height % self.multiple == 0
        assert width % self.multiple == 0
        assert image.flags.c_contiguous
        self.shapes.add(image.shape)
        self.calls += 1
        m, r = self.multiple, self.reach
        blocks = image.astype(np.int64).reshape(height // m, m, width // m, m, channels)
        sums = blocks.sum(axis=(1, 3))
        padded = np.pad(sums, ((r, r), (r, r), (0, 0)))
        total = np.zeros_like(sums)
        for dy in range(2 * r + 1):
            for dx in range(2 * r + 1):
                weight = 1 + dy * (2 * r + 1) + dx
                total += weight * padded[dy : dy + len(sums), dx : dx + sums.shape[1]]
        position = np.arange(m)[:, None] * 3 + np.arange(m)
        out = blocks + total[:, None, :, None] + position[None, :, None, :, None]
        return out.reshape(image.shape)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def untiled(net: BlockNet, image: np.ndarray) -> np.ndarray:
    return net(pad_to_multiple(image, net.multiple))[: image.shape[0], : image.shape[1]]


sizes = st.integers(1, 90)


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, st.sampled_from([1, 2, 4, 8]), st.integers(0, 3), st.integers(1, 64))
def test_tiled_equals_untiled(height: int, width: int, multiple: int, reach: int, tile: int):
    net = BlockNet(multiple, reach)
    image = picture(height, width, height * 91 + width)
    tiled = restore_tiled(net, image, multiple=multiple, halo=net.halo, tile=tile)
    assert len(net.shapes) == 1, "one picture must need one compiled shape"
    np.testing.assert_array_equal(tiled, untiled(net, image))


@settings(max_examples=80, deadline=None)
@given(sizes, sizes, st.sampled_from([1, 4]), st.integers(1, 64), st.data())
def test_bands_equal_untiled(
    height: int, width: int, multiple: int, tile: int, data: st.DataObject
):
    net = BlockNet(multiple, 2)
    image = picture(height, width, height * 91 + width)
    cuts = sorted(data.draw(st.lists(st.integers(0, height), max_size=6)))
    bands = [image[a:b] for a, b in zip([0, *cuts], [*cuts, height], strict=True)]
    out = restore_bands(
        net, bands, height=height, width=width, multiple=multiple, halo=net.halo, tile=tile
    )
    np.testing.assert_array_equal(np.concatenate(list(out)), untiled(net, image))


def test_a_halo_one_block_too_small_shows_a_seam():
    """The stand-in network can tell right from wrong: this is what a seam looks like."""
    net = BlockNet(4, 2)
    image = picture(80, 80)
    tiled = restore_tiled(net, image, multiple=4, halo=4, tile=32)
    assert (tiled != untiled(net, image)).any()


def test_bands_hold_one_row_of_windows_and_not_the_picture():
    height, width, band_rows = 4000, 64, 50
    read: list[int] = []

    def bands():
        for start in range(0, height, band_rows):
            read.append(start + band_rows)
            yield np.zeros((band_rows, width, 3), np.uint8)

    done = 0
    for out in restore_bands(
        lambda x: x, bands(), height=height, width=width, multiple=4, halo=16, tile=256
    ):
        done += len(out)
        assert read[-1] - done <= 2 * 256
    assert done == height


def test_a_stream_that_ends_early_is_an_error():
    with pytest.raises(ValueError, match="end at row 10, expected 20"):
        list(
            restore_bands(
                lambda x: x, [np.zeros((10, 8, 3))], height=20, width=8, multiple=1, halo=0
            )
        )


def test_a_small_picture_is_run_whole():
    net = BlockNet(4, 1)
    restore_tiled(net, picture(1080, 1920), multiple=4, halo=8)
    assert net.shapes == {(1080, 1920, 3)}
    assert net.calls == 1


def test_a_picture_just_above_the_budget_costs_little_more():
    """Two windows of full length would cost twice the pixels; balanced ones do not."""
    length, parts = windows(1100, multiple=4, halo=32, tile=1024)
    assert len(parts) == 2
    assert length * 2 <= 1100 + 2 * 32 + 2 * 4


@pytest.mark.parametrize(("size", "expected"), [(1, [7, 7, 7, 7]), (3, [7, 8, 9, 8])])
def test_padding_reflects_and_repeats_the_edge_of_tiny_pictures(size: int, expected: list[int]):
    image = np.arange(7, 7 + size, dtype=np.uint8)[None, :, None]
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (4, 4, 1)
    np.testing.assert_array_equal(padded[0, :, 0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_dtype_is_kept(dtype: type):
    image = picture(70, 50).astype(dtype)
    out = restore_tiled(lambda x: x, image, multiple=8, halo=3, tile=32)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, image)


def test_an_empty_picture_is_an_error():
    with pytest.raises(ValueError, match="5x0 pixels"):
        restore_tiled(lambda x: x, np.zeros((0, 5, 3)), multiple=4, halo=0)
