"""The guide for Python works as printed: every block of docs/python.md is executed."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

GUIDE = Path(__file__).parents[1] / "docs" / "python.md"
Make = Callable[..., NDArray[np.uint8]]


def blocks() -> dict[str, str]:
    """Return heading -> Python code; a heading has at most one block."""
    found = {}
    for part in GUIDE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        codes = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
        assert len(codes) <= 1, f"{heading}: which of them would be tested?"
        if codes:
            found[heading] = codes[0]
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Make) -> Path:
    """The folder in which the blocks run, with the files that they name."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(48, 64)).save("photo.jpg")
    with av.open("clip.mp4", "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for seed in range(4):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(48, 64, seed), "rgb24")))
        out.mux(video.encode(None))
    return tmp_path


def run(heading: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(blocks()[heading], f"{GUIDE.name}: {heading}", "exec"), names)
    return names


def test_no_block_is_left_out() -> None:
    tested = {"One picture", "What was not kept", "Many pictures", "PIL", "OpenCV", "A video file"}
    assert blocks().keys() == tested | {"FFmpeg pipes", "An asyncio server"}


def test_one_picture(here: Path) -> None:
    names = run("One picture")
    assert names["path"] == "photo-whet.jpg"
    assert (here / "photo-whet.jpg").exists()
    assert Image.open(io.BytesIO(names["data"])).size == (64, 48)


def test_what_was_not_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("What was not kept")
    assert Image.open(io.BytesIO(names["result"].image)).size == (64, 48)
    assert capsys.readouterr().out.splitlines()[1:] == list(names["result"].notes)


def test_many_pictures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Many pictures")
    assert names["restored"].shape == names["gently"].shape == names["frame"].shape
    assert capsys.readouterr().out.startswith("small ")


def test_pil(here: Path) -> None:
    run("PIL")
    assert Image.open(here / "sharp.png").size == (64, 48)


@pytest.mark.skipif(find_spec("cv2") is None, reason="OpenCV is not installed")
def test_opencv(here: Path) -> None:
    names = run("OpenCV")
    assert names["count"] == 4
    assert names["shown"].shape == (48, 64, 3)


def test_a_video_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("A video file")
    assert names["done"].frames == 4
    assert (here / "sharp.mp4").exists()
    assert capsys.readouterr().out.startswith("4 frames")


def test_ffmpeg_pipes(here: Path, picture: Make) -> None:
    restore_stream = run("FFmpeg pipes")["restore_stream"]
    frames = [picture(48, 64, seed) for seed in range(3)]
    raw, target = b"".join(frame.tobytes() for frame in frames), io.BytesIO()
    assert restore_stream(io.BytesIO(raw + b"torn"), target, 64, 48) == 3
    assert len(target.getvalue()) == len(raw)


def test_an_asyncio_server(here: Path) -> None:
    names = run("An asyncio server")

    async def ask() -> list[bytes]:
        server = await asyncio.start_server(names["serve"], "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers = []
            for data in ((here / "photo.jpg").read_bytes(), b"no picture"):
                writer.write(len(data).to_bytes(4, "big") + data)
                length = int.from_bytes(await reader.readexactly(4), "big")
                answers.append(await reader.readexactly(length))
            writer.write((2**31).to_bytes(4, "big"))
            assert await reader.read() == b"", "too large: the line is cut"
            writer.close()
            return answers

    sharp, refused = asyncio.run(ask())
    assert Image.open(io.BytesIO(sharp)).size == (64, 48)
    assert refused == b""
