"""Video in planes: blocks lose nothing, and the network does what it does in RGB."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Interpolation
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from clips import clip
from whet.graph.yuv420_io import Colours, planar_model, rgb_of_yuv
from whet.runtime import available, open_session, tiling
from whet.runtime.session import ArtifactSession, PlanarSession
from whet.runtime.yuv420 import Planes, from_blocks, to_blocks
from whet.video.decode.source import VideoSource
from whet.video.run import restore_video

Image = NDArray[np.uint8]
MakePicture = Callable[..., Image]
VIDEO = Colours(1, full_range=False)
HERE = [name for name in available() if name != "torch"]


def planes_of(rgb: Image) -> Planes:
    return Planes(av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p"))


def noise(height: int, width: int, seed: int = 0) -> Planes:
    rng = np.random.default_rng(seed)
    planes = Planes.empty(height, width)
    for plane in planes:
        plane[:] = rng.integers(0, 256, plane.shape)
    return planes


def same(one: Planes, other: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def planar(path: Path, runtime: str, colours: Colours = VIDEO, **options: Any) -> PlanarSession:
    session = open_session(path, runtime=runtime, **options)
    assert isinstance(session, ArtifactSession)
    opened = session.planar(colours)
    assert opened is not None
    return opened


def through(session: PlanarSession, planes: Planes, strength: float = 1.0) -> Planes:
    return session.planes(session.restore(session.blocks(planes), strength), *planes.shape)


# --- Blocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (9, 15), (64, 96), (61, 130), (2, 7)])
def test_blocks_hold_the_frame_exactly(size: tuple[int, int]) -> None:
    planes = noise(*size)
    for block, multiple in ((4, 8), (2, 2), (4, 4)):
        blocks = to_blocks(planes, block, multiple)
        assert blocks.shape[2] == block**2 * 3 // 2
        assert all(count * block % multiple == 0 for count in blocks.shape[:2])
        assert same(from_blocks(blocks, block, *size), planes)


def test_a_block_holds_its_rows_of_y_then_u_then_v() -> None:
    planes = noise(16, 24)
    blocks = to_blocks(planes, 4, 8)
    for row in range(4):
        for column in range(6):
            expected = [planes.y[4 * row + i // 4, 4 * column + i % 4] for i in range(16)]
            for plane in (planes.u, planes.v):
                expected += [plane[2 * row + i // 2, 2 * column + i % 2] for i in range(4)]
            assert blocks[row, column].tolist() == expected


# --- Colours --------------------------------------------------------------------------------


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 4, 5, 7, 9])
def test_colours_are_those_of_ffmpeg(matrix: int, full_range: bool) -> None:
    to_rgb, zero = rgb_of_yuv(Colours(matrix, full_range))
    for yuv in ((120, 100, 150), (180, 128, 128), (90, 140, 110)):
        planes = Planes.empty(16, 16)
        for plane, value in zip(planes, yuv, strict=True):
            plane[:] = value
        range_in = ColorRange.JPEG if full_range else ColorRange.MPEG
        rgb = planes.frame.reformat(
            format="gbrp",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=range_in,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        ).to_ndarray()
        ours = 255 * to_rgb @ (np.array(yuv) / 255 - zero)
        np.testing.assert_allclose(rgb[8, 8], ours, atol=1)


# --- Networks -------------------------------------------------------------------------------


def doubled(plane: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Enlarge a colour plane linearly: between rows, and on every other column."""
    rows = (np.arange(height) - 0.5) / 2
    columns = np.arange(width) / 2
    found = np.zeros((height, width))
    for y, row in enumerate(rows):
        low = int(np.floor(row))
        a, b = (plane[min(max(i, 0), len(plane) - 1)].astype(float) for i in (low, low + 1))
        line = a + (row - low) * (b - a)
        found[y] = np.interp(columns, np.arange(len(line)), line)
    return found


def by_hand(student: nn.Module, planes: Planes, strength: float, colours: Colours) -> list[Any]:
    """Return Y, U and V as a detour over RGB in full precision would make them."""
    height, width = planes.shape
    to_rgb, zero = rgb_of_yuv(colours)
    colour = [doubled(plane, height, width) for plane in (planes.u, planes.v)]
    yuv = np.stack([planes.y.astype(float), *colour], axis=-1) / 255
    rgb = torch.from_numpy((yuv - zero) @ to_rgb.T).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        change = (student(rgb) - rgb)[0].permute(1, 2, 0).double().numpy()
    change = 255 * strength * change @ np.linalg.inv(to_rgb).T
    pooled = change.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    changes = (change[..., 0], pooled[..., 1], pooled[..., 2])
    return [(p + c).clip(0, 255) for p, c in zip(planes, changes, strict=True)]


@pytest.mark.parametrize(
    ("strength", "colours"),
    [(1.0, VIDEO), (0.5, VIDEO), (1.0, Colours(5, True)), (1.7, Colours(9, False))],
)
@pytest.mark.parametrize("runtime", HERE)
def test_planes_get_what_rgb_would(
    runtime: str,
    strength: float,
    colours: Colours,
    tiny_artifact: Path,
    student: nn.Module,
    picture: MakePicture,
) -> None:
    # Bounded, as the blend is defined by what fits into bytes.
    planes = planes_of((picture(64, 96) * 0.4 + 70).astype(np.uint8))
    restored = through(planar(tiny_artifact, runtime, colours), planes, strength)
    wanted = by_hand(student, planes, strength, colours)
    inner = slice(4, -4)  # beyond the border lies gray, which differs by rounding
    for ours, theirs, before in zip(restored, wanted, planes, strict=True):
        error = np.abs(ours - theirs)[inner, inner]
        assert error.mean() < 0.3, "0.25 is what rounding to bytes alone makes"
        assert error.max() < 1.5
        assert np.abs(theirs - before).mean() > 4 * error.mean()


@pytest.mark.parametrize("runtime", HERE)
def test_int8_planes_are_as_near_as_int8_rgb(
    runtime: str, tiny_int8: Path, student: nn.Module, picture: MakePicture
) -> None:
    planes = planes_of((picture(64, 96) * 0.4 + 70).astype(np.uint8))
    wanted = by_hand(student, planes, 1.0, VIDEO)[0]
    error = np.abs(through(planar(tiny_int8, runtime), planes).y - wanted).mean()
    assert error < 0.25 * np.abs(wanted - planes.y).mean()


@pytest.mark.parametrize("runtime", HERE)
def test_tiled_planes_equal_whole_ones(
    runtime: str, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = planar(tiny_artifact, runtime)
    planes = noise(152, 210)
    whole = through(session, planes)
    monkeypatch.setattr("whet.runtime.session.TILE_PX", 96)
    for one, other in zip(through(session, planes), whole, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    assert tiling.TILE_PX > 210, "the first one was whole"


def test_a_model_without_blocks_has_no_such_way() -> None:
    sides = [1, 3, "height", "width"]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)
        for name in ("degraded", "restored")
    ]
    weights = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "weights")
    conv = helper.make_node("Conv", ["degraded", "weights"], ["restored"])
    graph = helper.make_graph([conv], "plain", ends[:1], ends[1:], [weights])
    assert planar_model(helper.make_model(graph), VIDEO) is None


# --- Files ----------------------------------------------------------------------------------


def decoded(path: Path) -> list[Planes]:
    with av.open(str(path)) as container:
        return [Planes(frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize("runtime", HERE)
def test_every_frame_of_a_file_is_restored_once_and_in_order(
    runtime: str, tiny_int8: Path, tmp_path: Path
) -> None:
    source = clip(tmp_path / "a.mkv", count=23, size=(72, 50))
    session = open_session(tiny_int8, runtime=runtime)
    restore_video(session, source, tmp_path / "b.mkv", codec="ffv1", gate=False, steady=False)
    colours = VideoSource(source).planar
    assert colours is not None
    alone = planar(tiny_int8, runtime, colours)
    results = decoded(tmp_path / "b.mkv")
    sources = decoded(source)
    assert len(results) == len(sources) == 23
    for result, before in zip(results, sources, strict=True):
        assert same(result, through(alone, before))


def test_planes_pass_to_the_byte_where_nothing_is_to_be_done(
    tiny_int8: Path, tmp_path: Path
) -> None:
    source = clip(tmp_path / "a.mkv", count=5)
    restore_video(open_session(tiny_int8), source, tmp_path / "b.mkv", codec="ffv1", strength=0)
    for one, other in zip(decoded(source), decoded(tmp_path / "b.mkv"), strict=True):
        assert same(one, other)


@pytest.mark.parametrize("strength", [0, 0.01])
@pytest.mark.parametrize("size", [(64, 48), (71, 49)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p"])
def test_range_and_odd_sides_are_kept(
    pixel_format: str, size: tuple[int, int], strength: float, tiny_int8: Path, tmp_path: Path
) -> None:
    if pixel_format == "yuvj420p":
        source = clip(tmp_path / "a.mkv", count=3, size=size, pixel_format=pixel_format,
                      codec="mjpeg")  # fmt: skip
    else:
        source = clip(tmp_path / "a.mkv", count=3, size=size, codec="ffv1")
    options = {"crf": 1, "preset": "ultrafast", "strength": strength, "gate": False}
    restore_video(open_session(tiny_int8), source, tmp_path / "b.mkv", **options)
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.mkv")) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        for one, other in pairs:
            assert (one.width, one.height) == (other.width, other.height) == size
            full = pixel_format == "yuvj420p"
            assert (int(other.color_range) == ColorRange.JPEG) == full
            luma = [
                np.frombuffer(frame.planes[0], np.uint8).reshape(size[1], -1)[:, : size[0]]
                for frame in (one, other)
            ]
            assert np.abs(luma[0].astype(int) - luma[1]).mean() < 2


@pytest.mark.parametrize("runtime", HERE)
def test_threads_share_a_planar_session(runtime: str, tiny_int8: Path) -> None:
    session = planar(tiny_int8, runtime)
    frames = [noise(40, 56, seed) for seed in range(16)]
    wanted = [through(session, frame) for frame in frames]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(partial(through, session), frames))
    assert all(same(one, other) for one, other in zip(found, wanted, strict=True))
