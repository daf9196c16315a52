"""What goes with the picture: sound, subtitles, cover art, fonts and data, each as it was.

A stream that the container cannot hold is converted where nothing is lost by it (text
subtitles), or where it was asked for (sound); else the whole run is refused before it begins, or
where little is lost, a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import av
import av.error

from whet.errors import Kind, MediaError
from whet.video.decode.reading import is_cover, open_input
from whet.video.encode.encoding import Encoding

__all__ = ["Lane", "kept_metadata", "lanes"]

_COVERS_IN = ("mp4", "matroska")
_DATA = {("mpegts", "klv"), ("mpegts", "timed_id3"), ("mov", "klv")}
_TEXT = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
_BIT_RATES = {"aac": 96_000, "libopus": 64_000, "opus": 64_000, "libmp3lame": 96_000}  # a channel
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_OPUS = {"opus": "libopus", "mp3": "libmp3lame"}  # FFmpeg's own are worse, or none
_RATE_LIKE = ("bps", "duration", "number_of_frames", "number_of_bytes", "_statistics")


class Lane(Protocol):
    """Takes the packets of one stream to the output."""

    def write(self, packet: Any) -> None:
        """Take the next packet."""

    def close(self) -> None:
        """Write what is still held."""


class _Copied:
    def __init__(self, output: Any, stream: Any) -> None:
        self._output, self._stream = output, stream
        self._last: int | None = None

    def write(self, packet: Any) -> None:
        # Behind a seam, and in damaged files, a packet may be due before the last one, which
        # no container takes. It is moved, as FFmpeg's own tool does.
        if packet.dts is not None:
            if self._last is not None and packet.dts <= self._last:
                packet.dts = self._last + 1
            self._last = packet.dts
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        packet.stream = self._stream
        self._output.mux_one(packet)

    def close(self) -> None:
        return


class _ConvertedText:
    """Text subtitles in another spelling, by FFmpeg's own decoder and encoder."""

    def __init__(self, output: Any, source: Any, codec: str) -> None:
        self._output, self._source = output, source
        source.codec_context.open(strict=False)
        self.stream: Any = output.add_stream(codec)
        self.stream.time_base = self.stream.codec_context.time_base = source.time_base
        header = source.codec_context.subtitle_header
        self.stream.codec_context.subtitle_header = header

    def write(self, packet: Any) -> None:
        shown = self._source.decode2(packet)
        if shown is None or not len(shown):  # the end of a line
            return
        made = self.stream.codec_context.encode_subtitle(shown)
        made.pts = made.dts = packet.pts
        made.duration, made.time_base = packet.duration, packet.time_base
        made.stream = self.stream
        self._output.mux_one(made)

    def close(self) -> None:
        return


class _TranscodedSound:
    def __init__(self, output: Any, source: Any, codec: str) -> None:
        self._output, self._source = output, source
        context = source.codec_context
        encoder = _OPUS.get(codec, codec)
        rate = 48_000 if encoder == "libopus" else context.sample_rate
        self.stream: Any = output.add_stream(encoder, rate=rate)
        count = len(context.layout.channels) or context.channels
        named = "channels" not in context.layout.name  # old formats tell their number alone
        self._layout = context.layout.name if named else _LAYOUTS.get(count, "stereo")
        self.stream.codec_context.layout = self._layout
        if per_channel := _BIT_RATES.get(encoder):
            self.stream.codec_context.bit_rate = per_channel * count

    def write(self, packet: Any) -> None:
        try:
            decoded = self._source.codec_context.decode(packet)
        except av.error.FFmpegError:  # damaged sound is left out, as a player does
            return
        for frame in decoded:
            self._encode(frame)

    def _encode(self, frame: Any) -> None:
        frame.time_base = frame.time_base or self._source.time_base
        if "channels" in frame.layout.name:
            named = av.AudioFrame.from_ndarray(frame.to_ndarray(), frame.format.name, self._layout)
            named.sample_rate, named.time_base = frame.sample_rate, frame.time_base
            named.pts = frame.pts
            frame = named
        self._output.mux(self.stream.encode(frame))

    def close(self) -> None:
        for frame in self._source.codec_context.decode(None):
            self._encode(frame)
        self._output.mux(self.stream.encode(None))


def lanes(output: Any, source: Any, encoding: Encoding, notes: list[str]) -> dict[int, Lane]:
    """Add the streams of a source beside its video to an output.

    Args:
        output: not begun yet.
        source: an open :class:`~whet.video.decode.source.VideoSource`.
        encoding: how.
        notes: takes what is lost, in sentences.

    Returns:
        Index of a stream -> where its packets go; one that is left out has none.

    Raises:
        MediaError: the container cannot hold a stream.
    """
    made: dict[int, Lane] = {}
    text_chapters = bool(source.container.chapters())
    for stream in source.copied:
        if is_cover(stream):
            lane = _cover(output, source, stream, encoding, notes)
        elif stream.type in ("data", "attachment", "unknown"):
            lane = _extra(output, stream, encoding, notes, text_chapters)
        elif stream.type == "subtitle":
            lane = _subtitles(output, stream, encoding, notes)
        elif stream.type == "audio" and encoding.audio is not None:
            lane = _sound(output, stream, encoding)
        else:
            lane = _copied(output, stream, encoding)
        if lane is not None:
            made[stream.index] = lane
    return made


def _copied(output: Any, stream: Any, encoding: Encoding) -> Lane:
    try:
        copy = output.add_stream_from_template(stream, opaque=True)
    except (ValueError, av.error.FFmpegError) as error:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        format = encoding.container.format
        kind = {"audio": Kind.SOUND, "subtitle": Kind.SUBTITLES}.get(stream.type, Kind.UNSUPPORTED)
        raise MediaError(
            f"{format} cannot hold the {stream.type} stream ({name})"
            + ("" if format == "matroska" else "; write an .mkv"),
            kind,
        ) from error
    return _Copied(output, _described(copy, stream))


def _described(copy: Any, stream: Any) -> Any:
    copy.metadata.update(kept_metadata(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _subtitles(output: Any, stream: Any, encoding: Encoding, notes: list[str]) -> Lane | None:
    if not encoding.subtitles:
        return None
    container, context = encoding.container, stream.codec_context
    name = context.name if context else "unknown"
    text = name in _TEXT and container.text != ""
    # A transport stream takes text and cannot say what it is.
    if container.format != "mpegts" or name.startswith("dvb"):
        try:
            return _copied(output, stream, encoding)
        except MediaError:
            if not text:
                raise
    if not text:
        raise MediaError(
            f"{container.format} cannot hold the subtitle stream ({name}); write an .mkv",
            Kind.SUBTITLES,
        )
    lane = _ConvertedText(output, stream, container.text)
    _described(lane.stream, stream)
    notes.append(f"subtitles became {container.text}: {container.format} holds no {name}")
    return lane


def _sound(output: Any, stream: Any, encoding: Encoding) -> Lane:
    assert encoding.audio is not None
    context = stream.codec_context
    if context is None:
        raise MediaError("this FFmpeg cannot decode the sound; it can be copied")
    if context.codec.canonical_name == encoding.audio:
        return _copied(output, stream, encoding)
    try:
        if av.codec.Codec(_OPUS.get(encoding.audio, encoding.audio), "w").type != "audio":
            raise MediaError(f"{encoding.audio} encodes no sound; choose aac, opus or flac")
        lane = _TranscodedSound(output, stream, encoding.audio)
    except av.codec.codec.UnknownCodecError:
        raise MediaError(
            f"this FFmpeg has no encoder {encoding.audio!r}; choose aac, opus or flac"
        ) from None
    except ValueError as error:
        raise MediaError(
            f"{encoding.container.format} cannot hold {encoding.audio}; "
            "choose another codec for it or write an .mkv"
        ) from error
    _described(lane.stream, stream)
    return lane


def _cover(
    output: Any, source: Any, stream: Any, encoding: Encoding, notes: list[str]
) -> Lane | None:
    format = encoding.container.format
    if format not in _COVERS_IN or stream.codec_context is None:
        notes.append(f"cover art was left out; {format} holds none")
        return None
    if format == "mp4":
        return _copied(output, stream, encoding)
    data = _cover_data(source, stream.index)
    if data is None:
        notes.append("cover art was left out: it cannot be read")
        return None
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
    output.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), data)
    return None


def _cover_data(source: Any, index: int) -> bytes | None:
    """Return a cover, which has to be known before the first packet is written."""
    with open_input(source.path) as again:
        for packet in again.demux(again.streams[index]):
            if packet.size:
                return bytes(packet)
    return None


def _extra(
    output: Any, stream: Any, encoding: Encoding, notes: list[str], text_chapters: bool
) -> Lane | None:
    format = encoding.container.format
    if stream.type == "attachment" and format == "matroska":
        return _copied(output, stream, encoding)
    titles = text_chapters and stream.name in ("bin_data", None)  # chapters, once more as text
    if "timecode" in stream.metadata or titles:  # which are written anew
        return None
    if (format, stream.name) in _DATA:
        return _copied(output, stream, encoding)
    what = "attachments were" if stream.type == "attachment" else f"a {stream.type} stream was"
    if (said := f"{what} left out; {format} holds none") not in notes:
        notes.append(said)
    return None


def kept_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Drop what describes the old file's encoding and not its content."""
    return dict(_kept(metadata))


def _kept(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    gone = {"encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id"}
    for key, value in metadata.items():
        name = key.lower()
        if name not in gone | {"alpha_mode"} and not name.startswith(_RATE_LIKE):
            yield key, value
