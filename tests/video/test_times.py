"""Times that jump, and files that end before they say."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from clips import Identity, clip, frame_times, packets, restored
from whet.video.decode.reading import open_input
from whet.video.decode.timeline import Timeline
from whet.video.run import restore_video

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="no ffmpeg to compare with",
)


def joined(path: Path, folder: Path, *, apart_s: int = 0) -> Path:
    """Write two recordings one after the other, each with a clock that begins where it likes."""
    first = clip(folder / "one.ts", count=40)
    second = clip(folder / "two.ts", count=40)
    if apart_s:
        second = _later(second, folder / "later.ts", apart_s)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def _later(source: Path, target: Path, by_s: int) -> Path:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.size:
                packet.pts += by_s * 90000
                packet.dts += by_s * 90000
                packet.stream = copies[packet.stream_index]
                new.mux_one(packet)
    return target


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv"])
@pytest.mark.parametrize("apart_s", [0, 3600])
@pytest.mark.parametrize("resume", [False, True])
def test_behind_a_seam_the_video_goes_on(
    suffix: str, apart_s: int, resume: bool, tmp_path: Path
) -> None:
    source = joined(tmp_path / "a.ts", tmp_path, apart_s=apart_s)
    made = restored(source, tmp_path / f"b{suffix}", resume=resume)
    assert made.frames == 80
    times = frame_times(made.target)
    steps = np.diff(times)
    assert np.abs(steps - 0.04).max() < 0.0015, "no jump, and nothing squeezed"
    assert any("times jump at 1 place" in note for note in made.notes)
    sound = packets(made.target, "audio")
    lag = float(sound[-1][0] - sound[0][0]) - (times[-1] - times[0])
    assert abs(lag) < 0.12, "sound goes along"
    assert sorted(at for at, *_ in sound) == [at for at, *_ in sound]


@needs_ffmpeg
@pytest.mark.parametrize("apart_s", [0, 3600])
def test_the_duration_is_that_of_ffmpeg(apart_s: int, tmp_path: Path) -> None:
    source = joined(tmp_path / "a.ts", tmp_path, apart_s=apart_s)
    made = restored(source, tmp_path / "b.mp4")
    tool = tmp_path / "tool.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-c:v", "libx264", "-c:a", "copy"]
    subprocess.run([*command, str(tool)], check=True)
    ours, theirs = (_durations(path) for path in (made.target, tool))
    assert ours == pytest.approx(theirs, abs=0.09)


def _durations(path: Path) -> list[float]:
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=duration", "-of", "json"]
    said = subprocess.run([*command, str(path)], check=True, capture_output=True, text=True).stdout
    return [float(stream["duration"]) for stream in json.loads(said)["streams"]]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_file_with_one_clock_is_left_alone(name: str, tmp_path: Path) -> None:
    path = clip(
        tmp_path / name,
        times=[0, 3000, 3900, 12000, 50000, 99000] + [99000 + i for i in range(1, 11)],
    )
    with open_input(path) as container:
        timeline, moved = Timeline(container), 0
        for packet in container.demux():
            before = packet.dts
            timeline.place(packet)
            moved += packet.dts != before
        assert (timeline.seams, moved) == (0, 0)


def cut(source: Path, share: float) -> Path:
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    return source


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_file_that_ends_early_says_how_much_there_was(name: str, tmp_path: Path) -> None:
    source = cut(clip(tmp_path / name, count=50, movflags="+faststart"), 0.5)
    made = restored(source, tmp_path / f"b{source.suffix}")
    wanted = f"{made.frames} of about"
    note = next(note for note in made.notes if wanted in note)
    about = int(note.split("of about ")[1].split()[0])
    assert 48 <= about <= 52


def test_lost_packets_are_counted(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.ts", count=50, size=(320, 240))
    data = bytearray(source.read_bytes())
    for at in (len(data) // 376 * 188, len(data) // 564 * 188):
        del data[at : at + 3 * 188]
    source.write_bytes(bytes(data))
    made = restored(source, tmp_path / "b.mkv")
    assert any("of the video was lost" in note for note in made.notes)


def test_an_edit_list_is_no_loss(tmp_path: Path) -> None:
    """Frames that a file holds and does not show are missed by nobody."""
    source = clip(tmp_path / "a.mp4", count=40, sound=False)
    data = bytearray(source.read_bytes())
    at = data.index(b"elst")
    entries = at + 8
    length = int.from_bytes(data[entries + 4 : entries + 8], "big")
    data[entries + 4 : entries + 8] = (length // 2).to_bytes(4, "big")
    source.write_bytes(bytes(data))
    made = restored(source, tmp_path / "b.mp4")
    assert made.frames < 40
    assert made.notes == ()


def test_a_frame_without_times_follows_at_the_rate(tmp_path: Path) -> None:
    source = tmp_path / "a.h264"
    with (
        av.open(str(clip(tmp_path / "a.mp4", sound=False))) as old,
        av.open(str(source), "w", format="h264") as new,
    ):
        video: Any = old.streams.video[0]
        copy = new.add_stream_from_template(video)
        for packet in old.demux(video):
            if packet.size:
                packet.stream = copy
                new.mux_one(packet)
    made = restore_video(Identity(), source, tmp_path / "b.mp4")
    times = frame_times(made.target)
    assert len(times) == 16
    assert np.diff(times).max() < 2 * Fraction(1, 25)
    part = restore_video(Identity(), source, tmp_path / "c.mp4", start_s=0.2, duration_s=0.2)
    assert part.frames == 5


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_the_total_is_right_at_a_variable_rate(suffix: str, tmp_path: Path) -> None:
    times = [0, 3000, 3900, 12000, 12090, 30000, 45000, 45900, 90000, 91800]
    source = clip(tmp_path / f"a{suffix}", count=10, times=times, sound=False)
    seen: list[tuple[int, int | None]] = []
    restored(source, tmp_path / "b.mkv", progress=lambda *counts: seen.append(counts))
    assert seen == [(index, 10) for index in range(1, 11)]


@pytest.mark.parametrize("resume", [False, True])
def test_a_clock_that_begins_anywhere_begins_at_zero_in_a_file(
    resume: bool, tmp_path: Path
) -> None:
    source = _later(clip(tmp_path / "x.ts", count=20), tmp_path / "a.ts", 3600)
    made = restored(source, tmp_path / "b.mp4", resume=resume)
    times = frame_times(made.target)
    assert 0 <= times[0] < 0.1
    sound = packets(made.target, "audio")
    before = packets(source, "audio")
    lag = float(sound[0][0]) - times[0]
    assert lag == pytest.approx(float(before[0][0]) - frame_times(source)[0], abs=0.002)


def test_a_span_of_a_file_with_a_seam_is_found_without_its_index(tmp_path: Path) -> None:
    source = joined(tmp_path / "a.ts", tmp_path)
    made = restored(source, tmp_path / "b.mp4", start_s=1.0, duration_s=1.2)
    assert made.frames == 30
    times = frame_times(made.target)
    assert times[0] == pytest.approx(0, abs=0.05)
    assert np.abs(np.diff(times) - 0.04).max() < 0.0015
