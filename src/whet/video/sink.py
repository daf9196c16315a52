"""Writing video: one encoder, and every other stream of the source copied."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from whet.errors import MediaError
from whet.runtime.yuv420 import FORMATS, Planes
from whet.video.encoding import CODECS, Codec, Encoding
from whet.video.source import Frame, Item, VideoSource

__all__ = ["VideoSink"]

# Exact rounding changes nothing measurable in this direction and takes twice the time.
_TO_YUV = Interpolation.BICUBIC
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_UNSPECIFIED = 2  # AVCOL_PRI_UNSPECIFIED, AVCOL_TRC_UNSPECIFIED, AVCOL_SPC_UNSPECIFIED


class VideoSink:
    """A video file being written; every stream of the source has its place in it.

    Args:
        path: where to write; its suffix does not matter.
        source: what the file is made from.
        encoding: how.
        alone: leave out everything but the video.

    Attributes:
        notes: what could not be carried over, in sentences.

    Raises:
        MediaError: the encoder does not exist or refuses its options, or the
            container cannot hold a stream.
        av.error.FFmpegError: the disk is full or takes nothing.
    """

    def __init__(
        self, path: Path, source: VideoSource, encoding: Encoding, *, alone: bool = False
    ) -> None:
        self.notes: list[str] = []
        self._source = source
        self._format = encoding.container.format
        encoder = CODECS.get(encoding.codec, Codec(encoding.codec, None, None, {}))
        self.output = av.open(str(path), "w", format=self._format)
        self._opened = False
        try:
            self._video = self._add_video(encoder, encoding.crf, encoding.preset)
            others = [] if alone else source.copied
            self._copies = {s.index: copy for s in others if (copy := self._add_copy(s))}
            if not alone:
                self.output.metadata.update(_kept_metadata(source.container.metadata))
                if chapters := source.container.chapters():
                    self.output.set_chapters(chapters)
            self.output.start_encoding()
            self._opened = True
        except (av.error.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in _DISK:
                raise
            raise MediaError(
                f"{encoding.codec} cannot be encoded like this ({error}); "
                "check codec, CRF and preset"
            ) from error
        finally:
            if not self._opened:
                self.output.close()
        self._reformatter = VideoReformatter()
        self._durations: dict[int, int] = {}  # of frames that the encoder still holds

    def _add_video(self, codec: Codec, crf: int | None, preset: str | None) -> Any:
        first, stream = self._source.first, self._source.stream
        try:
            known = av.codec.Codec(codec.encoder, "w")
        except av.codec.codec.UnknownCodecError:
            raise MediaError(
                f"this FFmpeg has no encoder {codec.encoder!r}; choose one of: {', '.join(CODECS)}"
            ) from None
        options = dict(codec.options)
        if (crf := codec.crf if crf is None else crf) is not None:
            options["crf"] = str(crf)
        if preset := preset or codec.preset:
            options["preset"] = preset
        try:
            video: Any = self.output.add_stream(
                codec.encoder, rate=stream.average_rate or 25, options=options
            )
        except ValueError:
            raise MediaError(
                f"{self._format} cannot hold {codec.encoder}; write an .mkv or choose another codec"
            ) from None
        context = video.codec_context
        context.width, context.height = first.width, first.height
        context.pix_fmt = self._pixel_format(known)
        video.time_base = context.time_base = stream.time_base
        context.sample_aspect_ratio = stream.sample_aspect_ratio or Fraction(1)
        context.color_range = ColorRange.JPEG if self._source.full_range else first.color_range
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(context, tag, getattr(first, tag, _UNSPECIFIED))
        if matrix := first.side_data.get("DISPLAYMATRIX"):
            video.set_display_matrix(np.frombuffer(bytes(matrix), np.int32).tolist())
        video.metadata.update(_kept_metadata(stream.metadata))
        return video

    def _pixel_format(self, codec: Any) -> str:
        """Choose the source's sampling and depth, or the nearest that the encoder takes."""
        first = self._source.first
        name = first.format.name
        supported = {fmt.name for fmt in codec.video_formats or ()}
        found = re.match(r"yuvj?a?(4\d\d)p", name)
        chroma = found[1] if found else "420"
        if (first.width % 2 and chroma != "444") or (first.height % 2 and chroma == "420"):
            chroma = "444"
            self.notes.append("an odd width or height needs 4:4:4 chroma, which few players take")
        if "a" in name.split("p")[0] or name in ("rgba", "bgra", "argb", "abgr"):
            self.notes.append("transparency was left out; encoded video holds none")
        bits = max(part.bits for part in first.format.components)
        depths = [end for least, end in ((11, "p12le"), (9, "p10le"), (0, "p")) if bits >= least]
        wanted = [f"yuv{kind}{depth}" for kind in (chroma, "420") for depth in depths]
        chosen = next((fmt for fmt in wanted if fmt in supported), "yuv420p")
        if self._source.deep and chosen.endswith("p"):
            self.notes.append(f"{codec.name} takes 8 bits per channel: more were reduced to 8")
        return chosen

    def _add_copy(self, stream: Any) -> Any:
        """Add a stream that is copied packet by packet; None where nothing is lost without it."""
        attachment = stream.type == "attachment" and self._format == "matroska"
        if stream.type in ("data", "attachment") and not attachment:
            if "timecode" not in stream.metadata:  # which is written anew from the video's
                note = f"a {stream.type} stream was left out; {self._format} holds none"
                self.notes.append(note)
            return None
        try:
            copy = self.output.add_stream_from_template(stream, opaque=True)
        except (ValueError, av.error.FFmpegError) as error:
            name = stream.codec_context.name if stream.codec_context else "unknown"
            raise MediaError(
                f"{self._format} cannot hold the {stream.type} stream ({name}); write an .mkv"
            ) from error
        copy.metadata.update(_kept_metadata(stream.metadata))
        copy.disposition = stream.disposition
        return copy

    def write(self, item: Item) -> None:
        """Encode a frame, or copy a packet.

        Raises:
            av.error.FFmpegError: the disk is full or gone.
        """
        if isinstance(item, Frame):
            self._durations[item.pts] = item.duration
            self._mux(self._video.encode(self._encodable(item)))
        else:
            self._copy(item)

    def _copy(self, packet: Any) -> None:
        if (copy := self._copies.get(packet.stream_index)) is not None:
            packet.stream = copy
            self.output.mux_one(packet)

    def _mux(self, packets: Iterable[Any]) -> None:
        """Write encoded packets with their frames' durations, which encoders do not pass on."""
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0)
            self._put(packet)

    def _put(self, packet: Any) -> None:
        self.output.mux_one(packet)

    def _encodable(self, frame: Frame) -> Any:
        if isinstance(frame.pixels, Planes):
            return self._timed(self._in_planes(frame.pixels), frame.pts)
        source = self._source
        pixels: NDArray[Any] = np.ascontiguousarray(frame.pixels)
        if pixels.dtype == np.uint8:
            rgb = av.VideoFrame.from_numpy_buffer(pixels, "rgb24")
        else:
            rgb = av.VideoFrame.from_ndarray(pixels, "rgb48le")
        encodable = self._reformatter.reformat(
            rgb,
            format=self._video.codec_context.pix_fmt,
            src_colorspace=source.matrix,
            dst_colorspace=source.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if source.full_range else ColorRange.MPEG,
            interpolation=_TO_YUV,
        )
        return self._timed(encodable, frame.pts)

    def _in_planes(self, planes: Planes) -> Any:
        """Return planes as the encoder takes them: as they are, but for rare formats."""
        wanted, source = self._video.codec_context.pix_fmt, self._source
        if planes.frame.format.name == wanted:
            return planes.frame
        if wanted in FORMATS:
            # One layout with two names, between which FFmpeg would convert the range.
            renamed = Planes.empty(*planes.shape)
            for target, plane in zip(renamed, planes, strict=True):
                target[:] = plane
            return renamed.frame
        levels = ColorRange.JPEG if source.full_range else ColorRange.MPEG
        return self._reformatter.reformat(
            planes.frame,
            format=wanted,
            src_colorspace=source.matrix,
            dst_colorspace=source.matrix,
            src_color_range=levels,
            dst_color_range=levels,
        )

    def _timed(self, encodable: Any, pts: int) -> Any:
        encodable.pts, encodable.time_base = pts, self._source.stream.time_base
        encodable.pict_type = 0  # a decoded frame's would force the encoder's hand
        return encodable

    def close(self) -> None:
        """Write what the encoder still holds, and the index that makes the file playable."""
        if self._opened:
            self._mux(self._video.encode(None))
        self.output.close()

    def abandon(self) -> None:
        """Release the file without finishing it."""
        self._opened = False
        try:
            self.output.close()
        except (av.error.FFmpegError, OSError):
            return


def _kept_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Drop what describes the old file's encoding and not its content."""
    gone = {"encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id"}
    return {key: value for key, value in metadata.items() if key.lower() not in gone}
