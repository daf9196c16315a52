"""What goes wrong around a run: exit 2, one line with the remedy, nothing half-written or lost."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clips import clip, frame_times
from commandline import Outcome, load, save, whet

Make = Callable[..., NDArray[np.uint8]]


def contents(folder: Path) -> dict[str, str]:
    """Return name -> hash of every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(outcome: Outcome, *words: str) -> None:
    """Assert that a command ended in one line on stderr that holds all ``words``."""
    assert outcome.code == 2, outcome.err
    (line,) = outcome.err.splitlines()
    assert all(word in line for word in words), line
    assert outcome.out == ""


# --- Files that cannot be used -------------------------------------------------------------


def without_its_end(folder: Path) -> Path:
    path = clip(folder / "a.mp4")
    path.write_bytes(path.read_bytes()[:-3000])
    return path


def empty(folder: Path) -> Path:
    path = folder / "a.mp4"
    path.touch()
    return path


def in_an_unknown_codec(folder: Path) -> Path:
    """A Matroska file whose video is in a codec that no decoder knows."""
    path = clip(folder / "a.mkv", sound=False)
    data = path.read_bytes()
    assert data.count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_NOSUCHCODEC/X"))
    return path


def of_frames(folder: Path, side: int) -> Path:
    """A Matroska file whose header says ``side`` x ``side``; at 20,000, 1.2 GB as RGB."""
    path = clip(folder / "a.mkv", codec="ffv1", size=(320, 320), count=2, sound=False)
    data = path.read_bytes()
    for element in (b"\xb0\x82", b"\xba\x82"):  # Matroska's width and height, in two bytes
        assert data.count(element + (320).to_bytes(2, "big")) == 1
        data = data.replace(element + (320).to_bytes(2, "big"), element + side.to_bytes(2, "big"))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (without_its_end, "get a complete copy"),
        (empty, "is empty (0 bytes); get a complete copy"),
        (in_an_unknown_codec, "convert it first"),
        (partial(of_frames, side=16_000), "16000 x 16000 are more than the 67 megapixels"),
        (partial(of_frames, side=20_000), "or scale it first"),  # FFmpeg itself shows no size
    ],
)
def test_a_video_that_cannot_be_used(
    make: Callable[[Path], Path], remedy: str, tmp_path: Path, tiny_artifact: Path
) -> None:
    path = make(tmp_path)
    before = contents(tmp_path)
    refused(whet("video", path, "-m", tiny_artifact), path.name, remedy)
    assert contents(tmp_path) == before


def test_a_bomb_in_a_small_container_is_not_decoded(
    tmp_path: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds in the decoder too, where a header lies or says nothing."""
    from whet.video.decode import decoding

    path = clip(tmp_path / "a.mkv", sound=False)
    monkeypatch.setattr(decoding, "MAX_FRAME_PX", 64 * 48)
    assert whet("video", path, "-o", tmp_path / "b.mkv", "-m", tiny_artifact).code == 0
    monkeypatch.setattr(decoding, "MAX_FRAME_PX", 64 * 48 - 1)
    refused(whet("video", path, "-o", tmp_path / "c.mkv", "-m", tiny_artifact), "scale the video")


def test_a_missing_encoder(tmp_path: Path, tiny_artifact: Path) -> None:
    path = clip(tmp_path / "a.mp4")
    before = contents(tmp_path)
    outcome = whet("video", path, "-m", tiny_artifact, "--codec", "h265000", "--resume")
    refused(outcome, "no encoder 'h265000'; choose one of: h264, hevc")
    assert contents(tmp_path) == before


def test_a_video_that_breaks_off_is_restored_as_far_as_it_goes(
    tmp_path: Path, tiny_artifact: Path
) -> None:
    path = clip(tmp_path / "a.mp4", count=40, movflags="+faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    outcome = whet("video", path, "-m", tiny_artifact, "--quiet")
    assert outcome.code == 0
    assert "the file is incomplete" in outcome.err
    shown = len(frame_times(tmp_path / "a-whet.mp4"))
    assert 5 < shown < 40
    resumed = whet("video", path, "-o", tmp_path / "b.mp4", "-m", tiny_artifact, "--resume", "-q")
    assert (resumed.code, resumed.err) == (0, outcome.err)
    assert frame_times(tmp_path / "b.mp4") == frame_times(tmp_path / "a-whet.mp4")


def huge_picture() -> bytes:
    """A whole PNG of 20,000 x 20,000, black: 50 kB."""
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (lambda: b"", "is empty"),
        (huge_picture, "--max-pixels"),
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "damaged"),
    ],
    ids=["zero bytes", "20,000 x 20,000", "damaged"],
)
def test_a_folder_with_one_bad_picture_restores_the_others(
    content: Callable[[], bytes], remedy: str, tmp_path: Path, picture: Make, tiny_artifact: Path
) -> None:
    for index in range(3):
        save(picture(24, 32, index), tmp_path / "in" / f"{index}.png")
    (tmp_path / "in" / "1-bad.png").write_bytes(content())
    before = contents(tmp_path / "in")
    outcome = whet("image", tmp_path / "in", "-o", tmp_path / "out", "-m", tiny_artifact, "--quiet")
    refused(outcome, "1-bad.png", remedy)
    assert list(contents(tmp_path / "out")) == ["0.png", "1.png", "2.png"]
    assert contents(tmp_path / "in") == before
    assert not np.array_equal(load(tmp_path / "out" / "0.png"), load(tmp_path / "in" / "0.png"))


# --- Disks that are full or may not be written -----------------------------------------------


def on_a_disk(folder: Path, prepare: str, *words: object) -> tuple[Outcome, dict[str, int]]:
    """Run ``whet WORDS`` where ``folder/disk`` is a small disk, in a name space of its own.

    Args:
        folder: the test's.
        prepare: shell command between mounting 64 kB there and whet.
        words: of the command, run in ``folder``.

    Returns:
        The outcome, and name -> size of what was left on the disk.
    """
    if shutil.which("unshare") is None:
        pytest.skip("no name spaces on this system")
    (folder / "disk").mkdir()
    run = f"{shlex.quote(sys.executable)} -c 'from whet.cli.main import main; main()'"
    script = (
        f"mount -t tmpfs -o size=64k none disk || exit 77; {prepare}; "
        f"{run} {shlex.join(map(str, words))}; code=$?; "
        "echo; find disk -type f -printf '%P %s\\n'; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    if done.returncode in (1, 77) and "whet" not in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    out, _, left = done.stdout.partition("\n")
    sizes = {name: int(size) for name, size in (line.split() for line in left.splitlines())}
    return Outcome(done.returncode, out, done.stderr), sizes


READ_ONLY = "echo mine > disk/mine; mount -o remount,ro disk"


def noisy(path: Path) -> Path:
    """Write a video that does not compress: more than the small disk holds."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "20", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(30):
            pixels = rng.integers(0, 256, (96, 160, 3), np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("prepare", "remedy", "left", "more"),
    [
        ("true", "the disk is full", {}, ()),
        ("true", "the disk is full", {}, ("--resume",)),
        (READ_ONLY, "check the rights or choose", {"mine": 5}, ()),
    ],
    ids=["full", "full, in parts", "read-only"],
)
def test_a_video_onto_a_disk_that_takes_none(
    prepare: str,
    remedy: str,
    left: dict[str, int],
    more: tuple[str, ...],
    tmp_path: Path,
    tiny_artifact: Path,
) -> None:
    noisy(tmp_path / "a.mkv")
    before = contents(tmp_path)
    words = ("video", "a.mkv", "-o", "disk/b.mkv", "-m", tiny_artifact, "--crf", 10, *more)
    outcome, found = on_a_disk(tmp_path, prepare, *words)
    refused(outcome, "disk/b.mkv", remedy)
    assert found == left
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("prepare", "remedy", "left"),
    [
        ("true", "the disk is full", {"out/0.png"}),
        (READ_ONLY, "check the rights or choose", {"mine"}),
    ],
    ids=["full", "read-only"],
)
def test_pictures_onto_a_disk_that_takes_few(
    prepare: str, remedy: str, left: set[str], tmp_path: Path, picture: Make, tiny_artifact: Path
) -> None:
    save(picture(40, 60), tmp_path / "in" / "0.png")
    rng = np.random.default_rng(0)
    for name in "12":
        save(rng.integers(0, 256, (200, 200, 3), np.uint8), tmp_path / "in" / f"{name}.png")
    before = contents(tmp_path)
    words = ("image", "in", "-o", "disk/out", "-m", tiny_artifact, "--quiet")
    outcome, found = on_a_disk(tmp_path, prepare, *words)
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    failed = ("0", "1", "2") if "mine" in left else ("1", "2")
    assert len(lines) == len(failed), "one line for each picture that could not be written"
    assert all(f"{name}.png" in line for name, line in zip(failed, lines, strict=True))
    assert all(remedy in line for line in lines)
    assert found.keys() == left
    assert contents(tmp_path) == before


# --- A stream that vanishes ----------------------------------------------------------------


def test_a_stream_that_vanishes_for_good_leaves_a_whole_recording(
    tmp_path: Path, tiny_artifact: Path
) -> None:
    """A camera's transport stream over a socket that closes in the middle, and stays closed."""
    data = clip(tmp_path / "a.ts", count=40, sound=False).read_bytes()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        server.close()
        with connection:
            connection.sendall(data[: len(data) * 7 // 10])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    words = ("live", "--camera", address, "--to", tmp_path / "b.mkv", "-m", tiny_artifact)
    outcome = whet(*words, "--duration", 4)
    thread.join()
    assert outcome.code == 0, outcome.err
    assert "lost" in outcome.err
    assert len(frame_times(tmp_path / "b.mkv")) >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ts", "b.mkv"]
