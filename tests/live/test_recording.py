"""Recordings that play whatever ended them, with the source's shape, colours and sound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from commandline import whet
from whet.errors import MediaError
from whet.live.addresses import address_of
from whet.live.picture import Form
from whet.live.recording import FORMATS, LiveEncoding, recording
from whet.live.sources import Grab, Sound, WallClock, open_feed
from whet.runtime.yuv420 import Planes

WIDTH, HEIGHT, RATE = 64, 48, 25
FORM = Form(WIDTH, HEIGHT, matrix=5)

WRITER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from whet.errors import MediaError
from whet.live.picture import Form
from whet.live.recording import FORMATS, LiveEncoding, recording
from whet.runtime.yuv420 import Planes

path, how = Path(sys.argv[1]), sys.argv[2]
if how == "full":
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
rng = np.random.default_rng(0)
try:
    with recording(path, FORMATS[path.suffix], LiveEncoding(25), Form(64, 48, matrix=5)) as sink:
        for index in range(250):
            planes = Planes.empty(48, 64)
            for plane in planes:
                plane[:] = rng.integers(16, 236, plane.shape)
            sink.show(planes, index / 25, "")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
except MediaError as error:
    print(error)
    sys.exit(2)
"""


def still(level: int) -> Planes:
    planes = Planes.empty(HEIGHT, WIDTH)
    for plane, value in zip(planes, (level, 128, 128), strict=True):
        plane[:] = value
    return planes


def frames_in(path: Path) -> int:
    """Count the frames that an independent reader gets out of a file, damaged end or not."""
    count = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                count += len(packet.decode())
            except av.error.InvalidDataError:
                break
    return count


def written(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", WRITER, str(path), how]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not killed like this there")
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_recording_that_is_killed_plays_but_for_its_last_moments(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"talk{suffix}"
    outcome = written(path, "kill")
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "under its own name"
    assert frames_in(path) >= 250 - 2 * 25


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such limit there")
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_what_was_written_before_the_disk_was_full_is_kept_and_plays(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"talk{suffix}"
    outcome = written(path, "full")
    assert outcome.returncode == 2, outcome.stderr
    assert f"{path} cannot be written" in outcome.stdout
    assert "are kept and play" in outcome.stdout
    assert frames_in(path) >= 10
    assert path.stat().st_size <= 300_000


def test_a_completed_mp4_is_an_ordinary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with recording(path, "mp4", LiveEncoding(), FORM) as sink:
        for index in range(60):
            sink.show(still(60 + index), index / 25, "")
    assert b"mdat" in path.read_bytes()[:64], "one piece again"
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 60
        assert float(container.duration / av.time_base) == pytest.approx(60 / 25, abs=0.1)


def test_nothing_is_left_of_a_recording_without_a_frame(tmp_path: Path) -> None:
    def nothing() -> None:
        with recording(tmp_path / "a.mp4", "mp4", LiveEncoding(), FORM):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        nothing()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"mine")
    with (
        pytest.raises(MediaError, match="cannot be written"),
        recording(tmp_path / "a.mp4", "mp4", LiveEncoding(), FORM) as sink,
    ):
        sink.show(still(60), 0.0, "")
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"


# What a recording keeps of its source


def clip(path: Path, *, sound: bool = False, **tags: Any) -> Path:
    """Write two seconds of a picture that grows brighter, and a tone that begins with it."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=RATE, options={"crf": "4"})
        context = video.codec_context
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for name, value in tags.items():
            setattr(context, name, value)
        tone: Any = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index in range(2 * RATE):
            frame: Any = still(60 + index).frame
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
            if tone is not None:
                place = np.arange(index * 1764, (index + 1) * 1764)
                wave = (np.sin(place * 2 * np.pi * 441 / 44100) * (place >= 44100) * 0.5)[None]
                samples: Any = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "mono")
                samples.sample_rate, samples.pts = 44100, index * 1764
                samples.time_base = Fraction(1, 44100)
                out.mux(tone.encode(samples))
        out.mux(video.encode(None))
        if tone is not None:
            out.mux(tone.encode(None))
    return path


TAGS = {
    "sample_aspect_ratio": Fraction(32, 27),
    "color_primaries": 9,
    "color_trc": 18,  # HLG
    "colorspace": 9,
    "color_range": 1,
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
def test_shape_of_pixels_and_meaning_of_colours_are_kept(
    tmp_path: Path, tiny_artifact: Path, suffix: str
) -> None:
    source, target = clip(tmp_path / "a.mp4", **TAGS), tmp_path / f"b{suffix}"
    words = ("--camera", source, "--to", target, "--model", tiny_artifact, "--duration", 0.6)
    outcome = whet("live", *words)
    assert outcome.code == 0, outcome.err
    with av.open(str(target)) as container:
        frame: Any = next(container.decode(video=0))
        shape = container.streams.video[0].sample_aspect_ratio
    assert shape == TAGS["sample_aspect_ratio"]
    kept = {name: int(getattr(frame, name)) for name in TAGS if name.startswith("color")}
    assert kept == {name: TAGS[name] for name in kept}


def test_full_range_stays_full(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with recording(path, "mp4", LiveEncoding(), Form(WIDTH, HEIGHT, 5, full_range=True)) as sink:
        for index, level in enumerate((0, 255)):
            sink.show(still(level), index / 25, "")
    with av.open(str(path)) as container:
        first, second = container.decode(video=0)
    assert int(first.color_range) == 2
    assert (Planes(first).y.max(), Planes(second).y.min()) == (0, 255)


def heard(path: Path) -> np.ndarray:
    """Return the sound of a file, one channel at 48 kHz, as it lies beside the picture."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("flt", "mono", 48000)
        parts = []
        for frame in container.decode(stream):
            parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
    return np.concatenate(parts)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts"])
def test_sound_of_the_source_is_recorded_in_its_place(
    tmp_path: Path, tiny_artifact: Path, suffix: str
) -> None:
    source, target = clip(tmp_path / "a.mp4", sound=True), tmp_path / f"b{suffix}"
    outcome = whet("live", "--camera", source, "--to", target, "--model", tiny_artifact)
    assert outcome.code == 0, outcome.err
    loud = np.abs(heard(target)) > 0.1
    begins_s, ends_s = np.flatnonzero(loud)[[0, -1]] / 48000
    # Silent for a second, then a tone; encoders put some hundredths before it.
    assert begins_s == pytest.approx(1, abs=0.08)
    assert ends_s == pytest.approx(2, abs=0.1)


def test_no_sound_where_none_is_wanted_or_there_is_none(
    tmp_path: Path, tiny_artifact: Path
) -> None:
    source = clip(tmp_path / "a.mp4", sound=True)
    for camera, words in ((source, ("--no-sound",)), (clip(tmp_path / "silent.mp4"), ())):
        target = tmp_path / f"{camera.stem}-out.mp4"
        whet("live", "--camera", camera, "--to", target, "--model", tiny_artifact, *words)
        with av.open(str(target)) as container:
            assert not container.streams.audio


def test_gaps_in_the_sound_are_filled_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with recording(path, "matroska", LiveEncoding(), Form(WIDTH, HEIGHT, sound=True)) as sink:
        for index in range(50):
            sink.show(still(100), index / 25, "")
            if not 10 <= index < 40:
                wave = np.full((1, 2 * 1920), 9000, np.int16)
                samples: Any = av.AudioFrame.from_ndarray(wave, "s16", "stereo")
                samples.sample_rate = 48000
                sink.hear(samples, index / 25)
    sound = np.abs(heard(path)) > 0.05
    assert len(sound) / 48000 == pytest.approx(2, abs=0.1)
    assert sound[:17000].mean() > 0.9
    assert sound[24000:72000].mean() < 0.1
    assert sound[80000:94000].mean() > 0.9


def test_a_file_yields_sound_on_the_clock_of_its_frames(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()  # no wait is longer than nothing
    address = address_of(str(clip(tmp_path / "a.mp4", sound=True)))
    items = list(open_feed(address, loop=False, clock=WallClock(stop), sound=True)())
    frames = [item.time_s for item in items if isinstance(item, Grab)]
    sounds = [item.time_s for item in items if isinstance(item, Sound)]
    assert frames == pytest.approx([index / RATE for index in range(2 * RATE)])
    assert np.diff(sounds) == pytest.approx(1024 / 44100, abs=1e-3)
    assert sounds[0] == pytest.approx(0, abs=0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this there")
def test_a_live_run_that_is_killed_leaves_a_file_that_plays(
    tmp_path: Path, tiny_artifact: Path
) -> None:
    source, target = clip(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    words = ("live", "--camera", source, "--loop", "--to", target, "--model", tiny_artifact)
    code = "from whet.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        until = time.monotonic() + 240
        while time.monotonic() < until and not (target.exists() and frames_in_so_far(target) > 25):
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert frames_in(target) > 25


def frames_in_so_far(path: Path) -> int:
    try:
        return frames_in(path)
    except (av.error.FFmpegError, IndexError):
        return 0
