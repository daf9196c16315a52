"""How video is encoded: codecs, containers, and the choice of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CODECS", "CONTAINERS", "Codec", "Container", "Encoding"]


@dataclass(frozen=True)
class Codec:
    """A way to encode video.

    Attributes:
        encoder: FFmpeg's name.
        crf: default constant rate factor; None where the encoder has none.
        preset: default preset; None where the encoder has none.
        options: further options, always set.
    """

    encoder: str
    crf: int | None
    preset: str | None
    options: Mapping[str, str]


CODECS: Mapping[str, Codec] = {
    "h264": Codec("libx264", 18, "veryfast", {}),
    "hevc": Codec("libx265", 20, "fast", {"x265-params": "log-level=none"}),
    "av1": Codec("libsvtav1", 28, "8", {}),
    "vp9": Codec("libvpx-vp9", 28, None, {"b:v": "0", "cpu-used": "4", "row-mt": "1"}),
    "ffv1": Codec("ffv1", None, None, {"level": "3"}),
}
"""Codec name -> encoder. Any other name is taken as an encoder of FFmpeg's own."""


@dataclass(frozen=True)
class Container:
    """A file format for video: FFmpeg's name and the codec that suits it."""

    format: str
    codec: str = "h264"


CONTAINERS: Mapping[str, Container] = {
    ".mp4": Container("mp4"),
    ".m4v": Container("mp4"),
    ".mov": Container("mov"),
    ".mkv": Container("matroska"),
    ".webm": Container("webm", "vp9"),
    ".ts": Container("mpegts"),
}
"""File name ending -> container."""


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        container: its format.
        codec: a key of :data:`CODECS` or an encoder's name.
        crf: constant rate factor; None takes the codec's default.
        preset: the encoder's preset; None takes the codec's default.
    """

    container: Container
    codec: str
    crf: int | None = None
    preset: str | None = None
