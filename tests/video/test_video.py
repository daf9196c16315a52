"""Video through a session: frames restored, everything else compared packet by packet."""

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clips import (
    HEIGHT,
    RATE,
    WIDTH,
    Dim,
    Identity,
    clip,
    frame_times,
    luma,
    packets,
    picture,
    restored,
)
from whet.errors import MediaError
from whet.video.decode.source import VideoSource
from whet.video.encode.encoding import CODECS, CONTAINERS
from whet.video.encode.sink import VideoSink
from whet.video.run import default_target, restore_video

# --- Frames --------------------------------------------------------------------------------


def test_every_frame_is_restored_once_and_in_order(tmp_path):
    session = Dim()
    seen: list[tuple[int, int | None]] = []
    report = restored(
        clip(tmp_path / "a.mp4"),
        tmp_path / "b.mp4",
        session,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.frames, session.frames) == (16, 16)
    assert seen == [(index, 16) for index in range(1, 17)]
    assert session.threads == {threading.get_ident()}
    before, after = luma(tmp_path / "a.mp4"), luma(tmp_path / "b.mp4")
    np.testing.assert_allclose(after, 16 + (before - 16) / 2, atol=6)
    assert not report.interrupted
    assert report.notes == ()


def test_an_idle_session_shifts_no_brightness(tmp_path):
    """FFmpeg's quick conversion to RGB and back darkens by more than one level."""
    restored(clip(tmp_path / "a.mp4", size=(320, 240)), tmp_path / "b.mp4", crf=1)
    change = luma(tmp_path / "b.mp4") - luma(tmp_path / "a.mp4")
    assert abs(change.mean()) < 0.1
    assert np.abs(change).mean() < 0.6


def test_strength_reaches_the_session_and_zero_skips_it(tmp_path):
    source = clip(tmp_path / "a.mp4", count=4)
    session = Dim()
    restored(source, tmp_path / "b.mp4", session, strength=0)
    assert session.frames == 0
    np.testing.assert_allclose(luma(tmp_path / "b.mp4"), luma(source), atol=4)


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
def test_10_bits_stay_10_bits(codec, name, tmp_path):
    source = clip(tmp_path / "a.mp4", codec=codec, pixel_format="yuv420p10le", count=8)
    session = Identity()
    restored(source, tmp_path / "b.mp4", session, codec=name, crf=1)
    assert session.dtypes == {np.dtype(np.uint16)}
    with av.open(str(tmp_path / "b.mp4")) as result:
        assert result.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
    change = luma(tmp_path / "b.mp4") - luma(source)
    assert abs(change.mean()) < 0.4
    assert np.abs(change).mean() < 2.5, "in levels of 1023"


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p", "yuvj420p"])
def test_chroma_sampling_and_full_range_are_kept(pixel_format, tmp_path):
    source = clip(tmp_path / "a.mp4", pixel_format=pixel_format, count=4)
    restored(source, tmp_path / "b.mp4")
    expected = pixel_format.replace("yuvj", "yuv")
    with VideoSource(source).container as old, av.open(str(tmp_path / "b.mp4")) as new:
        kept = new.streams.video[0].codec_context
        assert kept.pix_fmt.replace("yuvj", "yuv") == expected
        assert kept.color_range == old.streams.video[0].codec_context.color_range
    np.testing.assert_allclose(luma(tmp_path / "b.mp4"), luma(source), atol=4)


@pytest.mark.parametrize(
    "colour",
    [
        {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1},
        {"color_range": 2, "color_primaries": 9, "color_trc": 16, "colorspace": 9},
        {"color_range": 1, "color_primaries": 6, "color_trc": 6, "colorspace": 6},
    ],
)
def test_colour_tags_are_kept_and_used(colour, tmp_path):
    source = clip(tmp_path / "a.mp4", colour=colour, count=4)
    restored(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as result:
        context = result.streams.video[0].codec_context
        assert {name: int(getattr(context, name)) for name in colour} == colour
    np.testing.assert_allclose(luma(tmp_path / "b.mp4"), luma(source), atol=4)


@pytest.mark.parametrize("matrix", [1, 5, 9])
def test_the_session_sees_the_colours_that_the_matrix_tag_means(matrix, tmp_path):
    """Read by the wrong one of these matrices, this red is off by 8 to 20 levels."""
    colour = np.array([200, 60, 40])
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "1"})
        video.width, video.height = WIDTH, HEIGHT
        video.codec_context.colorspace, video.codec_context.color_range = matrix, 1
        plain = np.broadcast_to(colour, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(plain), "rgb24").reformat(
            format="yuv420p", dst_colorspace=matrix, src_color_range=2, dst_color_range=1
        )
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    seen = []

    class Watching(Identity):
        def restore(self, image, strength=1.0):
            seen.append(image.reshape(-1, 3).mean(axis=0))
            return image

    restored(tmp_path / "a.mp4", tmp_path / "b.mp4", Watching())
    np.testing.assert_allclose(seen[0], colour, atol=3)


def test_an_odd_size_is_kept(tmp_path):
    source = clip(tmp_path / "a.mkv", size=(63, 47), pixel_format="yuv444p", count=3)
    restored(source, tmp_path / "b.mkv")
    assert luma(tmp_path / "b.mkv").shape == (3, 47, 63)


def test_an_animated_gif_is_a_video(tmp_path):
    from PIL import Image

    frames = [Image.fromarray(picture(index, 51, 40)) for index in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=80)
    report = restored(tmp_path / "a.gif", tmp_path / "b.mp4")
    assert report.frames == 5
    assert frame_times(tmp_path / "b.mp4") == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])


# --- Everything else -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_sound_is_copied_exactly(suffix, tmp_path):
    source = clip(tmp_path / "a.mp4")
    restored(source, tmp_path / f"b{suffix}")
    before, after = packets(source, "audio"), packets(tmp_path / f"b{suffix}", "audio")
    assert len(before) > 10
    if suffix in (".mp4", ".mov"):
        assert after == before
    else:  # a transport stream wraps every packet in its own header, times are rounded
        wrap = {".mkv": 0, ".ts": 7}[suffix]
        assert [content[wrap:] for *_, content in after] == [content for *_, content in before]
        shift = after[0][0] - before[0][0]
        for (new, *_), (old, *_) in zip(after, before, strict=True):
            assert abs(new - old - shift) <= Fraction(1, 900)


def test_subtitles_chapters_and_titles_are_copied(tmp_path):
    source = clip(tmp_path / "a.mkv", subtitles=True)
    restored(source, tmp_path / "b.mkv")
    assert packets(tmp_path / "b.mkv", "subtitle") == packets(source, "subtitle")
    assert [c for *_, c in packets(source, "subtitle")] == [b"line 0", b"line 1", b"line 2"]
    with av.open(str(tmp_path / "b.mkv")) as result:
        chapter = result.chapters()[0]
        assert chapter["metadata"]["title"] == "Opening"
        assert chapter["end"] * chapter["time_base"] == Fraction(3, 10)
        assert result.metadata["title"] == "Works"
        assert result.streams.video[0].metadata["language"] == "fin"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_frame_rate_keeps_every_time(suffix, tmp_path):
    times = [0, 3000, 3900, 12000, 12090, 30000, 45000, 45900, 90000, 91800]
    source = clip(tmp_path / f"a{suffix}", count=10, times=times)
    restored(source, tmp_path / f"b{suffix}")
    assert frame_times(tmp_path / f"b{suffix}") == frame_times(source)
    assert frame_times(source)[-1] == pytest.approx(91800 / 90000, abs=0.001)


def test_the_last_frame_is_shown_as_long_as_before(tmp_path):
    source = clip(tmp_path / "a.mkv", count=4, last_duration=180000)
    restored(source, tmp_path / "b.mkv")
    shown = []
    for path in (source, tmp_path / "b.mkv"):
        durations = {float(at): float(length) for at, length, _ in packets(path, "video")}
        shown.append(durations[max(durations)])
    assert shown == [2.0, 2.0]


def test_picture_and_sound_stay_in_step_when_the_video_starts_late(tmp_path):
    source = clip(tmp_path / "a.mp4", count=8, times=[9000 + 3600 * i for i in range(8)])
    restored(source, tmp_path / "b.mp4")
    assert frame_times(tmp_path / "b.mp4") == frame_times(source)
    assert packets(tmp_path / "b.mp4", "audio") == packets(source, "audio")


def test_rotation_is_kept(tmp_path):
    quarter_turn = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    source = clip(tmp_path / "a.mp4", matrix=quarter_turn, count=4)
    restored(source, tmp_path / "b.mp4")
    rotations = []
    for path in (source, tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            rotations.append(next(container.decode(video=0)).rotation)
    assert rotations[0] == rotations[1]
    assert abs(rotations[0]) == 90


@pytest.mark.parametrize("codec", [name for name in CODECS if name not in ("h264", "hevc")])
def test_other_codecs_write_what_they_are_asked_for(codec, tmp_path):
    source = clip(tmp_path / "a.mp4", count=3, sound=False)
    restore_video(Identity(), source, tmp_path / "b.mkv", codec=codec)
    with av.open(str(tmp_path / "b.mkv")) as result:
        assert result.streams.video[0].codec_context.codec.canonical_name == codec
    assert luma(tmp_path / "b.mkv").shape == (3, HEIGHT, WIDTH)


def test_webm_takes_its_own_codec_by_default(tmp_path):
    restore_video(Identity(), clip(tmp_path / "a.mp4", count=3, sound=False), tmp_path / "b.webm")
    with av.open(str(tmp_path / "b.webm")) as result:
        assert result.streams.video[0].codec_context.codec.canonical_name == "vp9"


# --- Bad input -----------------------------------------------------------------------------


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"dear diary, this is no video at all", "is no video, or it is incomplete"),
        (None, "no such file"),
    ],
)
def test_files_that_are_no_video(content, message, tmp_path):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=message):
        restored(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "b.mp4" not in leftovers(tmp_path)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as out:
        tone = out.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    with pytest.raises(MediaError, match="holds no video stream"):
        restored(tmp_path / "a.m4a", tmp_path / "b.mp4")


def test_a_file_without_its_index_names_the_remedy(tmp_path):
    data = clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match="index is missing"):
        restored(tmp_path / "a.mp4", tmp_path / "b.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_video_is_restored_as_far_as_it_goes(suffix, tmp_path):
    source = clip(tmp_path / f"a{suffix}", count=40, movflags="+faststart")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 6 // 10])
    report = restored(source, tmp_path / f"b{suffix}")
    assert 5 < report.frames < 40
    assert len(frame_times(tmp_path / f"b{suffix}")) == report.frames
    if suffix == ".mp4":
        assert any("incomplete" in note for note in report.notes)


def test_damage_in_the_middle_loses_only_a_part(tmp_path):
    source = clip(tmp_path / "a.mkv", count=40, sound=False)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = os.urandom(200)
    source.write_bytes(bytes(data))
    report = restored(source, tmp_path / "b.mkv")
    assert report.frames >= 15
    assert len(frame_times(tmp_path / "b.mkv")) == report.frames


def test_a_missing_encoder_lists_the_known_ones(tmp_path):
    source = clip(tmp_path / "a.mp4", count=2)
    with pytest.raises(MediaError, match="no encoder 'h265000'; choose one of: h264"):
        restored(source, tmp_path / "b.mp4", codec="h265000")
    assert leftovers(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("options", "suffix"), [({"preset": "warp"}, ".mp4"), ({"codec": "h264"}, ".webm")]
)
def test_options_and_containers_that_do_not_fit_fail_before_any_work(options, suffix, tmp_path):
    session = Identity()
    with pytest.raises(MediaError, match=r"no preset 'warp'; choose one of|choose another codec"):
        restored(clip(tmp_path / "a.mp4", count=2), tmp_path / f"b{suffix}", session, **options)
    assert session.frames == 0
    assert leftovers(tmp_path) == ["a.mp4"]


def test_a_stream_that_the_container_cannot_hold_names_the_remedy(tmp_path):
    source = clip(tmp_path / "a.mkv", subtitles=True)
    with pytest.raises(MediaError, match=r"mpegts cannot hold the subtitle stream \(.*\.mkv"):
        restored(source, tmp_path / "b.ts")
    assert leftovers(tmp_path) == ["a.mkv"]


def test_targets_are_checked_before_any_work(tmp_path):
    source = clip(tmp_path / "a.mp4", count=2)
    with pytest.raises(MediaError, match=r"no '.gif' videos; use one of \.mp4"):
        restored(source, tmp_path / "b.gif")
    with pytest.raises(MediaError, match="while it is read"):
        restored(source, source, overwrite=True)
    with pytest.raises(MediaError, match="choose 0"):
        restored(source, tmp_path / "b.mp4", strength=3)
    with pytest.raises(MediaError, match="no such folder"):
        restored(source, tmp_path / "nowhere" / "b.mp4")
    (tmp_path / "b.mp4").write_bytes(b"precious")
    with pytest.raises(MediaError, match="exists already"):
        restored(source, tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == b"precious"
    assert restored(source, tmp_path / "b.mp4", overwrite=True).frames == 2


def test_the_default_target_keeps_containers_that_can_be_written():
    assert default_target(Path("x/a.mkv")) == Path("x/a-whet.mkv")
    assert default_target(Path("x/a.avi")) == Path("x/a-whet.mp4")
    assert set(CONTAINERS) >= {".mp4", ".mkv", ".webm", ".mov"}


# --- Interruptions -------------------------------------------------------------------------


class Interrupting(Identity):
    """Sends a real Ctrl-C to this process while frame ``at`` is being restored."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
        if self.frames == self.at:
            # A shell starts background jobs with Ctrl-C ignored, and Python then leaves it so.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)
        return super().restore(image)


ALONE = "WHET_TEST_ALONE"

# Raised late in a process that has loaded every runtime and codec under test, SIGINT has ended
# in a native crash; a command's process is a young one, and so is theirs.
alone = pytest.mark.skipif(ALONE not in os.environ, reason="runs in a process of its own")


def test_ctrl_c_is_handled_in_a_process_of_its_own():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "ctrl_c_leaves or ctrl_c_before",
    ]
    environment = {**os.environ, ALONE: "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


@alone
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_ctrl_c_leaves_a_playable_file_with_a_clear_name(suffix, tmp_path):
    source = clip(tmp_path / f"a{suffix}", count=40)
    report = restored(source, tmp_path / f"b{suffix}", Interrupting(at=17))
    assert report.interrupted
    assert report.target == tmp_path / f"b.partial{suffix}"
    assert report.frames == 17
    assert frame_times(report.target) == frame_times(source)[:17]
    assert leftovers(tmp_path) == [f"a{suffix}", f"b.partial{suffix}"]


@alone
def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path):
    source = clip(tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt):
        restored(source, tmp_path / "b.mp4", Interrupting(at=0))
    assert leftovers(tmp_path) == ["a.mp4"]


def test_a_failing_session_stops_all_threads_and_leaves_nothing(tmp_path):
    class Failing(Identity):
        def restore(self, image, strength=1.0):
            if self.frames == 5:
                raise RuntimeError("runtime gave up")
            return super().restore(image)

    source = clip(tmp_path / "a.mp4", count=40)
    with pytest.raises(RuntimeError, match="gave up"):
        restored(source, tmp_path / "b.mp4", Failing())
    assert leftovers(tmp_path) == ["a.mp4"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("whet-")]


def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    source = clip(tmp_path / "a.mkv", count=60, size=(320, 240))
    session = Identity()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    try:
        with pytest.raises(MediaError, match=r"b\.mkv cannot be written"):
            restored(source, tmp_path / "b.mkv", session, crf=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert leftovers(tmp_path) == ["a.mkv"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("whet-")]


@pytest.mark.parametrize("slow", ["restore", "encode"])
def test_a_slow_stage_holds_the_others_back(slow, tmp_path, monkeypatch):
    """Memory then holds a few frames whatever the length of the video."""
    source = clip(tmp_path / "a.mp4", count=40, sound=False)
    decoded, encoded = [], []
    convert, write = VideoSource._converted, VideoSink.write

    def counted_convert(self, item):
        decoded.append(1)
        return convert(self, item)

    def counted_write(self, item):
        time.sleep(0.01 if slow == "encode" else 0)
        encoded.append(1)
        write(self, item)

    class Watching(Identity):
        def restore(self, image, strength=1.0):
            time.sleep(0.01 if slow == "restore" else 0)
            assert len(decoded) - self.frames <= 6
            assert self.frames - len(encoded) <= 6
            return super().restore(image)

    monkeypatch.setattr(VideoSource, "_converted", counted_convert)
    monkeypatch.setattr(VideoSink, "write", counted_write)
    assert restored(source, tmp_path / "b.mp4", Watching()).frames == len(encoded) == 40


@pytest.mark.skipif("WHET_SHARED" not in os.environ, reason="no folder of real clips")
@pytest.mark.parametrize("name", ["akiyo_cif", "sam2_01_dog"])
def test_real_clips_keep_their_streams(name, tmp_path):
    source = Path(os.environ["WHET_SHARED"]) / "video" / f"{name}.mp4"
    report = restored(source, tmp_path / "b.mp4", crf=30)
    assert report.notes == ()
    assert packets(tmp_path / "b.mp4", "audio") == packets(source, "audio")
    assert frame_times(tmp_path / "b.mp4") == frame_times(source)
