"""A few seconds of a video beside what restoration makes of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from whet.errors import MediaError
from whet.files import replacing
from whet.runtime.yuv420 import Planes
from whet.video.decode.reading import Span, why
from whet.video.decode.rgb import RgbWay
from whet.video.decode.source import Frame, Item, VideoSource
from whet.video.encode.segments import SEGMENT_FRAMES
from whet.video.frames import Treatment
from whet.video.pipeline import run
from whet.video.sharpness_gate import Gate

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["preview_target", "preview_video"]

_LINE_PX = 2  # between before and after


def preview_target(source: Path) -> Path:
    """Return where the preview of a video goes."""
    return source.with_name(f"{source.stem.replace('%', '_')}-whet-preview.mp4")


def preview_video(
    session: Session,
    source: Path | str,
    target: Path | str | None = None,
    *,
    seconds: float = 5.0,
    start_s: float | None = None,
    strength: float = 1.0,
    gate: bool = True,
    steady: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a short video: on the left what was, on the right what becomes of it.

    Args:
        session: an open session.
        source: a video file.
        target: an .mp4 or .mkv to write; None means :func:`preview_target`.
        seconds: how long.
        start_s: where it begins, in seconds; None takes the middle of the video.
        strength, gate, steady: as for :func:`~whet.video.run.restore_video`.
        overwrite: whether an existing file may be replaced.

    Raises:
        MediaError: the source cannot be read, or the target cannot be written.
    """
    source = Path(source)
    target = preview_target(source) if target is None else Path(target)
    if target.suffix.lower() not in (".mp4", ".mkv", ".mov"):
        raise MediaError(f"{target}: a preview is an .mp4, .mov or .mkv; name one")
    begin = _middle_s(source, seconds) if start_s is None else start_s
    reader = VideoSource(source, Span(begin, seconds))
    try:
        with replacing(target, overwrite=overwrite, error=MediaError) as temporary:
            container = {".mkv": "matroska"}.get(target.suffix.lower(), target.suffix[1:].lower())
            sink = _SideBySide(temporary, container, reader)
            treatment = Treatment(strength, Gate() if gate else None, steady * SEGMENT_FRAMES)
            run(session, reader, sink, treatment)
    except av.error.FFmpegError as error:
        raise MediaError(f"{target} cannot be written: {why(error)}") from error
    finally:
        reader.close()
    return target


def _middle_s(source: Path, seconds: float) -> float:
    whole = VideoSource(source)
    length = whole.seconds
    whole.close()
    return max(0.0, (float(length) - seconds) / 2) if length is not None else 0.0


class _SideBySide:
    """A file that shows a frame before and after, as H.264 that every player takes."""

    def __init__(self, path: Path, container: str, source: VideoSource) -> None:
        self._source = source
        self._rgb = RgbWay(source.matrix, source.full_range, False)
        first = source.first
        self.output = av.open(str(path), "w", format=container)
        options = {"crf": "16", "preset": "veryfast"}
        self._video: Any = self.output.add_stream("libx264", rate=source.rate, options=options)
        self._width = 2 * first.width + _LINE_PX
        self._video.width, self._video.height = self._width & ~1, first.height & ~1
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        self._video.time_base = context.time_base = source.time_base
        context.sample_aspect_ratio = source.stream.sample_aspect_ratio or Fraction(1)
        for tag in ("color_primaries", "color_trc"):
            setattr(context, tag, getattr(first, tag))
        context.colorspace = {5: 6}.get(source.matrix, source.matrix)
        context.color_range = 2 if source.full_range else 1
        self.output.start_encoding()

    def write(self, item: Item) -> None:
        """Take a frame; all else is left out."""
        if not isinstance(item, Frame):
            return
        height = self._video.height
        pixels = np.full((height, self._width, 3), 255, np.uint8)
        before = self._rgb.to_rgb(item.decoded, fields=item.fields)
        pixels[:, : before.shape[1]] = before[:height]
        after = item.pixels
        if isinstance(after, Planes):
            shown = self._rgb.to_rgb(after.frame, fields=item.fields)
        else:
            shown = after if after.dtype == np.uint8 else (after >> 8).astype(np.uint8)
        pixels[:, before.shape[1] + _LINE_PX :] = shown[:height]
        made = self._rgb.from_rgb(pixels[:, : self._video.width], "yuv420p")
        made.pts, made.time_base = item.pts, self._source.time_base
        self.output.mux(self._video.encode(made))

    def close(self) -> None:
        """Finish the file."""
        self.output.mux(self._video.encode(None))
        self.output.close()

    def abandon(self) -> None:
        """Release the file without finishing it."""
        try:
            self.output.close()
        except (av.error.FFmpegError, OSError):
            return
