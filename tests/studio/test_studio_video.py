"""A heavy network restores a video, says how long, and goes on after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clips import clip
from commandline import whet
from whet.studio import open_studio
from whet.studio.session import TileDone
from whet.video.encode import segments
from whet.video.run import restore_video

Own = Callable[..., str]
Calls = Callable[[], int]


def test_the_command_says_how_long_and_leaves_no_tiles(
    own: Own, calls: Calls, cache: Path, tmp_path: Path
) -> None:
    source = clip(tmp_path / "clip.mp4", count=3)
    done = whet("video", source, "--model", own(), "--no-gate")
    assert done.code == 0, done.err
    assert "for all 3" in done.err
    assert "--resume" in done.err
    assert (tmp_path / "clip-whet.mp4").exists()
    assert calls() == 3
    assert not list((cache / "tiles").iterdir())


def test_an_interrupted_video_restores_no_finished_frame_again(
    own: Own, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SLOW_SEGMENT_FRAMES", 4)
    source, target = clip(tmp_path / "clip.mp4", count=10), tmp_path / "out.mp4"
    session = open_studio(own())

    def stop(_: TileDone) -> None:
        if calls() == 7:
            raise KeyboardInterrupt

    session.on_tile = stop
    broken = restore_video(session, source, target, gate=False, resume=True)
    assert broken.interrupted
    assert broken.frames == 6
    again = restore_video(open_studio(own()), source, target, gate=False, resume=True)
    assert again.frames == 10
    # Frame 7 and those that steadying looks back at were found in the cache.
    assert calls() == 10
