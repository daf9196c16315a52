"""Writing video: one encoder, and every other stream of the source beside it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import Flags as CodecFlags
from av.video.reformatter import ColorRange

from whet.errors import MediaError
from whet.priority import ordinary_priority
from whet.runtime.yuv420 import FORMATS, Planes
from whet.video.decode.alpha import has_alpha
from whet.video.decode.decoding import counted
from whet.video.decode.fields import Copier, top_first
from whet.video.decode.rgb import RgbWay, is_rgb, overwrite
from whet.video.decode.source import Frame, Item, VideoSource
from whet.video.encode.carried import carried, turn_like
from whet.video.encode.encoding import CODECS, Encoding, encoder_for
from whet.video.encode.formats import pixel_format
from whet.video.encode.hdr import light_options
from whet.video.encode.streams import kept_metadata, lanes

__all__ = ["VideoSink"]

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_UNSPECIFIED = 2  # AVCOL_PRI_UNSPECIFIED, AVCOL_TRC_UNSPECIFIED, AVCOL_SPC_UNSPECIFIED
_PROGRESSIVE, _TOP_FIRST, _BOTTOM_FIRST = 1, 2, 3  # AVFieldOrder
_REORDERED, _REORDERED_S = 4, 60  # frames between coding and showing; seconds, at the very most
_SHOWN_TOP_FIRST = (2, 5)  # and AV_FIELD_BT
_HARDWARE = {
    "_nvenc": "an NVIDIA GPU and its driver",
    "_qsv": "an Intel GPU and its driver",
    "_vaapi": "a GPU and its driver",
    "_amf": "an AMD GPU and its driver",
    "_videotoolbox": "a Mac",
    "_mf": "Windows",
    "_v4l2m2m": "a video encoder of the machine's",
    "_vulkan": "a GPU and its driver",
}
# Of these, times of decoding count frames, and frames have no times of their own.
_BY_FRAMES = {"mpeg1video", "mpeg2video", "mpeg4", "dvvideo"}
_FIELD_FLAGS = CodecFlags.interlaced_dct | CodecFlags.interlaced_me
# Carried by a frame and worth a copy of it; the rest is written once, or is about the old coding.
_WITH_FRAMES = {"A53_CC", "AFD", "DYNAMIC_HDR_PLUS", "S12M_TIMECODE", "GOP_TIMECODE"}


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
        os.environ.setdefault("SVT_LOG", "1")  # it writes its settings to the screen otherwise
        options = dict(encoding.container.options)
        self.output = av.open(str(path), "w", format=self._format, options=options)
        self._opened = False
        try:
            self._video = self._add_video(encoding)
            self._lanes = {} if alone else lanes(self.output, source, encoding, self.notes)
            if not alone:
                self.output.metadata.update(kept_metadata(source.container.metadata))
                if chapters := source.chapters():
                    self.output.set_chapters(chapters)
            self._start(encoding)
        finally:
            if not self._opened:
                self.output.close()
        self._rgb = RgbWay(source.matrix, source.full_range, source.deep)
        self._copier = Copier(source.first, self._order)
        self._ticks = source.time_base / self.time_base
        self._last_tick: int | None = None
        self._last_dts: int | None = None
        self._durations: dict[int, int] = {}  # of frames that the encoder still holds

    def _start(self, encoding: Encoding) -> None:
        try:
            with ordinary_priority():
                self.output.start_encoding()
            self._opened = True
        except (av.error.FFmpegError, ValueError) as error:
            name = encoding.codec
            if maker := next((v for k, v in _HARDWARE.items() if name.lower().endswith(k)), None):
                raise MediaError(
                    f"{name} does not work here: it needs {maker}; choose one of: "
                    f"{', '.join(CODECS)}"
                ) from error
            if getattr(error, "errno", None) in _DISK:
                raise
            said = getattr(error, "strerror", None) or str(error)
            raise MediaError(
                f"{name} cannot be encoded like this ({said}: its encoder takes no "
                f"{self._shape()}, or not these options); choose another codec, CRF or preset"
            ) from error

    def _shape(self) -> str:
        context = self._video.codec_context
        return f"{context.width} x {context.height} in {context.pix_fmt} at {self._source.rate} fps"

    def _add_video(self, encoding: Encoding) -> Any:
        source, first = self._source, self._source.first
        codec = encoder_for(source, encoding)
        known = av.codec.Codec(codec.encoder, "w")
        options = dict(codec.options)
        if (crf := codec.crf if encoding.crf is None else encoding.crf) is not None:
            options["crf"] = str(crf)
        if preset := encoding.preset or codec.preset:
            options["preset"] = preset
        if "A53_CC" in carried(first):
            options |= {"a53cc": "1"} if _takes(known, "a53cc") else {}
        try:
            video: Any = self.output.add_stream(
                codec.encoder, rate=source.rate, options=light_options(first, known.name, options)
            )
        except ValueError:
            raise MediaError(
                f"{self._format} cannot hold {codec.encoder}; write an .mkv or choose another codec"
            ) from None
        context = video.codec_context
        context.width, context.height = first.width, first.height
        context.pix_fmt, lost = pixel_format(source, known, self._format if encoding.alpha else "")
        self.notes += lost
        by_frames = known.canonical_name in _BY_FRAMES
        self.time_base: Fraction = 1 / source.rate if by_frames else source.time_base
        video.time_base = context.time_base = self.time_base
        context.sample_aspect_ratio = source.stream.sample_aspect_ratio or Fraction(1)
        self._tag_colours(context)
        self._order = self._tag_fields(context)
        if known.canonical_name == "hevc" and self._format in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # without it, Apple's players show nothing
        turn_like(video, first)
        video.metadata.update(kept_metadata(source.stream.metadata))
        timecode = source.container.metadata.get("timecode")
        if timecode and self._format in ("mp4", "mov"):  # which read it from the stream's tags
            video.metadata.setdefault("timecode", timecode)
        if has_alpha(av.VideoFormat(context.pix_fmt)) and known.canonical_name in ("vp8", "vp9"):
            video.metadata["alpha_mode"] = "1"
        video.disposition = source.stream.disposition
        return video

    def _tag_colours(self, context: Any) -> None:
        source, first = self._source, self._source.first
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(context, tag, getattr(first, tag, _UNSPECIFIED))
        context.color_range = ColorRange.JPEG if source.full_range else first.color_range
        if is_rgb(first.format) and not is_rgb(av.VideoFormat(context.pix_fmt)):
            context.colorspace, context.color_range = source.matrix, ColorRange.MPEG

    def _tag_fields(self, context: Any) -> str | None:
        """Say that frames hold fields, if so; return the order to mark frames with."""
        source = self._source
        order = source.stream.codec_context.field_order
        if not source.interlaced:
            context.field_order = min(order, _PROGRESSIVE)
            return None
        marked = source.first.interlaced_frame
        top = top_first(source.first) if marked else order in _SHOWN_TOP_FIRST
        if order < _TOP_FIRST or top != (order in _SHOWN_TOP_FIRST):  # containers may be wrong
            order = _TOP_FIRST if top else _BOTTOM_FIRST
        context.field_order = order
        context.flags |= _FIELD_FLAGS
        return None if marked else "tff" if top else "bff"

    def write(self, item: Item) -> None:
        """Encode a frame, or take a packet to its place.

        Raises:
            av.error.FFmpegError: the disk is full or gone.
        """
        if isinstance(item, Frame):
            made = self._encodable(item)
            made.pts, made.time_base = self._tick(item.pts), self.time_base
            made.pict_type = 0  # a decoded frame's would force the encoder's hand
            self._durations[made.pts] = round(item.duration * self._ticks)
            self._mux(self._video.encode(made))
        elif (lane := self._lanes.get(item.stream_index)) is not None:
            lane.write(item)

    def _tick(self, pts: int) -> int:
        """Return a time of the source's as the encoder counts it, later than the one before."""
        tick: int = round(pts * self._ticks)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = tick
        return tick

    def _mux(self, packets: Iterable[Any]) -> None:
        """Write encoded packets with their frames' durations, which encoders do not pass on."""
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0)
            self._decode_in_time(packet)
            self._put(packet)

    def _decode_in_time(self, packet: Any) -> None:
        """Replace a time of decoding without sense, as x265 gives for the shortest clips."""
        far = round(_REORDERED_S / packet.time_base)
        if packet.dts is None or not packet.pts - far <= packet.dts <= packet.pts:
            last = packet.pts - _REORDERED if self._last_dts is None else self._last_dts
            packet.dts = min(last + 1, packet.pts)
        self._last_dts = packet.dts

    def _put(self, packet: Any) -> None:
        self.output.mux_one(packet)

    def _encodable(self, frame: Frame) -> Any:
        """Return what the encoder is to take, with all that the source's frame carried."""
        wanted, decoded = self._video.codec_context.pix_fmt, frame.decoded
        untouched = frame.pixels is frame.degraded
        carries = bool(frame.fields or self._order or _WITH_FRAMES & carried(decoded).keys())
        if decoded.format.name != wanted:
            # Where the names alone differ (yuvj420p), this copies.
            made = self._rgb.to_format(decoded, wanted, fields=frame.fields)
        elif untouched and not self._order:
            made = decoded
        elif isinstance(frame.pixels, Planes) and not carries:
            made = frame.pixels.frame
        else:
            made = self._copier(decoded)
        if not untouched and made is not getattr(frame.pixels, "frame", None):
            self._fill(made, frame)
        return made

    def _fill(self, made: Any, frame: Frame) -> None:
        """Write what became of a frame into a copy of it."""
        before, after = frame.degraded, frame.pixels
        if isinstance(after, Planes):
            shown, format = after.frame, made.format.name
            if format not in FORMATS:
                shown = self._rgb.to_format(shown, format, fields=frame.fields)
            overwrite(made, shown)
            return
        assert not isinstance(before, Planes)
        self._rgb.change(made, before, after, fields=frame.fields)

    def close(self) -> None:
        """Write what the encoder still holds, and the index that makes the file playable."""
        if self._opened:
            self._mux(self._video.encode(None))
            self._close_others()
        self.output.close()

    def _close_others(self) -> None:
        for lane in self._lanes.values():
            lane.close()
        self._say_what_was_lost()

    def _say_what_was_lost(self) -> None:
        clear = self._source.clear_frames
        if clear and not has_alpha(av.VideoFormat(self._video.codec_context.pix_fmt)):
            codec = self._video.codec_context.name
            self.notes.append(
                f"transparency of {counted(clear, 'frame')} was left out: {codec} in "
                f"{self._format} holds none (VP9 in .webm does)"
            )

    def abandon(self) -> None:
        """Release the file without finishing it."""
        self._opened = False
        try:
            self.output.close()
        except (av.error.FFmpegError, OSError):
            return


def _takes(encoder: Any, option: str) -> bool:
    return any(o.name == option for o in encoder.create().supported_options.private)
