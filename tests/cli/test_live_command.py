"""``whet live`` from file to file: what it writes, says, and leaves when it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from commandline import MakePicture, whet

COUNT, RATE, SIDE = 12, 25, (64, 96)


@pytest.fixture
def clip(tmp_path: Path, picture: MakePicture) -> Path:
    """A clip of half a second."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "8"})
        video.height, video.width, video.pix_fmt = *SIDE, "yuv420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.roll(picture(*SIDE), 4 * index, axis=1), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def decoded(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    return times, [frame.to_ndarray(format="rgb24") for frame in frames]


def came_in(log: Path) -> tuple[np.ndarray, list[int]]:
    """Return when the shown frames came in, in seconds, and which of the clip they are."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    times = np.array([record["time_s"] for record in records if "event" not in record])
    return times, [round(time * RATE) for time in times]


def test_a_file_is_played_restored_and_recorded(
    clip: Path, tmp_path: Path, tiny_artifact: Path
) -> None:
    target, log = tmp_path / "out.mkv", tmp_path / "log.jsonl"
    outcome = whet(
        *("live", "--camera", clip, "--to", target, "--model", tiny_artifact),
        *("--fps", 1, "--crf", 4, "--log", log, "--json"),
    )
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    # A slow machine drops frames; it must not lose count of them.
    assert report["frames"] + report["dropped"] == COUNT
    assert sum(report["models"].values()) == report["frames"]
    times, frames = decoded(target)
    assert len(frames) == report["frames"]
    came_s, indices = came_in(log)
    assert times == pytest.approx(came_s - came_s[0], abs=2e-3)
    assert set(indices) <= set(range(COUNT))
    assert frames[0].shape == (*SIDE, 3)
    # The tiny model changes pictures a lot; a copy of the source would not differ.
    assert np.abs(frames[0].mean(-1) - decoded(clip)[1][indices[0]].mean(-1)).mean() > 3


def test_split_keeps_the_left_half_as_it_was(
    clip: Path, tmp_path: Path, tiny_artifact: Path
) -> None:
    target = tmp_path / "out.mkv"
    log = tmp_path / "log.jsonl"
    words = ("--camera", clip, "--to", target, "--model", tiny_artifact, "--fps", 1)
    outcome = whet("live", *words, "--split", "--crf", 4, "--log", log)
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "frames in" in outcome.err.splitlines()[-1]
    assert "latency p50" in outcome.err.splitlines()[-1]
    # Over colours, whose chroma is halved once more on the way.
    index = came_in(log)[1][0]
    before, after = decoded(clip)[1][index].mean(-1), decoded(target)[1][0].mean(-1)
    left, right = np.abs(after - before)[:, :40].mean(), np.abs(after - before)[:, 56:].mean()
    assert left < right / 4


WRONG = {
    "--camera absent.mp4 --to a.mp4": "name a camera number, a URL, screen or a file",
    "--camera clip.mp4 --to a.gif": "name window, virtual-camera, a URL, or a file",
    "--camera clip.mp4 --to clip.mp4": "--overwrite replaces it",
    "--camera clip.mp4 --to a.mp4 --size big": "--size takes WIDTHxHEIGHT",
    "--camera clip.mp4 --to a.mp4 --log clip.mp4": "--overwrite replaces it",
    "--camera clip.mp4 --to a.mp4 --strength 3": "choose 0 (nothing) to 2",
    "--camera clip.mp4 --to nowhere/a.mp4": "create it first",
    "--camera clip.mp4 --to a.mp4 --preset warp": "check CRF and preset",
    "--camera 997 --to a.mp4": "camera 997",
    "--camera text.mp4 --to a.mp4": "text.mp4 cannot be opened",
}


@pytest.mark.parametrize("words", WRONG)
def test_errors_name_the_remedy_on_one_line_and_leave_nothing_behind(
    words: str, clip: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip.parent)
    (clip.parent / "text.mp4").write_text("words")
    before = sorted(clip.parent.iterdir())
    outcome = whet("live", *words.split(), "--model", tiny_artifact)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert WRONG[words] in line
    assert sorted(clip.parent.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_playable_file(
    clip: Path, tmp_path: Path, tiny_artifact: Path, number: signal.Signals
) -> None:
    target, log = tmp_path / "out.mp4", tmp_path / "log.jsonl"
    words = ("live", "--camera", clip, "--loop", "--to", target, "--model", tiny_artifact)
    process = subprocess.Popen(
        [sys.executable, "-c", "from whet.cli.main import main; main()", *words, "--log", log],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 240
        # Without a loop there would be no more lines than frames in the clip, and a few changes.
        while time.monotonic() < until and not (log.exists() and log.read_text().count("\n") > 20):
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == ""
    assert "frames in" in err.splitlines()[-1]
    times, frames = decoded(target)
    frames_logged = sum("event" not in line for line in log.read_text().splitlines())
    assert len(frames) == frames_logged >= 10
    assert np.diff(times).min() > 0
    assert not list(tmp_path.glob("*.part"))


def test_duration_ends_an_endless_run(clip: Path, tmp_path: Path, tiny_artifact: Path) -> None:
    target = tmp_path / "out.mp4"
    words = ("--camera", clip, "--loop", "--to", target, "--model", tiny_artifact)
    outcome = whet("live", *words, "--duration", 0.8, "--quiet")
    assert (outcome.code, outcome.out) == (0, "")
    assert len(decoded(target)[1]) > 0
