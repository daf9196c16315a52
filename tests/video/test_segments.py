"""Runs that are interrupted and go on: what is finished stays, and the result is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from clips import Dim, Identity, clip, frame_times, packets, restored
from whet.errors import MediaError
from whet.video.encode import segments as module
from whet.video.encode.concat import _decode_times

SEGMENT = 6


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_FRAMES", SEGMENT)


class Stopping(Dim):
    """Restores like its parent until frame ``at``, then raises what stops it."""

    def __init__(self, at: int, failure: BaseException) -> None:
        super().__init__()
        self.at, self.failure = at, failure

    def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
        if self.frames == self.at:
            raise self.failure
        return super().restore(image, strength)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def shape(path: Path) -> dict[str, Any]:
    """Return what ffprobe would print of a file, encoded bytes of the video left out."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        first = next(container.decode(video=0))
        facts = {
            "streams": [stream.type for stream in container.streams],
            "codec": (context.name, context.pix_fmt, context.width, context.height),
            "colour": (context.color_range, context.color_primaries, context.color_trc),
            "rotation": first.rotation,
            "aspect": video.sample_aspect_ratio,
            "rates": (video.average_rate, video.time_base),
            "titles": dict(container.metadata),
            "stream titles": {k: v for k, v in video.metadata.items() if k != "DURATION"},
            "chapters": container.chapters(),
            "duration": container.duration,
        }
    times = sorted((time, length) for time, length, _ in packets(path, "video"))
    return {
        **facts,
        "frames": frame_times(path),
        "video times": times,
        "sound": packets(path, "audio"),
        "subtitles": packets(path, "subtitle"),
    }


# --- The result ----------------------------------------------------------------------------

TURNED = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
UNEVEN = [0, 3000, 3900, 12000, 12090, 30000, 45000, 45900, 90000, 91800, 91890, 91980, 99000]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": (".mp4", {"colour": {"color_range": 1, "color_primaries": 1, "color_trc": 1}}),
    "mkv with subtitles and chapters": (".mkv", {"subtitles": True}),
    "mov, turned": (".mov", {"matrix": TURNED}),
    "transport stream": (".ts", {}),
    "variable rate": (".mp4", {"count": len(UNEVEN), "times": UNEVEN}),
    "late start": (".mp4", {"times": [9000 + 3600 * i for i in range(16)]}),
    "10 bits": (".mkv", {"pixel_format": "yuv420p10le"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_in_parts_is_as_one_without(kind: str, tmp_path: Path) -> None:
    suffix, options = KINDS[kind]
    source = clip(tmp_path / f"a{suffix}", **options)
    plain = restored(source, tmp_path / f"plain{suffix}", Dim())
    report = restored(source, tmp_path / f"segments{suffix}", Dim(), resume=True)
    assert (report.frames, report.notes) == (plain.frames, plain.notes)
    assert shape(report.target) == shape(plain.target)
    assert kept(tmp_path) == [f"a{suffix}", f"plain{suffix}", f"segments{suffix}"]


@pytest.mark.parametrize("codec", ["hevc", "vp9", "av1", "ffv1"])
def test_parts_of_every_codec_fit_together(codec: str, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", count=8)
    options = {"codec": codec, "crf": None, "preset": None}
    plain = restored(source, tmp_path / "plain.mkv", Dim(), **options)
    report = restored(source, tmp_path / "b.mkv", Dim(), resume=True, **options)
    assert shape(report.target) == shape(plain.target)
    assert len(frame_times(report.target)) == 8


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([0, 3, 6], [0, 3, 6]),  # nothing reordered
        ([0, 9, 3, 6, 12], [-3, 0, 3, 6, 9]),  # one frame early
        ([10], [10]),
        ([0, 400, 100, 200, 300], [-100, 0, 100, 200, 300]),
    ],
)
def test_decoding_times_rise_and_precede_display(shown: list[int], expected: list[int]) -> None:
    assert _decode_times(shown) == expected
    assert all(decoded <= at for decoded, at in zip(expected, shown, strict=True))


# --- Going on ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stopped", "left"), [(0, 0), (SEGMENT - 1, 0), (2 * SEGMENT + 1, 2), (15, 2), (16, 3)]
)
def test_finished_parts_are_not_restored_again(stopped: int, left: int, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4")
    whole = restored(source, tmp_path / "whole.mp4", Dim(), resume=True)
    failing = Stopping(stopped, RuntimeError("power cut"))
    if stopped < 16:
        with pytest.raises(RuntimeError, match="power cut"):
            restored(source, tmp_path / "b.mp4", failing, resume=True)
    else:  # everything was restored, and joining failed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("whet.video.run.join", _no_space)
            with pytest.raises(MediaError, match="disk is full"):
                restored(source, tmp_path / "b.mp4", failing, resume=True)
    folder = tmp_path / "b.mp4.whet-segments"
    assert folder.exists() == bool(left)
    assert not (tmp_path / "b.mp4").exists()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.nut")}
    assert len(stamps) == left
    session, seen = Dim(), []
    report = restored(
        source,
        tmp_path / "b.mp4",
        session,
        resume=True,
        progress=lambda done, total: seen.append(done),
    )
    done = min(16, left * SEGMENT)
    assert (report.frames, report.kept, session.frames) == (16, done, 16 - done)
    assert seen == list(range(done + 1, 17))
    assert shape(report.target) == shape(whole.target)
    assert packets(report.target, "video") == packets(whole.target, "video")
    assert not folder.exists()


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_ctrl_c_keeps_every_frame_and_the_same_call_goes_on(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", subtitles=True)
    stopped = restored(source, tmp_path / "b.mkv", Stopping(9, KeyboardInterrupt()), resume=True)
    assert (stopped.interrupted, stopped.resumable, stopped.frames) == (True, True, 9)
    assert "keeps 9 frames" in stopped.how_it_ended
    assert frame_times(stopped.target / "000001.nut") == frame_times(source)[SEGMENT:9]
    session = Dim()
    report = restored(source, tmp_path / "b.mkv", session, resume=True)
    assert (report.frames, report.kept) == (16, 9)
    assert session.frames == 7 + 9 % SEGMENT, "steadying looks back to where it began"
    plain = restored(source, tmp_path / "plain.mkv", Dim())
    assert shape(report.target) == shape(plain.target)


def test_a_killed_process_loses_only_its_open_part(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", count=40)
    program = (
        "import os, sys; sys.path[:0] = sys.argv[1:2]\n"
        "from clips import Dim, restored\n"
        "from whet.video.encode import segments; segments.SEGMENT_FRAMES = 6\n"
        "class Killed(Dim):\n"
        "    def restore(self, image, strength=1.0):\n"
        "        return os._exit(9) if self.frames == 25 else super().restore(image, strength)\n"
        "restored(sys.argv[2], sys.argv[3], Killed(), resume=True)\n"
    )
    target = tmp_path / "b.mp4"
    words = [
        sys.executable,
        "-c",
        program,
        str(Path(__file__).parents[1]),
        str(source),
        str(target),
    ]
    assert subprocess.run(words, check=False).returncode == 9
    assert not target.exists()
    session = Dim()
    report = restored(source, target, session, resume=True)
    # The encoder may not have got to the end of the fourth segment when the process died.
    assert report.kept in (3 * SEGMENT, 4 * SEGMENT)
    assert session.frames == 40 - report.kept
    assert frame_times(target) == frame_times(source)


def test_an_open_gate_stays_open_behind_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.video import sharpness_gate

    monkeypatch.setattr(sharpness_gate, "sharpness", lambda _: 1.0)
    source, target = clip(tmp_path / "a.mp4", count=40), tmp_path / "b.mp4"
    whole = restored(source, tmp_path / "whole.mp4", Dim(), resume=True)
    monkeypatch.setattr(module, "SEGMENT_FRAMES", 25)
    passing = sharpness_gate.PATIENCE + sharpness_gate.FADE - 2
    assert whole.passed == 40 - passing
    broken = iter(range(30))
    monkeypatch.setattr(sharpness_gate, "sharpness", lambda _: 1.0 if next(broken) < 29 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        restored(source, target, Dim(), resume=True)
    monkeypatch.setattr(sharpness_gate, "sharpness", lambda _: 1.0)
    session = Dim()
    report = restored(source, target, session, resume=True)
    assert (report.kept, session.frames, report.passed) == (25, 0, whole.passed)


# --- What must not be mixed or lost --------------------------------------------------------


def started(folder: Path) -> tuple[Path, Path]:
    """Return source and target of a run that stopped in its second segment."""
    source, target = clip(folder / "a.mp4"), folder / "b.mp4"
    with pytest.raises(RuntimeError):
        restored(source, target, Stopping(8, RuntimeError()), resume=True)
    return source, target


OTHERWISE: dict[str, Callable[[Path], dict[str, Any]]] = {
    "crf": lambda _: {"crf": 9},
    "strength": lambda _: {"strength": 0.5},
    "gate": lambda _: {"gate": False},
    "steady": lambda _: {"steady": False},
    "source": lambda source: os.utime(source, (1, 1)) or {},
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_parts_of_another_run_are_refused_and_kept(what: str, tmp_path: Path) -> None:
    source, target = started(tmp_path)
    folder = module.segments_folder(target)
    before = kept(folder)
    options = OTHERWISE[what](source)
    session = Dim()
    with pytest.raises(MediaError, match=r"another run's .* delete it"):
        restored(source, target, session, resume=True, **options)
    assert (session.frames, kept(folder)) == (0, before)
    report = restored(source, target, session, resume=True, overwrite=True, **options)
    assert (report.kept, session.frames) == (0, 16)


def test_a_damaged_part_is_named_and_can_be_made_again(tmp_path: Path) -> None:
    source, target = started(tmp_path)
    segment = module.segments_folder(target) / "000000.nut"
    segment.write_bytes(segment.read_bytes()[:-3000])
    with pytest.raises(MediaError, match=r"000000\.nut is damaged; delete it"):
        restored(source, target, resume=True)
    assert not target.exists()
    segment.unlink()
    assert restored(source, target, resume=True).kept == 0
    assert frame_times(target) == frame_times(source)


def test_what_is_not_ours_stays_in_the_folder(tmp_path: Path) -> None:
    source, target = started(tmp_path)
    other = module.segments_folder(target) / "diary.txt"
    other.write_text("mine")
    restored(source, target, resume=True)
    assert kept(other.parent) == ["diary.txt"]
    target.unlink()
    with pytest.raises(RuntimeError):
        restored(source, target, Stopping(1, RuntimeError()), resume=True)
    assert kept(other.parent) == ["diary.txt"]


def test_an_existing_target_is_refused_before_any_work(tmp_path: Path) -> None:
    source, target = started(tmp_path)
    target.write_bytes(b"precious")
    session = Dim()
    with pytest.raises(MediaError, match="exists already"):
        restored(source, target, session, resume=True)
    assert (session.frames, target.read_bytes()) == (0, b"precious")


def test_a_full_disk_keeps_the_finished_parts(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    source, target = clip(tmp_path / "a.mkv", count=30, size=(320, 240)), tmp_path / "b.mkv"
    whole = restored(source, tmp_path / "whole.mkv", crf=20, resume=True)
    largest = max(len(content) for *_, content in packets(whole.target, "video"))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Identity):
        def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
            if self.frames == 2 * SEGMENT + 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, old[1]))
            return super().restore(image)

    try:
        with pytest.raises(MediaError, match=r"whet-segments cannot be written"):
            restored(source, target, Filling(), crf=20, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert not target.exists()
    session = Identity()
    report = restored(source, target, session, crf=20, resume=True)
    assert report.kept in (SEGMENT, 2 * SEGMENT)
    assert session.frames == 30 - report.kept
    assert shape(target) == shape(whole.target)


def test_times_of_parts_are_integers_of_the_sources_time_base(tmp_path: Path) -> None:
    """Matroska rounds to milliseconds; 1/90000 s must come through."""
    times = [7 * i * i + 3001 * i for i in range(14)]
    source = clip(tmp_path / "a.mp4", count=14, times=times, sound=False)
    restored(source, tmp_path / "b.mp4", resume=True)
    found = sorted(time for time, *_ in packets(tmp_path / "b.mp4", "video"))
    assert [time - found[0] for time in found] == [Fraction(t, 90000) for t in times]
    assert np.diff(np.array(times)).min() < 3600
