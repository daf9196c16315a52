"""A sidecar of checksums of frames, as FFmpeg's ``framemd5`` writes it: for archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from whet.errors import MediaError
from whet.files import replacing
from whet.video.decode.decoding import video_stream
from whet.video.decode.reading import open_input

__all__ = ["digest_path", "write_digest"]


def digest_path(video: Path) -> Path:
    """Return where the checksums of a video go."""
    return video.with_name(f"{video.name}.framemd5")


def write_digest(video: Path) -> Path:
    """Decode a video and write the MD5 of every frame beside it; return where.

    ``ffmpeg -i VIDEO -map 0:v:0 -f framemd5 -`` prints the same sums.

    Raises:
        MediaError: it cannot be read, or the sidecar cannot be written.
    """
    target = digest_path(video)
    with (
        replacing(target, overwrite=True, error=MediaError) as temporary,
        open_input(video) as container,
        av.open(str(temporary), "w", format="framemd5") as out,
    ):
        stream = video_stream(container, video)
        raw: Any = out.add_stream("rawvideo", rate=stream.average_rate or 25)
        raw.width, raw.height = stream.width, stream.height
        raw.pix_fmt = stream.codec_context.pix_fmt
        raw.time_base = raw.codec_context.time_base = stream.time_base
        for frame in container.decode(stream):
            out.mux(raw.encode(frame))
        out.mux(raw.encode(None))
    return target
