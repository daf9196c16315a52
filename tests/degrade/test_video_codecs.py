"""Frames of calls and of old television through real codecs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from whet.degrade.codecs import archive, call_native
from whet.degrade.codecs.archive import Archive
from whet.degrade.codecs.call_native import CallNative, draw_coding, moved_views
from whet.degrade.codecs.programs import Pixels
from whet.degrade.codecs.video_codecs import DECODERS, Coding, code, decode

Picture = Callable[..., Tensor]


@pytest.fixture
def sharp(picture: Picture) -> Pixels:
    image = (picture(96, 112, seed=3)[0] * 255).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(image.numpy())


def psnr(a: Pixels, b: Pixels) -> float:
    return float(10 * np.log10(255**2 / ((a.astype(float) - b) ** 2).mean()))


def drawn_with(codec: str, **changes: object) -> CallNative:
    for seed in range(400):
        drawn = CallNative.draw(np.random.default_rng(seed))
        plain = drawn.lost is None and drawn.switch > drawn.kept and not drawn.soft_px
        if drawn.coding.codec == codec and plain:
            return replace(drawn, noise_levels=0.0, **changes)  # type: ignore[arg-type]
    raise AssertionError(f"no seed draws {codec}")


def test_calls_draw_four_codecs_in_real_time_settings() -> None:
    drawn = [CallNative.draw(np.random.default_rng(seed)) for seed in range(600)]
    codecs = [d.coding.codec for d in drawn]
    shares = {codec: codecs.count(codec) / 600 for codec in set(codecs)}
    assert shares == {
        "libx264": pytest.approx(0.52, abs=0.07),
        "libvpx": pytest.approx(0.15, abs=0.05),
        "libvpx-vp9": pytest.approx(0.25, abs=0.06),
        "libsvtav1": pytest.approx(0.08, abs=0.04),
    }
    profiles = {d.coding.options.get("profile", "main") for d in drawn if "x264" in d.coding.codec}
    assert profiles == {"baseline", "main"}
    assert {len(d.path) for d in drawn} == set(range(9, 15))
    assert all(2 <= d.kept < len(d.path) and not d.path[d.kept].any() for d in drawn)
    assert 0.02 < np.mean([d.switch <= d.kept for d in drawn]) < 0.12
    assert 0.02 < np.mean([d.lost is not None for d in drawn]) < 0.09


@pytest.mark.parametrize("codec", ["libx264", "libvpx", "libvpx-vp9", "libsvtav1"])
def test_a_frame_of_a_call_is_the_picture_coded_where_it_stands(codec: str, sharp: Pixels) -> None:
    drawn = drawn_with(codec)
    assert drawn.condition.coding == drawn.hardness
    frame = drawn.spoil(sharp, np.random.default_rng(1))
    assert frame.shape == sharp.shape
    assert 22 < psnr(frame, sharp) < 50
    again = drawn.spoil(sharp, np.random.default_rng(1))
    assert np.array_equal(frame, again)
    # Unmoved: a shift by one pixel either way fits worse.
    for axis in (0, 1):
        for by in (-1, 1):
            assert psnr(np.roll(frame, by, axis), sharp) < psnr(frame, sharp)


@pytest.mark.parametrize("codec", ["libx264", "libvpx", "libvpx-vp9", "libsvtav1"])
def test_harder_coding_told_is_more_loss(codec: str, sharp: Pixels) -> None:
    found = []
    for seed in range(200):
        coding, hardness = draw_coding(np.random.default_rng(seed))
        if coding.codec == codec and len(found) < 6:
            frames = [np.ascontiguousarray(sharp)] * 4
            decoded = decode(code(frames, coding), codec)
            found.append((hardness, psnr(decoded[3].to_ndarray(format="rgb24"), sharp)))
    hardest, softest = max(found), min(found)
    assert len(found) == 6
    assert hardest[1] < softest[1]


def test_a_change_of_resolution_softens_and_says_so(sharp: Pixels) -> None:
    plain = drawn_with("libx264", kept=6)
    switched = replace(plain, switch=3, factor=1.8)
    assert (plain.condition.blur_px, switched.condition.blur_px) == (
        0.0,
        pytest.approx(0.748, abs=1e-3),
    )
    frame = switched.spoil(sharp, np.random.default_rng(1))
    assert frame.shape == sharp.shape
    detail = np.abs(np.diff(frame.astype(int), axis=1)).mean()
    assert (
        detail
        < np.abs(np.diff(plain.spoil(sharp, np.random.default_rng(1)).astype(int), axis=1)).mean()
    )


@pytest.mark.parametrize("codec", ["libx264", "libvpx", "libvpx-vp9", "libsvtav1"])
def test_a_lost_frame_leaves_its_mark(codec: str, sharp: Pixels) -> None:
    path = np.arange(10)[:, None] * np.array([[3.0, 2.0]])
    whole = drawn_with(codec, path=path - path[6], kept=6)
    lossy = replace(whole, lost=4)
    frames = [d.spoil(sharp, np.random.default_rng(1)) for d in (whole, lossy)]
    assert frames[1].shape == sharp.shape
    assert psnr(frames[1], sharp) <= psnr(frames[0], sharp)
    if codec in ("libvpx", "libx264"):
        assert psnr(frames[1], sharp) < psnr(frames[0], sharp) - 0.2


def test_views_move_with_the_camera_and_the_kept_one_is_the_picture(sharp: Pixels) -> None:
    views = moved_views(
        sharp, np.array([[0.0, 0.0], [3.0, -2.0], [0.5, 0.0]]), np.random.default_rng(0)
    )
    assert np.array_equal(views[0], sharp)
    assert np.array_equal(views[1][2:, :-3], sharp[:-2, 3:])
    between = (sharp[:, 2:-2].astype(int) + sharp[:, 3:-1]) / 2
    assert np.abs(views[2][:, 2:-2] - between).mean() < 4


@pytest.mark.parametrize("deinterlacer", archive.FILTERS)
@pytest.mark.parametrize("quantiser", [None, 2])
def test_old_television_keeps_the_upper_field_where_it_stands(
    deinterlacer: str, quantiser: int | None, sharp: Pixels
) -> None:
    fields = (np.arange(10)[:, None] - 6) * np.array([[1.5, 0.0]])
    drawn = Archive(0.4, 0.0, 0.8, fields, quantiser, deinterlacer)
    frame = drawn.spoil(sharp, np.random.default_rng(0))
    assert frame.shape == sharp.shape
    upper = psnr(frame[0::2], sharp[0::2])
    assert upper > 27
    # The lower lines were taken elsewhere; what a deinterlacer makes of them stands still too.
    assert (
        psnr(np.roll(frame, 1, 1), sharp) < psnr(frame, sharp) > psnr(np.roll(frame, -1, 1), sharp)
    )


def test_fields_are_woven_and_missing_lines_are_means() -> None:
    upper, lower = np.full((6, 4, 3), 10, np.uint8), np.full((6, 4, 3), 90, np.uint8)
    frame = archive._woven(upper, lower)
    assert frame[:, 0, 0].tolist() == [10, 90] * 3
    frame[::2] = np.array([10, 20, 40])[:, None, None]
    assert archive._lines(frame)[:, 0, 0].tolist() == [10, 15, 20, 30, 40, 40]


def test_every_codec_gives_back_every_frame_by_its_number() -> None:
    frames = [np.full((576, 720, 3), 20 * i, np.uint8) for i in range(1, 5)]
    options = {"libsvtav1": {"preset": "11", "svtav1-params": "lp=1"}}
    for codec in DECODERS:
        fps = 25 if codec == "dvvideo" else 30
        decoded = decode(code(frames, Coding(codec, options.get(codec, {}), fps)), codec)
        assert sorted(decoded) == [0, 1, 2, 3]
        for number, frame in decoded.items():
            assert frame.to_ndarray(format="rgb24").mean() == pytest.approx(
                20 * (number + 1), abs=4
            )


SILENT = """
    import os, threading
    import numpy as np
    from whet.degrade.codecs import video_codecs
    from whet.priority import policies
    from whet.degrade.codecs.call_native import draw_coding

    seen, stop = set(), threading.Event()
    opened = video_codecs._open

    def watch():
        while not stop.is_set():
            seen.update(policies().values())

    def then_watch(encoder):
        opened(encoder)
        threading.Thread(target=watch, daemon=True).start()

    video_codecs._open = then_watch
    noise = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    codings = [draw_coding(np.random.default_rng(seed))[0] for seed in range(60)]
    video_codecs.code(list(noise), next(c for c in codings if c.codec == "libsvtav1"))
    stop.set()
    print(sorted(seen | set(policies().values())), os.SCHED_OTHER)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux")
def test_av1_prints_nothing_and_runs_at_ordinary_priority() -> None:
    """As root its threads would run above all others; as anyone else they never do."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SILENT)], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    assert done.stdout == "[0] 0\n"


def test_a_call_prints_nothing(sharp: Pixels, capfd: pytest.CaptureFixture[str]) -> None:
    for codec in ("libx264", "libvpx", "libvpx-vp9", "libsvtav1"):
        replace(drawn_with(codec), lost=1).spoil(sharp, np.random.default_rng(0))
    for quantiser in (None, 4):
        drawn = replace(Archive.draw(np.random.default_rng(0)), quantiser=quantiser)
        drawn.spoil(sharp, np.random.default_rng(0))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_reach_of_a_camera_is_bounded() -> None:
    paths = [CallNative.draw(np.random.default_rng(seed)).path for seed in range(200)]
    assert max(np.abs(path).max() for path in paths) <= call_native.REACH_PX
