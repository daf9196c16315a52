"""What a result has in common with its source: both are read, so that nothing is only believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error

from whet.errors import MediaError
from whet.video.decode.decoding import video_stream
from whet.video.decode.reading import is_cover, open_input
from whet.video.decode.source import VideoSource
from whet.video.encode.carried import carried

__all__ = ["Inventory", "facts", "inventory"]

_CARRIED = {
    "A53_CC": "closed captions",
    "MASTERING_DISPLAY_METADATA": "mastering display",
    "CONTENT_LIGHT_LEVEL": "content light level",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "SPHERICAL": "spherical projection",
    "STEREO3D": "stereo layout",
    "ICC_PROFILE": "colour profile",
    "AFD": "active format description",
    "S12M_TIMECODE": "timecode of frames",
}
_KINDS = {"audio": "sound", "subtitle": "subtitles", "attachment": "attachments"}


@dataclass(frozen=True)
class Inventory:
    """What came through.

    Attributes:
        same: names of what is as it was.
        changed: name -> what it was and what it is.
        lost: names of what is no more.
    """

    same: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def inventory(source: VideoSource, result: Path) -> Inventory:
    """Compare a finished file with its source, which stays open."""
    before = _facts(source.container, source.stream, source.first)
    after = facts(result)
    same, changed, lost = [], {}, []
    for name, value in before.items():
        if name not in after:
            lost.append(name)
        elif after[name] == value:
            same.append(name)
        else:
            changed[name] = (value, after[name])
    return Inventory(tuple(same), changed, tuple(lost))


def facts(path: Path) -> dict[str, str]:
    """Return what a video file holds: name -> value, in words.

    Raises:
        MediaError: it cannot be read.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        try:
            first = next(container.decode(stream))
        except (av.error.FFmpegError, StopIteration) as error:
            raise MediaError(f"{path}: no frame of it can be decoded; write it again") from error
        return _facts(container, stream, first)


def _facts(container: Any, stream: Any, first: Any) -> dict[str, str]:
    context = stream.codec_context
    found: dict[str, str] = {}
    found["codec"] = context.codec.canonical_name
    found["size"] = f"{first.width} x {first.height}"
    found["pixel format"] = first.format.name.replace("yuvj", "yuv")
    levels = int(first.color_range) or 1  # where none is stated, those of video are meant
    tags = (first.color_primaries, first.color_trc, first.colorspace, levels)
    found["colours"] = " / ".join(str(int(value)) for value in tags)
    found["pixel shape"] = str(stream.sample_aspect_ratio or 1)
    if first.rotation:
        found["rotation"] = str(first.rotation)
    found["scan"] = "interlaced" if first.interlaced_frame else "progressive"
    for name in carried(first):
        if name in _CARRIED:
            found[_CARRIED[name]] = "yes"
    for other in container.streams:
        if other is stream:
            continue
        kind = "cover art" if is_cover(other) else _KINDS.get(other.type)
        kind = "further video" if kind is None and other.type == "video" else kind
        if kind:
            name = other.codec_context.codec.canonical_name if other.codec_context else "file"
            found[kind] = ", ".join(filter(None, (found.get(kind), name)))
    if chapters := len(container.chapters()):
        found["chapters"] = str(chapters)
    words = {**_lower(stream.metadata), **_lower(container.metadata)}
    found.update({tag: words[tag] for tag in ("title", "timecode") if words.get(tag)})
    return found


def _lower(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items()}
