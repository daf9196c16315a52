"""``whet video``: what it takes, what it says, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from clips import clip, frame_times
from commandline import whet


def video_of(path: Path) -> tuple[str, int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.codec.canonical_name, context.width, context.height


def test_several_files_and_folders_go_to_a_folder(tiny_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    clip(tmp_path / "in" / "a.mkv", count=3)
    clip(tmp_path / "in" / "deep" / "b.mp4", count=3)
    (tmp_path / "in" / "._b.mp4").write_bytes(b"not a video")
    (tmp_path / "in" / "notes.txt").write_text("not one either")
    alone = clip(tmp_path / "c.mp4", count=3)
    out = tmp_path / "out"
    outcome = whet("video", tmp_path / "in", alone, "-o", out, "-m", tiny_artifact)
    assert outcome.code == 0, outcome.err
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert made == ["a.mkv", "c.mp4", "deep/b.mp4"]
    assert len(frame_times(out / "a.mkv")) == 3


def test_one_that_fails_stops_no_other_and_is_named(tiny_artifact: Path, tmp_path: Path) -> None:
    clip(tmp_path / "a.mkv", count=3)
    (tmp_path / "b.mkv").write_bytes(b"not a video")
    outcome = whet("video", tmp_path, "-m", tiny_artifact, "--json")
    said = json.loads(outcome.out)
    assert outcome.code == 2
    assert [Path(done["target"]).name for done in said["done"]] == ["a-whet.mkv"]
    assert [Path(failed["source"]).name for failed in said["failed"]] == ["b.mkv"]
    again = whet("video", tmp_path, "-m", tiny_artifact, "--json", "--overwrite")
    assert len(json.loads(again.out)["done"]) == 1, "results are no sources"


def test_results_of_one_name_are_told_apart(tiny_artifact: Path, tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4", count=3)
    clip(tmp_path / "a.flv", count=3)
    outcome = whet("video", tmp_path, "-o", tmp_path / "out", "-m", tiny_artifact)
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-mp4.mp4", "a.mp4"]


def test_a_span_has_its_frames_sound_and_times(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", count=60, subtitles=True)
    target = tmp_path / "b.mkv"
    span = ("--start", "0:00.8", "--duration", "1", "--crf", "4", "--strength", "0")
    outcome = whet("video", source, "-o", target, "-m", tiny_artifact, "--no-gate", *span)
    assert outcome.code == 0, outcome.err
    times = frame_times(target)
    assert times == pytest.approx([index / 25 for index in range(25)], abs=0.002)
    with av.open(str(target)) as container:
        sound = [p.pts * p.time_base for p in container.demux(audio=0) if p.size]
    assert 0 <= min(sound) < 0.03
    assert 0.95 < max(sound) < 1.0
    with av.open(str(source)) as old, av.open(str(target)) as new:
        wanted = [f.to_ndarray(format="gray") for f in old.decode(video=0)][20].astype(int)
        first = next(new.decode(video=0)).to_ndarray(format="gray").astype(int)
    assert np.abs(wanted - first).mean() < 6
    late = whet("video", source, "-o", tmp_path / "c.mkv", "-m", tiny_artifact, "--start", "99")
    assert late.code == 2
    assert "start earlier" in late.err
    wrong = whet("video", source, "-o", tmp_path / "c.mkv", "-m", tiny_artifact, "--start", "soon")
    assert wrong.code == 2
    assert "'soon' is no time" in wrong.err


def test_a_preview_shows_both_sides(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", count=50)
    outcome = whet("video", source, "--preview", "1", "-m", tiny_artifact, "--no-gate")
    assert outcome.code == 0, outcome.err
    made = tmp_path / "a-whet-preview.mp4"
    assert outcome.out.strip() == str(made)
    assert video_of(made) == ("h264", 130, 48)
    with av.open(str(made)) as shown, av.open(str(source)) as old:
        frames = [f.to_ndarray(format="gray").astype(int) for f in shown.decode(video=0)]
        before = [f.to_ndarray(format="gray").astype(int) for f in old.decode(video=0)]
    assert 24 <= len(frames) <= 26
    middle = min(range(50), key=lambda i: np.abs(before[i] - frames[0][:, :64]).mean())
    assert 10 <= middle <= 14
    assert np.abs(before[middle] - frames[0][:, :64]).mean() < 3
    assert np.abs(frames[0][:, 66:] - frames[0][:, :64]).mean() > 1, "the tiny model changes much"


def test_names_that_other_people_use_are_understood(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", count=3)
    for name, codec in (("h265", "hevc"), ("X264", "h264"), ("libx265", "hevc"), ("H.264", "h264")):
        target = tmp_path / "b.mp4"
        arguments = ("-o", target, "-m", tiny_artifact, "--overwrite", "--codec", name)
        assert whet("video", source, *arguments).code == 0
        assert video_of(target)[0] == codec


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--codec", "aac"), "aac encodes audio"),
        (("--codec", "h264_nvenc"), "it needs an NVIDIA GPU"),
        (("--crf", "99"), "no CRF 99; choose 0"),
        (("--codec", "ffv1", "--crf", "20"), "has no CRF"),
        (("--preset", "warp"), "choose one of: ultrafast"),
        (("--audio", "h264"), "encodes no sound"),
        (("--audio", "nonsense"), "no encoder 'nonsense'"),
        (("--duration", "0"), "give more than 0"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tiny_artifact: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    source = clip(tmp_path / "a.mkv", count=3)
    outcome = whet("video", source, "-o", tmp_path / "b.mkv", "-m", tiny_artifact, *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "avcodec" not in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_pictures_and_empty_folders_are_named_as_such(tiny_artifact: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("photo.jpg", "photo.png", "photo.webp"):
        Image.new("RGB", (32, 24)).save(tmp_path / name)
        outcome = whet("video", tmp_path / name, "-m", tiny_artifact)
        assert outcome.code == 2
        assert "is a picture and no video; use: whet image" in outcome.err
    assert "holds no videos" in whet("video", tmp_path, "-m", tiny_artifact).err


def test_numbered_pictures_are_a_video(tiny_artifact: Path, tmp_path: Path) -> None:
    from PIL import Image

    for index in range(5):
        Image.new("RGB", (64, 48), (40 * index, 90, 120)).save(tmp_path / f"f{index:03}.png")
    outcome = whet("video", tmp_path / "f%03d.png", "-o", tmp_path / "b.mp4", "-m", tiny_artifact)
    assert outcome.code == 0, outcome.err
    assert len(frame_times(tmp_path / "b.mp4")) == 5


def test_json_says_what_was_kept(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", count=4, subtitles=True)
    outcome = whet("video", source, "-m", tiny_artifact, "--json", "--framemd5", "--codec", "hevc")
    said = json.loads(outcome.out)
    assert {"sound", "subtitles", "chapters", "title", "size"} <= set(said["same"])
    assert said["changed"] == {"codec": ["h264", "hevc"]}
    assert said["lost"] == said["notes"] == []
    assert Path(said["framemd5"]).read_text().startswith("#format: frame checksums")
    spoken = whet("video", source, "-m", tiny_artifact, "--overwrite").err
    assert "kept: codec, size" in spoken


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be caught")
def test_sigterm_leaves_nothing_behind(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", count=600, size=(640, 360), sound=False)
    code = "from whet.cli.main import main; main()"
    command = [sys.executable, "-c", code, "video", str(source), "-m", str(tiny_artifact)]
    running = subprocess.Popen([*command, "--no-gate"], env=dict(os.environ), stderr=-1)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".whet-*.part")):
        assert running.poll() is None, "it ended before it began"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_command_names_the_option_that_mends(tiny_artifact: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", count=3, subtitles=True)
    for target, said in (("b.webm", "--audio aac (or opus"), ("b.ts", "--drop-subtitles")):
        outcome = whet("video", source, "-o", tmp_path / target, "-m", tiny_artifact)
        assert outcome.code == 2
        assert said in outcome.err
    mended = ("-o", tmp_path / "b.webm", "-m", tiny_artifact, "--audio", "opus")
    assert whet("video", source, *mended).code == 0
