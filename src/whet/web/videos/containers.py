"""What kind of video an upload is: by its first bytes, before FFmpeg sees it.

FFmpeg also reads lists of other files and addresses (HLS, DASH, concatenation). A
stranger's list could make a server open its own files, or call others. Only files that
begin like a container are handed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whet.errors import MediaError
from whet.video.decode.source import VideoSource
from whet.web.problems import RefusedError

__all__ = ["HEAD_BYTES", "Kind", "Shape", "kind_of", "shape_of"]

HEAD_BYTES = 512
"""How much of a file :func:`kind_of` wants to see."""

_TS_PACKET = 188


@dataclass(frozen=True)
class Kind:
    """A container: the ending and the media type of what is written for it."""

    suffix: str
    media_type: str


MP4 = Kind(".mp4", "video/mp4")
MOV = Kind(".mov", "video/quicktime")
MKV = Kind(".mkv", "video/x-matroska")
WEBM = Kind(".webm", "video/webm")
TS = Kind(".ts", "video/mp2t")

# Containers that whet only reads become MP4, as with `whet video`.
_BEGINNINGS = (
    (b"FLV\x01", MP4),
    (b"OggS", MP4),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MP4),  # ASF, that is WMV
    (b"\x00\x00\x01\xba", MP4),  # MPEG program stream
)


@dataclass(frozen=True)
class Shape:
    """What a video's first frame and header say.

    Attributes:
        width, height: of a frame, in pixels.
        frames: number of frames that the header promises, or None.
        seconds: length that the header promises, or None.
    """

    width: int
    height: int
    frames: int | None
    seconds: float | None


def kind_of(head: bytes) -> Kind | None:
    """Return the container that a file begins like, or None."""
    box = head[4:8]
    if box == b"ftyp":
        return MOV if head[8:12] == b"qt  " else MP4
    if box in (b"moov", b"mdat", b"wide"):  # QuickTime of before 2001 has no ftyp
        return MOV
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # EBML, whose header names the kind
        return WEBM if b"webm" in head[:64] else MKV
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return MP4
    if head[:1] == b"\x47" and head[_TS_PACKET : _TS_PACKET + 1] == b"\x47":
        return TS
    return next((kind for start, kind in _BEGINNINGS if head.startswith(start)), None)


def shape_of(path: Path, max_pixels: int, max_seconds: float) -> Shape:
    """Open a video, decode one frame, and hold it against the limits.

    Raises:
        MediaError: it cannot be read.
        RefusedError: 413, its frames are too large or it is too long.
    """
    source = VideoSource(path)
    try:
        width, height = source.first.width, source.first.height
        stream, container = source.stream, source.container
        seconds = None
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / 1e6
        shape = Shape(width, height, source.frame_count, seconds)
    except (ArithmeticError, ValueError) as error:  # a header with absurd numbers
        raise MediaError(f"{path}: its header makes no sense; get a complete copy") from error
    finally:
        source.close()
    if width * height > max_pixels:
        raise RefusedError(
            413,
            f"frames of {width} x {height} are more than the {max_pixels / 1e6:g} megapixels that "
            "this server takes; scale the video first",
        )
    if seconds is not None and seconds > max_seconds:
        raise RefusedError(
            413,
            f"the video lasts {seconds:.0f} s, this server takes {max_seconds:g} s; cut it",
        )
    return shape
