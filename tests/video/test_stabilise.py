"""Stabilising: what stands still gets the change it had, never further than the bound."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clips import Identity, clip, restored
from whet.errors import MediaError
from whet.runtime import open_session
from whet.video.encode import segments
from whet.video.run import restore_video
from whet.video.stabilise import BOUND, STILL, Stabiliser, stabilised

Values = NDArray[np.uint8] | NDArray[np.uint16]


def plainly(a: Values, b: Values, a_out: Values, b_out: Values, level: int = 1) -> list[int]:
    """The same, value by value in plain integers."""
    found = []
    for before, now, was, says in zip(
        *(x.ravel().tolist() for x in (a, b, a_out, b_out)), strict=True
    ):
        kept = was + now - before
        still = abs(now - before) <= STILL * level
        found.append(kept if still and abs(kept - says) <= BOUND * level else says)
    return found


@pytest.mark.parametrize(("kind", "level"), [(np.uint8, 1), (np.uint16, 257)])
def test_it_is_what_plain_arithmetic_gives(kind: type, level: int) -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(8, 246, (90, 1001), np.uint8).astype(np.int64)
    now = before + rng.integers(-3, 4, before.shape)
    was = before + rng.integers(-3, 4, before.shape)
    says = now + rng.integers(-5, 6, before.shape)
    frames = [(x * level).astype(kind) for x in (before, now, was, says)]
    ours = stabilised(*frames)
    assert ours.ravel().tolist() == plainly(*frames, level=level)
    assert 0.1 < (ours != frames[3]).mean() < 0.8, "both ways were taken"


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=1))
def test_no_value_is_ever_further_than_the_bound(values: list[tuple[int, ...]]) -> None:
    frames = [np.array(row, np.uint8) for row in zip(*values, strict=True)]
    ours = stabilised(*frames).astype(int)
    assert np.abs(ours - frames[3]).max() <= BOUND


def test_a_still_scene_stands_still_and_a_cut_is_shown_at_once() -> None:
    rng = np.random.default_rng(1)
    stabiliser = Stabiliser()
    scene = rng.integers(0, 200, (32, 32, 3), np.uint8)
    first = stabiliser(scene, scene + 20)
    for _ in range(5):
        trembling = (scene + 20 + rng.integers(-1, 2, scene.shape)).astype(np.uint8)
        np.testing.assert_array_equal(stabiliser(scene, trembling), first)
    other = 255 - scene
    np.testing.assert_array_equal(
        stabiliser(other, other // 2)[scene < 100], (other // 2)[scene < 100]
    )
    stabiliser.reset()
    np.testing.assert_array_equal(stabiliser(other, other // 3), other // 3)


def test_a_change_that_lasts_is_followed() -> None:
    stabiliser, scene = Stabiliser(), np.full((8, 8, 3), 100, np.uint8)
    stabiliser(scene, scene)
    for level in range(1, 40):
        assert abs(int(stabiliser(scene, scene + np.uint8(level))[0, 0, 0]) - 100 - level) <= BOUND


# --- In videos -----------------------------------------------------------------------------


class Trembling(Identity):
    """Adds 10, and in every other frame one level more."""

    def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
        return super().restore(image) // 2 + np.uint8(10 + self.frames % 2)


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_it_works_in_videos_and_can_be_switched_off(pixel_format: str, tmp_path: Path) -> None:
    import clips

    source = tmp_path / "a.mkv"
    with pytest.MonkeyPatch.context() as patch:
        still = clips.picture(0)
        patch.setattr(clips, "picture", lambda *_: still)
        clip(source, count=6, pixel_format=pixel_format, codec="ffv1", sound=False)
    options = {"codec": "ffv1", "gate": False, "crf": None, "preset": None}

    def moves(name: str, steady: bool) -> float:
        target = tmp_path / name
        restored(source, target, Trembling(), steady=steady, **options)
        frames = np.array(frames_of(target), float)
        return float(np.abs(np.diff(frames, axis=0)).mean())

    assert moves("on.mkv", True) == 0
    assert moves("off.mkv", False) > 0.2


@pytest.mark.parametrize("stopped", [5, 8, 13, 19])
def test_a_run_that_goes_on_shows_what_an_uninterrupted_one_does(
    stopped: int, tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 8)
    source = clip(tmp_path / "a.mkv", count=22, size=(64, 48))
    session = open_session(tiny_int8)
    options = {"codec": "ffv1", "gate": False, "resume": True}
    whole = restore_video(session, source, tmp_path / "whole.mkv", **options)

    def interrupt(done: int, _: int | None) -> None:
        if done == stopped:
            raise KeyboardInterrupt

    first = restore_video(session, source, tmp_path / "b.mkv", progress=interrupt, **options)
    assert first.interrupted
    assert first.frames == stopped
    again = restore_video(session, source, tmp_path / "b.mkv", **options)
    assert again.kept == stopped
    for one, other in zip(frames_of(whole.target), frames_of(again.target), strict=True):
        np.testing.assert_array_equal(one, other)


def test_still_frames_are_restored_once(tiny_int8: Path, tmp_path: Path) -> None:
    from whet.runtime import session as module

    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(12):
            picture = np.full((48, 64, 3), 60 + 20 * (index // 4), np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(video.encode(None))
    seen: list[int] = []
    restore = module.PlanarSession.restore
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module.PlanarSession,
            "restore",
            lambda self, *args: seen.append(1) or restore(self, *args),
        )
        options = {"codec": "ffv1", "gate": False}
        restore_video(open_session(tiny_int8), source, tmp_path / "b.mkv", **options)
    assert len(seen) == 3
    results = frames_of(tmp_path / "b.mkv")
    assert len(results) == 12
    for index, frame in enumerate(results):
        np.testing.assert_array_equal(frame, results[index // 4 * 4])
    assert not np.array_equal(results[0], results[4])


def test_parts_with_and_without_are_not_mixed(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4")

    def interrupt(done: int, _: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    restored(source, tmp_path / "b.mp4", resume=True, progress=interrupt)
    with pytest.raises(MediaError, match="another run"):
        restored(source, tmp_path / "b.mp4", resume=True, steady=False)
