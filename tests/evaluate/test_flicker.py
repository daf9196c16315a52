"""Flicker on a static scene: what is measured, and what the shipped models add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from commandline import save_photos
from whet.artifact import shipped
from whet.evaluate.flicker import (
    SETTLING,
    Flicker,
    as_in_video,
    coded_still,
    flicker,
    main,
    shown,
    temporal_change,
)
from whet.runtime import open_session
from whet.runtime.yuv420 import Planes

Pixels = NDArray[np.uint8]
Make = Callable[..., Pixels]
FRAMES = SETTLING + 14


def untouched(frames: Sequence[Planes]) -> list[Pixels]:
    return [shown(frame) for frame in frames]


def grown(frame: Pixels, factor: float) -> NDArray[np.float32]:
    return (frame.astype(np.float32) - 128) * np.float32(factor) + 128


def test_change_is_counted_between_neighbours_only() -> None:
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (10, 13, 9)]
    assert temporal_change(frames) == pytest.approx((3.5, np.sqrt(12.5)))
    assert temporal_change(frames[:1] * 5) == (0, 0)


def test_a_scene_without_noise_stands_still(picture: Make) -> None:
    frames = [shown(frame) for frame in coded_still(picture(64, 96), 400, FRAMES, noise=0)]
    assert len(frames) == FRAMES - SETTLING
    assert temporal_change(frames)[0] < 0.2
    noisy = [shown(frame) for frame in coded_still(picture(64, 96), 400, FRAMES, noise=6)]
    assert temporal_change(noisy)[0] > 2 * temporal_change(frames)[0]


@pytest.mark.parametrize("factor", [0.5, 1, 1.5])
def test_the_ratio_says_how_much_change_is_added(factor: float, picture: Make) -> None:
    found = flicker(
        lambda frames: [grown(shown(f), factor) for f in frames], [picture(64, 96)], 400, FRAMES
    )
    assert found.ratio == pytest.approx(factor, rel=1e-3)
    assert found.ratio_rms == pytest.approx(factor, rel=1e-3)


def test_scenes_are_averaged(picture: Make) -> None:
    one, two = (flicker(untouched, [picture(64, 96, s)], 400, FRAMES) for s in (0, 1))
    both = flicker(untouched, [picture(64, 96, 0), picture(64, 96, 1)], 400, FRAMES)
    assert both.ratio == 1
    assert both.degraded == pytest.approx((one.degraded + two.degraded) / 2, rel=0.2)
    assert Flicker(2, 3, 4, 5).ratio_rms == 1.25


def test_the_command_prints_a_row_per_rate_and_judges(
    tmp_path: object, picture: Make, tiny_artifact: object, capsys: pytest.CaptureFixture[str]
) -> None:
    from pathlib import Path

    folder = save_photos(Path(str(tmp_path)), picture, ["a"], side=640)
    words = [str(folder), "-m", str(tiny_artifact), "--frames", str(SETTLING + 2), "--count", "1"]
    code = main([*words, "--threads", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert [row.split("|")[2].strip() for row in rows] == ["150", "400", "1000"]
    assert code == int(any(float(row.split("|")[5]) > 1.05 for row in rows))


SHIPPED = sorted({name.removesuffix("-int8") for name in shipped()})


def soft(make: Make, seed: int) -> Pixels:
    """A scene that the models make sharper: grain they leave alone."""
    small = Image.fromarray(make(48, 80, seed))
    return np.asarray(small.resize((160, 96), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", SHIPPED)
def test_steadying_takes_most_of_the_added_flicker_away(
    name: str, precision: Literal["float32", "int8"], picture: Make
) -> None:
    session = open_session(name, threads=1, precision=precision)
    stills = [soft(picture, seed) for seed in (0, 1)]
    # Of a frame 1/12 as large as a call's.
    on, off = (flicker(as_in_video(session, s), stills, 40, FRAMES) for s in (True, False))
    assert off.degraded == on.degraded > 0.05, "nothing changes: nothing is tested"
    assert off.ratio > 1.1, "nothing is added: nothing is tested"
    assert on.ratio - 1 < 0.5 * (off.ratio - 1)
    assert on.ratio_rms < off.ratio_rms
