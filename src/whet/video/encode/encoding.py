"""How video is encoded: codecs, containers, and the choice of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import av

from whet.errors import Kind, MediaError

__all__ = [
    "ALIASES",
    "CODECS",
    "CONTAINERS",
    "SAME",
    "Codec",
    "Container",
    "Encoding",
    "codec_named",
    "encoder_for",
    "usual_codec",
]

SAME = "same"
"""As a codec: the one that the source is in."""

_FAST = ("ultrafast", "superfast", "veryfast", "faster", "fast")
_X26_PRESETS = (*_FAST, "medium", "slow", "slower", "veryslow", "placebo")


@dataclass(frozen=True)
class Codec:
    """A way to encode video.

    Attributes:
        encoder: FFmpeg's name.
        crf: default constant rate factor; None where the encoder has none.
        preset: default preset; None where the encoder has none.
        options: further options, always set.
        most_crf: largest constant rate factor; None where it is not known.
        presets: all presets; empty where they are not known.
    """

    encoder: str
    crf: int | None = None
    preset: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    most_crf: int | None = None
    presets: Sequence[str] = ()


CODECS: Mapping[str, Codec] = {
    "h264": Codec("libx264", 18, "veryfast", {}, 51, _X26_PRESETS),
    "hevc": Codec("libx265", 20, "fast", {"x265-params": "log-level=none"}, 51, _X26_PRESETS),
    "av1": Codec("libsvtav1", 28, "8", {}, 63, [str(number) for number in range(14)]),
    "vp9": Codec("libvpx-vp9", 28, None, {"b:v": "0", "cpu-used": "4", "row-mt": "1"}, 63),
    "ffv1": Codec("ffv1", None, None, {"level": "3"}),
}
"""Codec name -> encoder. Any other name is taken as an encoder of FFmpeg's own."""

ALIASES: Mapping[str, str] = {
    "avc": "h264",
    "h.264": "h264",
    "x264": "h264",
    "h265": "hevc",
    "h.265": "hevc",
    "x265": "hevc",
    "svtav1": "av1",
    **{codec.encoder: name for name, codec in CODECS.items()},
}
"""What else people call them."""

_FINE = {"flags": "+qscale", "global_quality": str(2 * 118)}  # quantiser 2, in FFmpeg's units
_OTHERS: Mapping[str, Codec] = {
    "mpeg1video": Codec("mpeg1video", options=_FINE),
    "mpeg2video": Codec("mpeg2video", options=_FINE),
    "mpeg4": Codec("mpeg4", options=_FINE),
    "mjpeg": Codec("mjpeg", options=_FINE),
    "prores": Codec("prores_ks"),
    "vp8": Codec("libvpx", 10, None, {"b:v": "20M", "cpu-used": "4"}, 63),
    "dnxhd": Codec("dnxhd", options={"profile": "dnxhr_hqx"}),
}
"""What a source may be in: codec -> encoder, where it needs other options than FFmpeg's own."""

_WITH_FIELDS = {
    "libx264",
    "mpeg2video",
    "mpeg4",
    "ffv1",
    "prores_ks",
    "dnxhd",
    "dvvideo",
    "rawvideo",
}


@dataclass(frozen=True)
class Container:
    """A file format for video.

    Attributes:
        format: FFmpeg's name.
        codec: that suits it.
        text: codec that it holds text subtitles in; empty where it holds none.
        options: of the format, always set.
    """

    format: str
    codec: str = "h264"
    text: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


_INDEX_FIRST = {"movflags": "+faststart"}  # a page then plays it while it loads

CONTAINERS: Mapping[str, Container] = {
    ".mp4": Container("mp4", text="mov_text", options=_INDEX_FIRST),
    ".m4v": Container("mp4", text="mov_text", options=_INDEX_FIRST),
    ".mov": Container("mov", text="mov_text", options=_INDEX_FIRST),
    ".mkv": Container("matroska", text="subrip"),
    ".webm": Container("webm", "vp9", text="webvtt"),
    ".ts": Container("mpegts"),
}
"""File name ending -> container."""


@dataclass(frozen=True)
class Encoding:
    """How frames and what goes with them are encoded.

    Attributes:
        container: its format.
        codec: a key of :data:`CODECS` or :data:`ALIASES`, an encoder's name, or :data:`SAME`.
        crf: constant rate factor; None takes the codec's default.
        preset: the encoder's preset; None takes the codec's default.
        audio: codec that sound is converted to; None copies it.
        subtitles: keep them.
        alpha: keep transparency where the codec and the container can.
    """

    container: Container
    codec: str
    crf: int | None = None
    preset: str | None = None
    audio: str | None = None
    subtitles: bool = True
    alpha: bool = True


def codec_named(name: str) -> Codec:
    """Return what a name means.

    Raises:
        MediaError: no encoder of video is called so.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    codec = CODECS.get(key) or _OTHERS.get(key) or Codec(name)
    known = ", ".join(CODECS)
    try:
        kind = av.codec.Codec(codec.encoder, "w").type
    except av.codec.codec.UnknownCodecError:
        raise MediaError(
            f"this FFmpeg has no encoder {name!r}; choose one of: {known}", Kind.UNSUPPORTED
        ) from None
    if kind != "video":
        raise MediaError(f"{name} encodes {kind}, no pictures; choose one of: {known}")
    return codec


def usual_codec(source: Any, container: Container) -> str:
    """Return the codec that suits a source: no depth and no fields are to be lost.

    Args:
        source: an open :class:`~whet.video.decode.source.VideoSource`.
        container: to write.
    """
    if container.format == "webm":
        return "av1" if source.deep else container.codec
    if source.interlaced:  # HEVC would have to keep its fields apart
        return "h264"
    if source.deep or source.stream.codec_context.name == "hevc":
        return "hevc"
    return container.codec


def encoder_for(source: Any, encoding: Encoding) -> Codec:
    """Return the encoder for a source, its options checked.

    Raises:
        MediaError: there is none, it takes no such option, or it cannot keep fields.
    """
    name = encoding.codec
    codec = _same(source) if name == SAME else codec_named(name)
    if encoding.crf is not None:
        if codec.crf is None and codec.encoder in {c.encoder for c in CODECS.values()}:
            raise MediaError(f"{name} has no CRF: it loses nothing; leave it out")
        if codec.most_crf is not None and not 0 <= encoding.crf <= codec.most_crf:
            most = codec.most_crf
            raise MediaError(f"{name} has no CRF {encoding.crf}; choose 0 (best) to {most}")
    if encoding.preset and codec.presets and encoding.preset not in codec.presets:
        raise MediaError(
            f"{name} has no preset {encoding.preset!r}; choose one of: {', '.join(codec.presets)}"
        )
    if source.interlaced and codec.encoder not in _WITH_FIELDS:
        raise MediaError(
            f"{source.path} is interlaced, which {name} cannot keep; H.264 in .mp4 or .mkv can",
            Kind.INTERLACED,
        )
    return codec


def _same(source: Any) -> Codec:
    context = source.stream.codec_context
    name = context.codec.canonical_name
    if codec := CODECS.get(name):
        return codec
    if name == "prores":
        profiles = ("Proxy", "LT", "Standard", "HQ", "4444", "XQ")
        found = next((i for i, p in enumerate(profiles) if p in (context.profile or "")), 3)
        return Codec("prores_ks", options={"profile": str(found)})
    codec = _OTHERS.get(name, Codec(name))
    try:
        av.codec.Codec(codec.encoder, "w")
    except av.codec.codec.UnknownCodecError:
        raise MediaError(
            f"{source.path} is in {name}, which this FFmpeg cannot write; "
            f"choose one of: {', '.join(CODECS)}"
        ) from None
    return codec
