"""A live recording: a file that plays whatever ends it.

It has its name from the first frame on. MP4 and MOV are written in fragments of a second, each of
which stands for itself, and become ordinary files when they are completed; the other containers
are made of such pieces anyway. So after a kill or a power cut all but the last second or two plays.
When the disk is full, what is there is completed as far as it can be, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from whet.errors import MediaError
from whet.files import reason
from whet.live.picture import Form, even
from whet.priority import ordinary_priority
from whet.runtime.yuv420 import Planes
from whet.video.decode.reading import why
from whet.video.encode.encoding import CODECS

__all__ = ["FORMATS", "STREAMS", "LiveEncoding", "recording", "streaming"]

FORMATS: Mapping[str, str] = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
}
"""File name ending -> container that survives a kill."""

STREAMS: Mapping[str, str] = {
    "rtmp": "flv",
    "rtmps": "flv",
    "rtsp": "rtsp",
    "srt": "mpegts",
    "tcp": "mpegts",
    "udp": "mpegts",
}
"""URL scheme -> format that is sent there."""

_FRAGMENTS = "+hybrid_fragmented+frag_keyframe+default_base_moof"
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "mp4": {"movflags": _FRAGMENTS},
    "mov": {"movflags": _FRAGMENTS},
    "matroska": {"cluster_time_limit": "1000"},
    "webm": {"cluster_time_limit": "1000"},
}
_CLOCK = Fraction(1, 90000)  # in which MPEG transport streams count
_SOUND_HZ = 48000
_RESYNC_S = 0.1  # a gap in the sound that is filled, and an overlap that is cut


@dataclass(frozen=True)
class LiveEncoding:
    """How a file or stream is encoded.

    Attributes:
        fps: the nominal rate; frames keep their own times.
        crf: constant rate factor; None takes the codec's default.
        preset: the encoder's; None takes the codec's default.
        overwrite: whether an existing file may be replaced.
    """

    fps: float = 30
    crf: int | None = None
    preset: str | None = None
    overwrite: bool = False


class _Disk:
    """A file that FFmpeg writes to; after the first failure it takes nothing more, and is kept.

    It is opened when the encoder has accepted its options.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self._path, self._mode = path, "wb" if overwrite else "xb"
        self._stream: Any = None
        self.failure: OSError | None = None

    def open(self) -> None:
        """Make the file.

        Raises:
            OSError: it exists, or cannot be made.
        """
        self._stream = self._path.open(self._mode, buffering=0)

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        try:
            while left and self.failure is None:
                left = left[self._stream.write(left) :]
        except OSError as failure:
            self.failure = failure
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._stream is None or self.failure is not None:
            return 0
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell()) if self._stream is not None else 0

    def release(self, *, keep: bool) -> None:
        """Close the file; remove one that holds no frame."""
        if self._stream is not None:
            self._stream.close()
            if not keep:
                self._path.unlink(missing_ok=True)


@contextmanager
def recording(path: Path, format: str, encoding: LiveEncoding, form: Form) -> Iterator[Encoder]:
    """Record into a file; leaving completes it, whatever is the reason.

    Raises:
        MediaError: it cannot be written, or not any further; what was written is kept.
    """
    disk = _Disk(path, encoding.overwrite)
    encoder: Encoder | None = None

    def check() -> None:
        if disk.failure is not None:
            held = encoder.last_s if encoder else None
            kept = f"; the first {held:.1f} s are kept and play" if held else ""
            raise MediaError(f"{path} cannot be written: {reason(disk.failure)}{kept}")

    try:
        output = av.open(disk, "w", format=format, options=_options(format))
        try:
            encoder = Encoder(output, str(path), format, encoding, form, disk.open, check)
            yield encoder
        finally:
            _complete(output, encoder)
        check()
    except (av.error.FFmpegError, OSError) as error:
        check()
        raise MediaError(f"{path} cannot be written: {why(error)}") from error
    finally:
        disk.release(keep=encoder is not None and encoder.last_s is not None)


@contextmanager
def streaming(url: str, format: str, encoding: LiveEncoding, form: Form) -> Iterator[Encoder]:
    """Send to a URL.

    Raises:
        MediaError: nobody takes it.
    """
    try:
        output = av.open(url, "w", format=format)
        encoder: Encoder | None = None
        try:
            encoder = Encoder(output, url, format, encoding, form)
            yield encoder
        finally:
            _complete(output, encoder)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{url} cannot be written: {why(error)}") from error


def _options(format: str) -> dict[str, str]:
    # Sound that stays away must not hold the picture back for ten seconds.
    return {"flush_packets": "1", "max_interleave_delta": "1000000", **_OPTIONS.get(format, {})}


def _complete(output: Any, encoder: Encoder | None) -> None:
    with suppress(av.error.FFmpegError, OSError):
        if encoder is not None:
            encoder.flush()
    with suppress(av.error.FFmpegError, OSError):
        output.close()


class Encoder:
    """Encodes planes, and sound where the form has any.

    Attributes:
        last_s: time of the last frame; None before the first.
    """

    def __init__(
        self,
        output: Any,
        name: str,
        format: str,
        encoding: LiveEncoding,
        form: Form,
        begin: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._output, self._name, self._open, self._check = output, name, begin, check
        self.last_s: float | None = None
        self._last_pts = -1
        codec = CODECS["vp9" if format == "webm" else "h264"]
        options = {**codec.options, "g": str(max(1, round(encoding.fps)))}
        options["crf"] = str(codec.crf if encoding.crf is None else encoding.crf)
        if preset := encoding.preset or codec.preset:
            options["preset"] = preset
        if codec.encoder == "libx264":
            options["tune"] = "zerolatency"
        if codec.encoder == "libvpx-vp9":
            options |= {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        rate = Fraction(encoding.fps).limit_denominator(1001)
        self._video: Any = output.add_stream(codec.encoder, rate=rate, options=options)
        context = self._video.codec_context
        # 4:2:0 chroma, which every player takes, needs even sides.
        context.width, context.height = form.width & ~1, form.height & ~1
        context.pix_fmt = "yuv420p"
        self._video.time_base = context.time_base = _CLOCK
        context.sample_aspect_ratio = form.aspect
        context.colorspace = form.matrix
        context.color_range = ColorRange.JPEG if form.full_range else ColorRange.MPEG
        context.color_primaries, context.color_trc = form.primaries, form.transfer
        self._sound = _Sound(output, format) if form.sound else None

    def _begin(self) -> None:
        """Open encoders and file with the first frame: a container without any is none."""
        try:
            with ordinary_priority():
                self._video.codec_context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"{self._name} cannot be encoded like this ({error}); check CRF and preset"
            ) from error
        self._open()
        self._output.start_encoding()

    def show(self, planes: Planes, time_s: float, caption: str) -> None:
        """Encode a frame."""
        del caption
        if self.last_s is None:
            self._begin()
        frame = even(planes).frame
        self._last_pts = frame.pts = max(round(time_s / _CLOCK), self._last_pts + 1)
        frame.time_base = _CLOCK
        frame.pict_type = 0  # a decoded frame's would force the encoder's hand
        self._output.mux(self._video.encode(frame))
        self.last_s = float(self._last_pts * _CLOCK)
        self._check()

    def hear(self, sound: Any, time_s: float) -> None:
        """Encode a decoded frame of sound that begins at ``time_s``."""
        if self._sound is not None and self.last_s is not None:
            self._sound.encode(sound, time_s)
            self._check()

    def pressed(self) -> tuple[str, ...]:
        return ()

    def flush(self) -> None:
        """Write what the encoders still hold."""
        if self.last_s is None:
            return
        self._output.mux(self._video.encode(None))
        if self._sound is not None:
            self._sound.flush()


class _Sound:
    """Sound in the container's usual codec, stereo, without gaps."""

    def __init__(self, output: Any, format: str) -> None:
        codec = "libopus" if format == "webm" else "aac"
        self._output = output
        self._stream: Any = output.add_stream(codec, rate=_SOUND_HZ, layout="stereo")
        self._resampler = av.AudioResampler("s16", "stereo", _SOUND_HZ)
        self._next = 0

    def encode(self, sound: Any, time_s: float) -> None:
        sound.pts = None
        start = round(time_s * _SOUND_HZ)
        for part in self._resampler.resample(sound):
            samples = part.to_ndarray().reshape(-1, 2)
            self._put(samples, start)
            start += len(samples)

    def _put(self, samples: NDArray[Any], start: int) -> None:
        apart = start - self._next
        if apart < -_RESYNC_S * _SOUND_HZ or (self._next == 0 and apart < 0):
            samples = samples[-apart:]
        elif apart > _RESYNC_S * _SOUND_HZ or (self._next == 0 and apart > 0):
            samples = np.concatenate([np.zeros((apart, 2), np.int16), samples])
        if not len(samples):
            return
        packed = np.ascontiguousarray(samples, np.int16).reshape(1, -1)
        frame: Any = av.AudioFrame.from_ndarray(packed, "s16", "stereo")
        frame.sample_rate, frame.time_base = _SOUND_HZ, Fraction(1, _SOUND_HZ)
        frame.pts = self._next
        self._next += len(samples)
        self._output.mux(self._stream.encode(frame))

    def flush(self) -> None:
        self._output.mux(self._stream.encode(None))
