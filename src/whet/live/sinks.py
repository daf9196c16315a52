"""Where live frames go: a window, a virtual camera, a file, or a stream.

The window is SDL's (pygame) where that is installed, and OpenCV's otherwise. A
file is recorded with the times at which frames came in, so it plays at the
speed of life whatever was dropped.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from whet.errors import MediaError, MissingExtraError
from whet.files import check_target, replacing
from whet.image import Pixels
from whet.video.encoding import CODECS, CONTAINERS, Container
from whet.video.reading import why
from whet.video.rgb import matrix_for

__all__ = ["STREAMS", "Encoding", "LiveSink", "OpenSink", "sink_for"]

QUIT, SPLIT = "quit", "split"

STREAMS: Mapping[str, Container] = {
    "rtmp": Container("flv"),
    "rtmps": Container("flv"),
    "rtsp": Container("rtsp"),
    "srt": Container("mpegts"),
    "tcp": Container("mpegts"),
    "udp": Container("mpegts"),
}
"""URL scheme -> format that is sent there."""

_CLOCK = Fraction(1, 90000)  # in which MPEG transport streams count
_WINDOW_KEYS = {"q": QUIT, "escape": QUIT, "s": SPLIT, "space": SPLIT}


class LiveSink(Protocol):
    """Something that shows frames."""

    def show(self, pixels: Pixels, time_s: float, caption: str) -> None:
        """Show uint8 (H, W, 3) now; ``time_s`` counts from the first frame.

        Raises:
            MediaError: nothing can be shown there any more.
        """

    def pressed(self) -> tuple[str, ...]:
        """Return what was asked for since the last call: ``QUIT``, ``SPLIT``."""


OpenSink = Callable[[int, int], AbstractContextManager[LiveSink]]
"""``open(width, height)``; leaving the context completes what was shown."""


@dataclass(frozen=True)
class Encoding:
    """How a file or stream is encoded.

    Attributes:
        fps: the nominal rate; frames keep their own times.
        crf: constant rate factor; None takes the codec's default.
        preset: the encoder's; None takes the codec's default.
        overwrite: whether an existing file may be replaced.
    """

    fps: float = 30
    crf: int | None = None
    preset: str | None = None
    overwrite: bool = False


def sink_for(to: str, encoding: Encoding) -> OpenSink:
    """Return how to open what ``--to`` names; refuse at once what cannot work.

    Args:
        to: ``window``, ``virtual-camera``, a URL or the path of a file.
        encoding: of a file or stream, and the rate of a virtual camera.

    Raises:
        MediaError: no such ending or scheme, or the file exists.
        MissingExtraError: the package that shows frames there is not installed.
    """
    if to == "window":
        return _window()
    if to == "virtual-camera":
        _need("pyvirtualcam")
        return lambda width, height: _virtual_camera(width, height, encoding.fps)
    if "://" in to:
        wire = STREAMS.get(to.partition("://")[0].lower())
        if wire is None:
            known = ", ".join(STREAMS)
            raise MediaError(f"{to}: whet sends no such streams; use one of {known}")
        return lambda width, height: _encoder(to, to, wire, encoding, width, height)
    path = Path(to)
    if (container := CONTAINERS.get(path.suffix.lower())) is None:
        known = ", ".join(CONTAINERS)
        raise MediaError(
            f"{to}: name window, virtual-camera, a URL, or a file that ends in {known}"
        )
    check_target(path, overwrite=encoding.overwrite, error=MediaError)
    return lambda width, height: _file(path, container, encoding, width, height)


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise MissingExtraError(package, "live")


# Files and streams


@contextmanager
def _file(
    path: Path, container: Container, encoding: Encoding, width: int, height: int
) -> Iterator[LiveSink]:
    with (
        replacing(path, overwrite=encoding.overwrite, error=MediaError) as temporary,
        _encoder(str(temporary), str(path), container, encoding, width, height) as sink,
    ):
        yield sink


@contextmanager
def _encoder(
    url: str, name: str, container: Container, encoding: Encoding, width: int, height: int
) -> Iterator[LiveSink]:
    """Open an encoder; complete the file on leaving, unless an exception leaves."""
    try:
        output = av.open(url, "w", format=container.format)
        try:
            sink = _Encoder(output, name, container, encoding, width, height)
            yield sink
            sink.flush()
        except BaseException:
            with suppress(av.error.FFmpegError, OSError):
                output.close()
            raise
        output.close()
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{name} cannot be written: {why(error)}") from error


class _Encoder:
    def __init__(
        self,
        output: Any,
        name: str,
        container: Container,
        encoding: Encoding,
        width: int,
        height: int,
    ) -> None:
        self._output, self._name = output, name
        # 4:2:0 chroma, which every player takes, needs even sides: a line may be cut.
        self._width, self._height = width & ~1, height & ~1
        codec = CODECS[container.codec]
        options = {**codec.options, "g": str(round(2 * encoding.fps))}
        options["crf"] = str(codec.crf if encoding.crf is None else encoding.crf)
        if preset := encoding.preset or codec.preset:
            options["preset"] = preset
        if codec.encoder == "libx264":
            options["tune"] = "zerolatency"
        if codec.encoder == "libvpx-vp9":
            options |= {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        rate = Fraction(encoding.fps).limit_denominator(1001)
        self._video: Any = output.add_stream(codec.encoder, rate=rate, options=options)
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = self._width, self._height, "yuv420p"
        self._video.time_base = context.time_base = _CLOCK
        self._matrix = matrix_for(self._height)
        context.colorspace, context.color_range = self._matrix, ColorRange.MPEG
        self._reformatter = VideoReformatter()
        self._last_pts = -1
        try:
            output.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"{name} cannot be encoded like this ({error}); check CRF and preset"
            ) from error

    def show(self, pixels: Pixels, time_s: float, caption: str) -> None:
        del caption
        even = np.ascontiguousarray(pixels[: self._height, : self._width])
        frame: Any = self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(even, "rgb24"),
            format="yuv420p",
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        self._last_pts = frame.pts = max(round(time_s / _CLOCK), self._last_pts + 1)
        frame.time_base = _CLOCK
        self._output.mux(self._video.encode(frame))

    def pressed(self) -> tuple[str, ...]:
        return ()

    def flush(self) -> None:
        self._output.mux(self._video.encode(None))


# Virtual camera


@contextmanager
def _virtual_camera(width: int, height: int, fps: float) -> Iterator[LiveSink]:
    try:
        camera = import_module("pyvirtualcam").Camera(width=width, height=height, fps=fps)
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no device"])[0]
        raise MediaError(
            f"no virtual camera can be opened ({first}); install OBS, or on Linux load v4l2loopback"
        ) from error
    with camera:
        yield _VirtualCamera(camera)


class _VirtualCamera:
    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def show(self, pixels: Pixels, time_s: float, caption: str) -> None:
        del time_s, caption
        self._camera.send(pixels)

    def pressed(self) -> tuple[str, ...]:
        return ()


# Windows


def _window() -> OpenSink:
    if find_spec("pygame") is not None:
        return _sdl_window
    if find_spec("cv2") is not None:
        return _opencv_window
    raise MissingExtraError("pygame-ce", "live")


@contextmanager
def _sdl_window(width: int, height: int) -> Iterator[LiveSink]:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    pygame = import_module("pygame")
    try:
        try:
            pygame.display.init()
            unseen = pygame.display.get_driver() in ("dummy", "offscreen")
            if unseen and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error("there is no screen here")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a slow renderer: the latency shows it
                # SCALED lets the graphics card fit the frame to the window.
                pygame.display.set_mode((width, height), pygame.SCALED | pygame.RESIZABLE)
        except pygame.error as error:
            raise MediaError(f"no window can be opened ({error}); name a file instead") from error
        yield _SdlWindow(pygame, width, height)
    finally:
        pygame.display.quit()


class _SdlWindow:
    def __init__(self, pygame: Any, width: int, height: int) -> None:
        self._pygame, self._size = pygame, (width, height)

    def show(self, pixels: Pixels, time_s: float, caption: str) -> None:
        del time_s
        pygame = self._pygame
        picture = pygame.image.frombuffer(np.ascontiguousarray(pixels), self._size, "RGB")
        pygame.display.get_surface().blit(picture, (0, 0))
        pygame.display.flip()
        pygame.display.set_caption(caption)

    def pressed(self) -> tuple[str, ...]:
        found = []
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                found.append(QUIT)
            elif event.type == self._pygame.KEYDOWN:
                found.append(_WINDOW_KEYS.get(self._pygame.key.name(event.key), ""))
        return tuple(filter(None, found))


@contextmanager
def _opencv_window(width: int, height: int) -> Iterator[LiveSink]:
    cv2 = import_module("cv2")
    try:
        cv2.namedWindow(_OpenCvWindow.NAME, cv2.WINDOW_NORMAL)
        cv2.resizeWindow(_OpenCvWindow.NAME, width, height)
    except cv2.error as error:  # the headless build has no windows
        raise MissingExtraError("pygame-ce", "live") from error
    try:
        yield _OpenCvWindow(cv2)
    finally:
        cv2.destroyWindow(_OpenCvWindow.NAME)


class _OpenCvWindow:
    NAME = "whet live"

    def __init__(self, cv2: Any) -> None:
        self._cv2 = cv2

    def show(self, pixels: Pixels, time_s: float, caption: str) -> None:
        del time_s
        self._cv2.setWindowTitle(self.NAME, caption)
        self._cv2.imshow(self.NAME, pixels[..., ::-1])

    def pressed(self) -> tuple[str, ...]:
        key = self._cv2.waitKey(1) & 0xFF
        closed = self._cv2.getWindowProperty(self.NAME, self._cv2.WND_PROP_VISIBLE) == 0
        names = {27: "escape", 32: "space"}
        action = _WINDOW_KEYS.get(names.get(key, chr(key)), "")
        return tuple(filter(None, (action, QUIT if closed else "")))
