"""Interlaced video: fields are restored apart and said to be there, or made pictures of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags
from still_frames import RATE, decoded, encoded, moving, values

from clips import Identity
from whet.errors import MediaError
from whet.runtime import Session, open_session
from whet.video.decode.fields import combed, split, top_first, weave
from whet.video.decode.source import VideoSource
from whet.video.run import restore_video

INTERLACED = Flags.interlaced_dct | Flags.interlaced_me


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("nano", threads=1)


def woven(
    count: int = 8, height: int = 96, pixel_format: str = "yuv420p", mark: str | None = "tff"
) -> list[Any]:
    """Return frames of two fields each, from a pattern that moves 3 px from field to field."""
    frames = []
    for index in range(count):
        fields = [
            av.VideoFrame.from_ndarray(moving(2 * index + later, height, 128), "rgb48le").reformat(
                format=pixel_format
            )
            for later in (0, 1)
        ]
        early, late = (0, 1) if mark != "bff" else (1, 0)
        frame = fields[early]
        weave(frame, split(fields[early])[0], split(fields[late])[1])
        frames.append(_marked(frame, mark) if mark else frame)
    return frames


def _marked(frame: Any, order: str) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=1
    )
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def interlaced(path: Path, order: str = "tff", **options: Any) -> Path:
    codec = options.pop("codec", "libx264")
    frames = woven(mark=order, **options)
    return encoded(
        path,
        frames,
        codec=codec,
        pixel_format=options.get("pixel_format", "yuv420p"),
        options={"crf": "4"} if codec == "libx264" else {},
        field_order=2 if order == "tff" else 3,
        flags=INTERLACED,
    )


def field_psnr(one: Path, other: Path) -> float:
    """Return the least PSNR in dB of luma over all fields."""
    found = []
    for before, after in zip(decoded(one), decoded(other), strict=True):
        peak = 2 ** before.format.components[0].bits - 1
        for first in (0, 1):
            error = (values(before) - values(after))[first::2] / peak
            found.append(-10 * np.log10(max(np.mean(error**2), 1e-12)))
    return min(found)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("pixel_format", "height"), [("yuv420p", 96), ("yuv422p10le", 96), ("yuv420p", 108)]
)
def test_fields_are_restored_apart_and_flags_are_kept(
    session: Session, pixel_format: str, height: int, order: str, tmp_path: Path
) -> None:
    source = interlaced(tmp_path / "a.mkv", order, pixel_format=pixel_format, height=height)
    made = restore_video(session, source, tmp_path / "b.mkv", crf=4, gate=False)
    assert made.notes == ()
    assert field_psnr(source, made.target) > 34
    for frame in decoded(made.target):
        assert frame.interlaced_frame
        assert top_first(frame) == (order == "tff")
    with av.open(str(made.target)) as container:
        video = container.streams.video[0].codec_context
        assert video.field_order == (2 if order == "tff" else 3)
        assert video.pix_fmt == pixel_format


def test_what_restoration_does_to_a_field_is_what_it_does_to_a_picture(tmp_path: Path) -> None:
    """A session that sees two fields at once would see combs, and here it sees every row."""
    seen: list[tuple[int, ...]] = []

    class Watching(Identity):
        def restore(self, image: Any, strength: float = 1.0) -> Any:
            seen.append(image.shape)
            assert not combed(np.ascontiguousarray(image[..., 1]))
            return super().restore(image)

    source = interlaced(tmp_path / "a.mp4", pixel_format="yuv422p10le")
    restore_video(Watching(), source, tmp_path / "b.mp4", gate=False)
    assert seen == [(48, 128, 3)] * 16


@pytest.mark.parametrize("resume", [False, True])
def test_deinterlacing_gives_a_picture_for_each_field(
    session: Session, resume: bool, tmp_path: Path
) -> None:
    source = interlaced(tmp_path / "a.mp4")
    made = restore_video(session, source, tmp_path / "b.mp4", deinterlace=True, crf=4,
                         gate=False, resume=resume)  # fmt: skip
    frames = list(decoded(made.target))
    assert made.frames == len(frames) == 16
    assert [frame.time for frame in frames] == pytest.approx([i / 50 for i in range(16)], abs=1e-3)
    assert not any(frame.interlaced_frame for frame in frames)
    for index in range(3, 12):
        truth = av.VideoFrame.from_ndarray(moving(index, 96, 128), "rgb48le")
        error = values(frames[index]) - values(truth.reformat(format="yuv420p"))
        assert 10 * np.log10(255**2 / np.mean(error[4:-4, 4:-4] ** 2)) > 33
    assert not combed(values(frames[6]).astype(np.uint8))


@pytest.mark.parametrize("codec", ["vp9", "av1", "hevc"])
def test_a_codec_without_fields_is_refused_with_the_remedy(codec: str, tmp_path: Path) -> None:
    source = interlaced(tmp_path / "a.mkv")
    with pytest.raises(MediaError, match="is interlaced, which"):
        restore_video(Identity(), source, tmp_path / "b.mkv", codec=codec)
    with pytest.raises(MediaError, match="is interlaced, which"):
        restore_video(Identity(), source, tmp_path / "b.webm")


def test_combs_that_no_flag_tells_of_are_found_and_noted(session: Session, tmp_path: Path) -> None:
    source = encoded(tmp_path / "a.mkv", woven(mark=None), options={"crf": "4"})
    made = restore_video(session, source, tmp_path / "b.mkv", crf=4, gate=False)
    assert any("8 frames hold the combs" in note for note in made.notes)
    assert field_psnr(source, made.target) > 34


def test_progressive_video_holds_no_combs(tmp_path: Path) -> None:
    noise = np.random.default_rng(3)
    frames = [
        np.clip(moving(i, 96, 128) + noise.normal(0, 3 * 257, (96, 128, 3)), 0, 65535).astype(
            np.uint16
        )
        for i in range(6)
    ]
    source = encoded(tmp_path / "a.mkv", frames, options={"crf": "18"})
    assert restore_video(Identity(), source, tmp_path / "b.mkv").notes == ()
    stripes = np.zeros((96, 128), np.uint8)
    stripes[::4] = 255  # thin lines, as in tables
    assert not combed(stripes)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p", "gray"])
@pytest.mark.parametrize("height", [48, 50])
def test_weaving_inverts_splitting(pixel_format: str, height: int) -> None:
    frame = av.VideoFrame.from_ndarray(moving(0, height, 40), "rgb48le")
    frame = frame.reformat(format=pixel_format)
    before = [values(frame, i).copy() for i in range(len(frame.planes))]
    top, bottom = split(frame)
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = 0
    weave(frame, top, bottom)
    for index, plane in enumerate(before):
        np.testing.assert_array_equal(values(frame, index), plane)


def test_a_source_that_is_deinterlaced_has_twice_the_rate(tmp_path: Path) -> None:
    source = VideoSource(interlaced(tmp_path / "a.mp4"), deinterlace=True)
    assert (source.rate, source.frame_count, source.interlaced) == (2 * RATE, 16, False)
    source.close()
