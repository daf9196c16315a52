"""Live sources and sinks that are real: files through FFmpeg, a stream, a window without a screen.

No camera and no screen is needed. Nothing is asserted about how long anything took.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from whet.errors import MediaError, MissingExtraError
from whet.live import sinks, sources
from whet.live.addresses import address_of
from whet.live.picture import Form
from whet.live.recording import LiveEncoding
from whet.live.sinks import sink_for
from whet.live.sources import open_feed
from whet.runtime.yuv420 import Planes
from whet.video.decode.rgb import RgbWay

WIDTH, HEIGHT, RATE = 64, 48, 25
FORM = Form(WIDTH, HEIGHT, matrix=5)
RGB = RgbWay(5, full_range=False, deep=False)


class InstantClock:
    """Every wait is over at once, and has taken exactly its time."""

    def __init__(self) -> None:
        self.time_s = 5.0

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds


def shade(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A grey picture whose left half is darker; grey survives any chroma."""
    pixels = np.full((height, width, 3), 60 + 10 * index, np.uint8)
    pixels[:, : width // 2] -= 30
    return pixels


def planes_of(pixels: np.ndarray) -> Planes:
    return Planes(RGB.from_rgb(pixels, "yuv420p"))


def pixels_of(planes: Planes) -> np.ndarray:
    return RGB.to_rgb(planes.frame)


def clip(
    path: Path, count: int = 6, rotation: bool = False, times: list[int] | None = None
) -> Path:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        if rotation:  # as a telephone held upright writes it: 90 degrees clockwise
            video.set_display_matrix([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(shade(index), "rgb24")
            frame.pts, frame.time_base = (times or range(0, 4000, 40))[index], Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def feed(path: Path, loop: bool = False) -> sources.Feed:
    return open_feed(address_of(str(path)), loop=loop, clock=InstantClock())()


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


# Files as sources


def test_a_file_plays_in_its_own_time(tmp_path: Path) -> None:
    source = feed(clip(tmp_path / "a.mp4", 4, times=[0, 40, 200, 210]))
    assert source.finite
    assert (source.form.width, source.form.height) == (WIDTH, HEIGHT)
    grabs = list(source)
    assert [grab.time_s for grab in grabs] == pytest.approx([0, 0.04, 0.2, 0.21])
    assert [grab.arrived_s - 5 for grab in grabs] == pytest.approx([0, 0.04, 0.2, 0.21])
    for index, grab in enumerate(grabs):
        assert grab.planes().y.dtype == np.uint8
        assert np.abs(pixels_of(grab.planes()).astype(int) - shade(index)).mean() < 3


def test_a_loop_begins_again_and_its_time_goes_on(tmp_path: Path) -> None:
    source = iter(feed(clip(tmp_path / "a.mp4", 3), loop=True))
    grabs = [next(source) for _ in range(7)]
    assert [grab.time_s for grab in grabs] == pytest.approx([0.04 * i for i in range(7)])
    assert abs(int(pixels_of(grabs[4].planes())[0, -1, 0]) - int(shade(1)[0, -1, 0])) < 4
    source.close()  # type: ignore[attr-defined]


def test_a_file_that_decodes_too_slowly_is_not_chased(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6)
    clock = InstantClock()
    arrived = []
    for _ in open_feed(address_of(str(path)), loop=False, clock=clock)():
        arrived.append(clock.time_s)
        if len(arrived) == 2:
            clock.time_s += 60  # the machine slept
    # What follows the pause keeps its rhythm from there: 60 s are not made up for in a rush.
    assert np.diff(arrived)[2:] == pytest.approx([0.04] * 3)


def test_a_rotated_file_comes_upright(tmp_path: Path) -> None:
    (first, *_) = feed(clip(tmp_path / "a.mp4", 2, rotation=True))
    pixels = pixels_of(first.planes()).astype(int)
    assert pixels.shape == (WIDTH, HEIGHT, 3)
    # Turned clockwise, the darker left half is on top.
    assert pixels[: WIDTH // 2 - 4].mean() < pixels[WIDTH // 2 + 4 :].mean() - 20


def test_what_cannot_be_a_source_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MediaError, match="no such file; name a camera number"):
        address_of(str(tmp_path / "absent.mp4"))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match="empty"):
        address_of(str(tmp_path / "empty.mp4"))
    (tmp_path / "text.mp4").write_text("words")
    with pytest.raises(MediaError, match=r"text\.mp4 cannot be opened"):
        feed(tmp_path / "text.mp4")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(MediaError, match="DISPLAY is not set"):
        address_of("screen")


@pytest.mark.parametrize(
    ("system", "camera", "url", "format"),
    [
        ("Linux", "2", "/dev/video2", "v4l2"),
        ("Linux", "screen", ":7", "x11grab"),
        ("Darwin", "2", "2", "avfoundation"),
        ("Darwin", "screen", "Capture screen 0", "avfoundation"),
        ("Windows", "screen", "desktop", "gdigrab"),
        ("Linux", "rtsp://host/stream", "rtsp://host/stream", None),
    ],
)
def test_every_system_has_its_own_names(
    system: str, camera: str, url: str, format: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setenv("DISPLAY", ":7")
    address = address_of(camera, "640x480", 24)
    assert (address.url, address.format) == (url, format)
    if format:
        assert address.options == {"framerate": "24", "video_size": "640x480"}
    else:
        assert address.options["rtsp_transport"] == "tcp"


def test_a_camera_that_is_not_there_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    address = address_of("997")
    with pytest.raises(MediaError, match=r"camera 997 cannot be opened .*plug it in"):
        open_feed(address, loop=False, clock=InstantClock())()


# Files and streams as sinks


def record(path: Path, count: int = 4, width: int = WIDTH, height: int = HEIGHT) -> None:
    with sink_for(str(path), LiveEncoding(fps=25, crf=4))(Form(width, height, matrix=5)) as sink:
        for index in range(count):
            sink.show(planes_of(shade(index, width, height)), 0.05 * index, "")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.mov"])
def test_a_recording_holds_the_frames_and_their_times(tmp_path: Path, name: str) -> None:
    record(tmp_path / name)
    frames = frames_of(tmp_path / name)
    times = np.array([time for time, _ in frames])
    assert times - times[0] == pytest.approx([0, 0.05, 0.1, 0.15], abs=1e-3)
    for index, (_, pixels) in enumerate(frames):
        assert np.abs(pixels.astype(int) - shade(index)).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_colours_of_a_recording_are_tagged(tmp_path: Path) -> None:
    record(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert int(frame.colorspace) == 5  # BT.601, for lack of 720 lines
        assert int(frame.color_range) == 1  # as television does


def test_odd_sides_lose_one_line(tmp_path: Path) -> None:
    record(tmp_path / "a.mp4", width=63, height=47)
    assert frames_of(tmp_path / "a.mp4")[0][1].shape == (46, 62, 3)


def test_frames_at_one_moment_still_follow_each_other(tmp_path: Path) -> None:
    with sink_for(str(tmp_path / "a.mkv"), LiveEncoding())(FORM) as sink:
        for index in range(3):
            sink.show(planes_of(shade(index)), 0.0, "")
    assert len(frames_of(tmp_path / "a.mkv")) == 3


def test_a_recording_that_an_error_ends_is_completed(tmp_path: Path) -> None:
    def fail() -> None:
        with sink_for(str(tmp_path / "a.mp4"), LiveEncoding())(FORM) as sink:
            sink.show(planes_of(shade(0)), 0.0, "")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(frames_of(tmp_path / "a.mp4")) == 1


def test_a_recording_replaces_nothing_unless_told_to(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"mine")
    with pytest.raises(MediaError, match="exists already"):
        sink_for(str(tmp_path / "a.mp4"), LiveEncoding())
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"
    with sink_for(str(tmp_path / "a.mp4"), LiveEncoding(overwrite=True))(FORM) as sink:
        sink.show(planes_of(shade(0)), 0.0, "")
    assert len(frames_of(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize("to", ["a.gif", "cinema", "gopher://host/stream"])
def test_what_cannot_be_a_sink_is_refused(to: str) -> None:
    with pytest.raises(MediaError, match=r"name window, virtual-camera|use one of rtmp"):
        sink_for(to, LiveEncoding())


def test_an_encoder_that_refuses_its_options_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match="check CRF and preset"),
        sink_for(str(tmp_path / "a.mp4"), LiveEncoding(preset="warp"))(FORM) as sink,
    ):
        sink.show(planes_of(shade(0)), 0.0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_out_arrives(tmp_path: Path) -> None:
    ready, received = threading.Event(), []

    def receive() -> None:
        ready.set()
        url = "udp://127.0.0.1:23461?timeout=20000000"
        with av.open(url, format="mpegts", timeout=(20, 20)) as container:
            for frame in container.decode(video=0):
                received.append(frame.to_ndarray(format="rgb24"))
                return

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    ready.wait()
    with sink_for("udp://127.0.0.1:23461?pkt_size=1316", LiveEncoding(fps=25))(FORM) as sink:
        for index in range(2000):
            if not receiver.is_alive():
                break
            sink.show(planes_of(shade(5)), 0.04 * index, "")
            receiver.join(0.01)
    receiver.join(20)
    assert received[0].shape == (HEIGHT, WIDTH, 3)
    assert np.abs(received[0].astype(int) - shade(5)).mean() < 6


# Windows and virtual cameras


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'whet-sharpen\[live\]'"):
        sink_for("window", LiveEncoding())
    with pytest.raises(MissingExtraError, match="pyvirtualcam is not installed"):
        sink_for("virtual-camera", LiveEncoding())


class FakeVirtualCamera:
    def __init__(self, width: int, height: int, fps: float, fmt: str) -> None:
        if width == 2:
            raise RuntimeError("'v4l2loopback' backend: no device\nmore words")
        self.settings, self.sent, self.open = (width, height, fps, fmt), [], True
        FakeVirtualCamera.last = self

    def __enter__(self) -> FakeVirtualCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def send(self, pixels: np.ndarray) -> None:
        self.sent.append(pixels)


def test_a_virtual_camera_gets_every_frame_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Module:
        Camera = FakeVirtualCamera

        class PixelFormat:
            I420 = "I420"

    monkeypatch.setattr(sinks, "find_spec", lambda name: name)
    monkeypatch.setattr(sinks, "import_module", lambda name: Module)
    open_sink = sink_for("virtual-camera", LiveEncoding(fps=24))
    with open_sink(FORM) as sink:
        sink.show(planes_of(shade(1)), 0.0, "")
        assert sink.pressed() == ()
    camera = FakeVirtualCamera.last
    assert camera.settings == (WIDTH, HEIGHT, 24, "I420")
    wanted = np.concatenate([plane.ravel() for plane in planes_of(shade(1))])
    np.testing.assert_array_equal(camera.sent[0], wanted)
    assert not camera.open
    with pytest.raises(MediaError, match="install OBS"), open_sink(Form(2, 2)):
        pass


@pytest.mark.skipif(importlib.util.find_spec("pygame") is None, reason="needs pygame")
def test_a_window_shows_frames_and_hears_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    with sink_for("window", LiveEncoding())(FORM) as sink:
        sink.show(planes_of(shade(3)), 0.0, "whet live: nano")
        assert pygame.display.get_caption()[0] == "whet live: nano"
        shown = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
        assert np.abs(shown.astype(int) - shade(3)).max() <= 2
        assert sink.pressed() == ()
        for key in (pygame.K_s, pygame.K_x, pygame.K_SPACE, pygame.K_ESCAPE):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert sink.pressed() == ("split", "split", "quit", "quit")
    assert not pygame.display.get_init()


@pytest.mark.skipif(importlib.util.find_spec("pygame") is None, reason="needs pygame")
@pytest.mark.skipif("DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ, reason="a screen")
def test_no_screen_is_an_error_that_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    import pygame

    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with (
        pytest.raises(MediaError, match="name a file instead"),
        sink_for("window", LiveEncoding())(FORM),
    ):
        pass
