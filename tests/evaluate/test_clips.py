"""Clips go through real codecs and come back frame for frame."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whet.errors import DataError
from whet.evaluate.suites.clips import CALL_H264, CALL_VP9, FRAMES, SCORED, coded, ordinary, pan
from whet.evaluate.suites.opening import open_suite
from whet.metrics import psnr

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo() -> Pixels:
    coarse = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def frames(photo: Pixels) -> Pixels:
    return pan(photo, 3)


def test_a_window_moves_over_the_photograph(photo: Pixels, frames: Pixels) -> None:
    assert frames.shape == (FRAMES, 104, 140, 3)
    assert (pan(photo, 3) == frames).all()
    assert (pan(photo, 4) != frames).any()
    assert all((a != b).any() for a, b in pairwise(frames))
    large = np.zeros((900, 1300, 3), np.uint8)
    assert pan(large, 0).shape == (FRAMES, 360, 640, 3)


def test_windows_stay_inside(photo: Pixels) -> None:
    # Outside of the photograph Pillow paints black, which this one has nowhere.
    bright = np.maximum(photo, 60)
    assert all(pan(bright, seed).min() > 20 for seed in range(12))


@pytest.mark.parametrize("coding", [CALL_H264, CALL_VP9, ordinary(20), ordinary(28, 1.2)])
def test_every_frame_comes_back_in_its_place(coding: object, frames: Pixels) -> None:
    decoded = coded(frames, coding)  # type: ignore[arg-type]
    assert decoded.shape == frames.shape
    near = [[psnr(d, f) for f in frames[::4]] for d in decoded[::4]]
    assert [int(np.argmax(row)) for row in near] == list(range(6))


def test_higher_rate_factors_and_softening_cost_more(frames: Pixels) -> None:
    def cost(coding: object) -> float:
        decoded = coded(frames, coding)  # type: ignore[arg-type]
        return float(np.mean([psnr(decoded[i], frames[i]) for i in SCORED]))

    assert cost(ordinary(20)) > cost(ordinary(28))
    assert cost(ordinary(23, 0.8)) > cost(ordinary(23, 1.2))


def test_a_codec_that_is_missing_is_named(frames: Pixels) -> None:
    from dataclasses import replace

    with pytest.raises(DataError, match="no-such-codec"):
        coded(frames, replace(CALL_H264, codec="no-such-codec"))


def film(path: Path, count: int, side: int = 64) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for index in range(count):
            pixels = np.full((side, side, 3), 8 * index, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode(None))


def test_real_clips_are_halved_and_scored_frame_by_frame(tmp_path: Path) -> None:
    film(tmp_path / "walk.mp4", FRAMES + 2)
    (tmp_path / "notes.txt").touch()
    items = list(open_suite("video-crf20", clips=tmp_path))
    assert [item.name for item in items] == [f"walk, frame {i}" for i in SCORED]
    assert {item.scene for item in items} == {"walk"}
    assert {item.sharp.shape for item in items} == {(32, 32, 3)}
    assert [int(item.sharp.mean()) for item in items] == pytest.approx(
        [8 * i for i in SCORED], abs=4
    )


def test_clips_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no video"):
        open_suite("native-vp9", clips=tmp_path)
    film(tmp_path / "short.mp4", 5)
    with pytest.raises(DataError, match=r"short\.mp4 has 5 frames, 24 are needed"):
        list(open_suite("native-vp9", clips=tmp_path))
    (tmp_path / "short.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"short\.mp4 cannot be decoded"):
        list(open_suite("native-vp9", clips=tmp_path))
