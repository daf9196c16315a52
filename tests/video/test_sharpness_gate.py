"""The sharpness gate: what it measures, and that it never flickers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clips import Identity, clip, luma, restored
from whet.video import sharpness_gate as module
from whet.video.sharpness_gate import CLOSE, FADE, OPEN, PATIENCE, Gate, sharpness

Pixels = NDArray[np.uint8]
FRAME = np.zeros((1, 1, 3), np.uint8)


def detailed(height: int = 240, width: int = 320) -> Pixels:
    """Random strokes with hard edges: as sharp as pixels can be."""
    rng = np.random.default_rng(0)
    pixels = np.full((height, width, 3), 128, np.int64)
    for _ in range(600):
        y, x = rng.integers(height), rng.integers(width)
        pixels[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] = rng.integers(0, 256, 3)
    return pixels.astype(np.uint8)


def smeared(pixels: Pixels, steps: Sequence[tuple[int, int]]) -> Pixels:
    moved = [np.roll(pixels.astype(float), step, axis=(0, 1)) for step in steps]
    return np.rint(np.mean(moved, axis=0)).astype(np.uint8)


def measured(pixels: NDArray[np.generic]) -> float:
    value = sharpness(pixels)  # type: ignore[arg-type]
    assert value is not None
    return value


ACROSS = [(0, i) for i in range(5)]
SLANTED = [(i, i) for i in range(5)]
ROUND = [(y, x) for y in range(-1, 2) for x in range(-1, 2)]


@pytest.mark.parametrize("steps", [ACROSS, SLANTED, ROUND])
def test_blur_in_any_direction_is_seen(steps: list[tuple[int, int]]) -> None:
    assert measured(detailed()) > OPEN
    assert measured(smeared(detailed(), steps)) < CLOSE


def test_noise_does_not_make_a_soft_frame_sharp() -> None:
    soft = smeared(detailed(), [(y, x) for y in range(5) for x in range(5)]).astype(float)
    soft[:80] = soft[:80].mean()  # some sky, in which the noise shows
    noise = np.random.default_rng(1).normal(0, 8, soft.shape)
    noisy = np.rint((soft + noise).clip(0, 255)).astype(np.uint8)
    assert measured(noisy) == pytest.approx(measured(soft.astype(np.uint8)), abs=0.04)


def test_contrast_and_depth_do_not_matter() -> None:
    pixels = detailed()
    assert measured(pixels.astype(np.uint16) * 257) == pytest.approx(measured(pixels))
    assert measured(pixels // 4) == pytest.approx(measured(pixels), rel=0.05)


def test_brightness_alone_measures_the_same() -> None:
    luma = detailed()[..., 1]
    assert measured(luma) == pytest.approx(measured(np.stack([luma] * 3, axis=-1)), rel=1e-5)


def test_the_measure_is_the_ratio_of_squared_differences() -> None:
    """One tile, by loops: the least of four directions, the noise of one tile is all there is."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((32, 16, 3), np.uint8)
    pixels[:16] = np.cumsum(rng.integers(-9, 12, (16, 16, 3)), axis=1).clip(0, 255)
    top = pixels[:16].astype(float) @ [0.25, 0.5, 0.25]

    def energy(step: int, dy: int, dx: int) -> float:
        found = []
        for y in range(16 - step):
            for x in range(16 - step):
                here = (y, x + step) if dx < 0 else (y, x)
                there = (y + step * dy, x if dx < 0 else x + step * dx)
                found.append((top[here] - top[there]) ** 2)
        return float(np.mean(found))

    directions = [(0, 1), (1, 0), (1, 1), (1, -1)]
    near, far = ([energy(step, *d) for d in directions] for step in (1, 4))
    # The other of the two tiles is black; 5% of the way to the first is taken for noise.
    noise = 0.05 * np.mean(near)
    ratios = [max(n - noise, 0) / max(f - noise, 0) for n, f in zip(near, far, strict=True)]
    assert measured(pixels) == pytest.approx(min(ratios), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 3), (15, 400, 3), (200, 300, 3)])
def test_flat_and_tiny_frames_cannot_be_told(shape: tuple[int, ...]) -> None:
    assert sharpness(np.full(shape, 77, np.uint8)) is None


def shares(monkeypatch: pytest.MonkeyPatch, values: Sequence[float | None]) -> list[float]:
    told = iter(values)
    monkeypatch.setattr(module, "sharpness", lambda _: next(told))
    gate = Gate()
    return [gate.share(FRAME) for _ in values]


def test_the_gate_opens_late_and_closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shares(monkeypatch, [OPEN] * (PATIENCE + FADE) + [CLOSE - 0.01] * FADE)
    assert found[: PATIENCE - 1] == [1.0] * (PATIENCE - 1)
    assert found[PATIENCE - 1] < 1
    assert found[PATIENCE + FADE - 2 : PATIENCE + FADE] == [0, 0]
    assert found[PATIENCE + FADE] > 0
    assert found[-1] == 1


def test_one_soft_frame_starts_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ([OPEN] * (PATIENCE - 1) + [OPEN - 0.01]) * 4
    assert set(shares(monkeypatch, values)) == {1.0}


@pytest.mark.parametrize("seed", range(4))
def test_measures_between_the_thresholds_never_move_the_gate(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wavering: list[float | None] = list(np.random.default_rng(seed).uniform(CLOSE, OPEN - 1e-6, 99))
    assert set(shares(monkeypatch, wavering)) == {1.0}
    opened = shares(monkeypatch, [1.0] * (PATIENCE + FADE) + wavering + [None] * 9)
    assert set(opened[PATIENCE + FADE :]) == {0.0}


@pytest.mark.parametrize("seed", range(4))
def test_restoration_never_jumps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = np.random.default_rng(seed).integers(1, 40, 20)
    values = [v for n, length in enumerate(runs) for v in [0.9 * (n % 2)] * int(length)]
    found = shares(monkeypatch, values)
    assert 0 in found
    assert np.abs(np.diff([1.0, *found])).max() <= 1 / FADE


def test_a_gate_that_goes_on_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sharpness", lambda _: (OPEN + CLOSE) / 2)
    assert Gate(passing=True).share(FRAME) == 0


# In a video


class Invert(Identity):
    def restore(self, image: Pixels, strength: float = 1.0) -> Pixels:
        changed = super().restore(image)
        mixed = changed + strength * (255.0 - 2.0 * changed)
        return np.rint(mixed).astype(image.dtype)


@pytest.fixture
def sharp_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    import clips

    def make(count: int) -> Path:
        frame = np.repeat(detailed(96, 128)[..., :1], 3, axis=2)  # colours lose half in 4:2:0
        monkeypatch.setattr(clips, "picture", lambda index, *_: frame)
        return clip(tmp_path / "a.mp4", count=count, size=(128, 96), sound=False)

    return make


def test_sharp_frames_pass_and_are_counted(
    sharp_clip: Callable[[int], Path], tmp_path: Path
) -> None:
    count = PATIENCE + FADE + 10
    source, session = sharp_clip(count), Invert()
    report = restored(source, tmp_path / "b.mp4", session)
    assert (report.frames, report.passed) == (count, 12)
    assert session.frames == count - report.passed
    assert f"{report.passed} passed as they were" in report.summary
    before, after = luma(source), luma(tmp_path / "b.mp4")
    np.testing.assert_allclose(after[-1], before[-1], atol=12)  # what encoding twice leaves
    assert np.abs(after[0] - before[0]).mean() > 40


def test_without_the_gate_every_frame_is_restored(
    sharp_clip: Callable[[int], Path], tmp_path: Path
) -> None:
    session = Invert()
    report = restored(sharp_clip(30), tmp_path / "b.mp4", session, gate=False)
    assert (report.passed, session.frames) == (0, 30)
    assert "passed" not in report.summary


def test_soft_frames_never_pass(tmp_path: Path) -> None:
    report = restored(clip(tmp_path / "a.mp4", count=30, size=(128, 96)), tmp_path / "b.mp4")
    assert report.passed == 0
