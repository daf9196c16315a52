"""What ``--camera`` means to FFmpeg on this system."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av.device

from whet.errors import MediaError

__all__ = ["Address", "address_of"]


@dataclass(frozen=True)
class Address:
    """What to open, as FFmpeg wants it named.

    Attributes:
        name: as people call it.
        url, format, options: arguments of ``av.open``.
        remedy: what to try when it does not open.
    """

    name: str
    url: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "check the path"


def address_of(camera: str, size: str | None = None, fps: float = 30) -> Address:
    """Return what ``--camera`` means on this system.

    Args:
        camera: a number, a URL, ``screen``, or the path of a file or device.
        size: WIDTHxHEIGHT to ask a camera for.
        fps: rate to ask a camera or the screen for.

    Raises:
        MediaError: there is no such thing here.
    """
    system = platform.system()
    options = {"framerate": f"{fps:g}"} | ({"video_size": size} if size else {})
    if camera == "screen":
        return _screen(system, options)
    if camera.isdecimal():
        return _camera(int(camera), system, options)
    if "://" in camera:
        # FFmpeg otherwise gathers seconds of a stream before it shows any.
        live = {"fflags": "nobuffer", "flags": "low_delay"}
        if camera.startswith("rtsp"):
            live["rtsp_transport"] = "tcp"
        return Address(camera, camera, None, live, "check the address and that it is on air")
    path = Path(camera)
    if path.is_char_device() and system == "Linux":
        return Address(camera, camera, "v4l2", options, "check that no program uses it")
    if not path.exists():
        raise MediaError(f"{camera}: no such file; name a camera number, a URL, screen or a file")
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); get a complete copy of the file")
    return Address(camera, camera)


def _camera(number: int, system: str, options: dict[str, str]) -> Address:
    name = f"camera {number}"
    if system == "Linux":
        remedy = "plug it in, close what uses it, or choose one of /dev/video*"
        return Address(name, f"/dev/video{number}", "v4l2", options, remedy)
    remedy = "plug it in, close what uses it, and allow access to it in the system's settings"
    if system == "Darwin":
        return Address(name, str(number), "avfoundation", options, remedy)
    found = [d for d in av.device.enumerate_input_devices("dshow") if "video" in d.media_types]
    if number >= len(found):
        known = ", ".join(f"{i} {d.description}" for i, d in enumerate(found)) or "none"
        raise MediaError(f"there is no camera {number}; found: {known}")
    return Address(name, f"video={found[number].name}", "dshow", options, remedy)


def _screen(system: str, options: dict[str, str]) -> Address:
    if system == "Windows":
        return Address("screen", "desktop", "gdigrab", options, "run it on a desktop")
    if system == "Darwin":
        remedy = "allow screen recording in the system's settings"
        return Address("screen", "Capture screen 0", "avfoundation", options, remedy)
    display = os.environ.get("DISPLAY")
    if not display:
        raise MediaError("there is no X11 screen here (DISPLAY is not set); name a camera or file")
    return Address("screen", display, "x11grab", options, "it works under X11, not Wayland")
