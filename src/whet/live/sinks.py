"""Where live frames go: a window, a virtual camera, a file, or a stream.

The window is SDL's (pygame) where that is installed, and OpenCV's otherwise. A
file is recorded with the times at which frames came in, so it plays at the
speed of life whatever was dropped; see :mod:`whet.live.recording`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from whet.errors import MediaError, MissingExtraError
from whet.files import check_target
from whet.live.picture import Form, even
from whet.live.recording import FORMATS, STREAMS, LiveEncoding, recording, streaming
from whet.runtime.yuv420 import Planes
from whet.video.decode.rgb import RgbWay

__all__ = ["QUIT", "SPLIT", "LiveSink", "OpenSink", "sink_for"]

QUIT, SPLIT = "quit", "split"

_WINDOW_KEYS = {"q": QUIT, "escape": QUIT, "s": SPLIT, "space": SPLIT}


class LiveSink(Protocol):
    """Something that shows frames."""

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        """Show a frame now; ``time_s`` counts from the first one.

        Raises:
            MediaError: nothing can be shown there any more.
        """

    def hear(self, sound: Any, time_s: float) -> None:
        """Take a decoded frame of sound that begins at ``time_s``."""

    def pressed(self) -> tuple[str, ...]:
        """Return what was asked for since the last call: ``QUIT``, ``SPLIT``."""


OpenSink = Callable[[Form], AbstractContextManager[LiveSink]]
"""``open(form)``; leaving the context completes what was shown."""


def sink_for(to: str, encoding: LiveEncoding) -> OpenSink:
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
        if find_spec("pyvirtualcam") is None:
            raise MissingExtraError("pyvirtualcam", "live")
        return lambda form: _virtual_camera(form, encoding.fps)
    if "://" in to:
        wire = STREAMS.get(to.partition("://")[0].lower())
        if wire is None:
            known = ", ".join(STREAMS)
            raise MediaError(f"{to}: whet sends no such streams; use one of {known}")
        return lambda form: streaming(to, wire, encoding, form)
    path = Path(to)
    if (format := FORMATS.get(path.suffix.lower())) is None:
        known = ", ".join(FORMATS)
        raise MediaError(
            f"{to}: name window, virtual-camera, a URL, or a file that ends in {known}"
        )
    check_target(path, overwrite=encoding.overwrite, error=MediaError)
    return lambda form: recording(path, format, encoding, form)


class _Silent:
    """A place without sound."""

    def hear(self, sound: Any, time_s: float) -> None:
        del sound, time_s


# Virtual camera


@contextmanager
def _virtual_camera(form: Form, fps: float) -> Iterator[LiveSink]:
    module = import_module("pyvirtualcam")
    width, height = form.width & ~1, form.height & ~1
    try:
        # Planes as they are: what cameras give, and half as many bytes as RGB.
        camera = module.Camera(width=width, height=height, fps=fps, fmt=module.PixelFormat.I420)
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no device"])[0]
        raise MediaError(
            f"no virtual camera can be opened ({first}); install OBS, or on Linux load v4l2loopback"
        ) from error
    with camera:
        yield _VirtualCamera(camera, form)


class _VirtualCamera(_Silent):
    def __init__(self, camera: Any, form: Form) -> None:
        self._camera, self._form = camera, form
        self._reformatter = VideoReformatter()

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        del time_s, caption
        planes = even(planes)
        if self._form.full_range:  # which nobody expects of a camera
            planes = Planes(
                self._reformatter.reformat(
                    planes.frame,
                    format="yuv420p",
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=ColorRange.MPEG,
                )
            )
        self._camera.send(np.concatenate([plane.reshape(-1) for plane in planes]))

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
def _sdl_window(form: Form) -> Iterator[LiveSink]:
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
                pygame.display.set_mode((form.width, form.height), pygame.SCALED | pygame.RESIZABLE)
        except pygame.error as error:
            raise MediaError(f"no window can be opened ({error}); name a file instead") from error
        yield _SdlWindow(pygame, form)
    finally:
        pygame.display.quit()


class _SdlWindow(_Silent):
    def __init__(self, pygame: Any, form: Form) -> None:
        self._pygame, self._size = pygame, (form.width, form.height)
        self._rgb = RgbWay(form.matrix, form.full_range, deep=False)

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        del time_s
        pygame, pixels = self._pygame, self._rgb.to_rgb(planes.frame)
        picture = pygame.image.frombuffer(pixels, self._size, "RGB")
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
def _opencv_window(form: Form) -> Iterator[LiveSink]:
    cv2 = import_module("cv2")
    try:
        cv2.namedWindow(_OpenCvWindow.NAME, cv2.WINDOW_NORMAL)
        cv2.resizeWindow(_OpenCvWindow.NAME, form.width, form.height)
    except cv2.error as error:  # the headless build has no windows
        raise MissingExtraError("pygame-ce", "live") from error
    try:
        yield _OpenCvWindow(cv2, form)
    finally:
        cv2.destroyWindow(_OpenCvWindow.NAME)


class _OpenCvWindow(_Silent):
    NAME = "whet live"

    def __init__(self, cv2: Any, form: Form) -> None:
        self._cv2 = cv2
        self._rgb = RgbWay(form.matrix, form.full_range, deep=False)

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        del time_s
        pixels = self._rgb.to_rgb(planes.frame)
        self._cv2.setWindowTitle(self.NAME, caption)
        self._cv2.imshow(self.NAME, pixels[..., ::-1])

    def pressed(self) -> tuple[str, ...]:
        key = self._cv2.waitKey(1) & 0xFF
        closed = self._cv2.getWindowProperty(self.NAME, self._cv2.WND_PROP_VISIBLE) == 0
        names = {27: "escape", 32: "space"}
        action = _WINDOW_KEYS.get(names.get(key, chr(key)), "")
        return tuple(filter(None, (action, QUIT if closed else "")))
