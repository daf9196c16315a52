"""The pixel format to encode in: the source's own depth and sampling, or the nearest there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from whet.video.decode.alpha import has_alpha
from whet.video.decode.rgb import is_rgb

__all__ = ["pixel_format"]

_ODD_SIDES = {"libvpx-vp9", "libvpx", "ffv1"}  # take them in 4:2:0, too
_ANIMATED = {"gif", "webp", "apng"}
# Subsampling across and down -> FFmpeg's digits, best first.
_SAMPLINGS = {
    (1, 1): ("444",),
    (2, 1): ("422", "444"),
    (2, 2): ("420",),
    (1, 2): ("440", "444"),
    (4, 1): ("411", "422"),
    (4, 4): ("410", "420"),
}
_ALPHA_IN = {
    ("libvpx-vp9", "webm"),
    ("libvpx-vp9", "matroska"),
    ("libvpx", "webm"),
    ("libvpx", "matroska"),
    ("ffv1", "matroska"),
    ("prores_ks", "mov"),
    ("prores_ks", "matroska"),
}


def pixel_format(source: Any, encoder: Any, container: str) -> tuple[str, tuple[str, ...]]:
    """Choose a format.

    Args:
        source: an open :class:`~whet.video.decode.source.VideoSource`.
        encoder: FFmpeg's codec.
        container: FFmpeg's name of the container.

    Returns:
        Its name, and what is lost by it, in sentences.
    """
    first = source.first
    supported = [format.name for format in encoder.video_formats or ()]
    alpha = source.transparent and (encoder.name, container) in _ALPHA_IN
    wanted = (n for n in _wanted(source, encoder, alpha) if n in supported or not supported)
    chosen = next(wanted, None) or _nearest(supported, first.format.name)
    return chosen, tuple(_losses(source, encoder.name, av.VideoFormat(chosen)))


def _wanted(source: Any, encoder: Any, alpha: bool) -> Iterator[str]:
    """Yield names of formats, best first."""
    first = source.first
    name, bits = first.format.name, max(part.bits for part in first.format.components)
    ends = ((13, "16le"), (11, "12le"), (9, "10le"), (0, ""))
    depths = [end for least, end in ends if bits >= least]
    letters = ("yuva", "yuv") if alpha else ("yuv",)
    if encoder.lossless and not encoder.lossy:
        if alpha or not has_alpha(first.format):
            yield name
        if is_rgb(first.format):
            yield from (f"{'gbrap' if alpha else 'gbrp'}{end}" for end in depths)
            yield "bgra" if alpha else "bgr0"
    if not is_rgb(first.format) and len(first.format.components) <= 2:
        yield from (f"gray{end}" for end in depths)
    for sampling in _samplings(source, encoder.name):
        for end in depths:
            yield from (f"{kind}{sampling}p{end}" for kind in letters)


def _samplings(source: Any, encoder: str) -> Iterator[str]:
    first = source.first
    if is_rgb(first.format):
        name = source.stream.codec_context.name
        animated = name in _ANIMATED or source.path.suffix.lower() == ".webp"
        kinds: tuple[str, ...] = ("420",) if animated else ("444",)
    elif len(first.format.components) <= 2:
        kinds = ("420",)
    else:
        across = -(-first.width // first.format.chroma_width(first.width))
        down = -(-first.height // first.format.chroma_height(first.height))
        kinds = _SAMPLINGS.get((across, down), ("420",))
    rows = 4 if source.interlaced else 2  # of two fields with half the colour each
    for kind in (*kinds, "420"):
        if encoder in _ODD_SIDES or kind == "444":
            yield kind
        elif kind in ("420", "422", "411", "410") and first.width % 2:
            yield "444"
        elif kind in ("420", "440", "410") and first.height % rows:
            yield "422" if source.interlaced else "444"
        else:
            yield kind


def _nearest(supported: list[str], name: str) -> str:
    found, _ = av.codec.codec.find_best_pix_fmt_of_list(supported, name)
    return found.name if found else "yuv420p"


def _losses(source: Any, encoder: str, chosen: Any) -> Iterator[str]:
    old = source.first.format
    depth = [max(part.bits for part in format.components) for format in (old, chosen)]
    if depth[1] < depth[0]:
        yield f"{encoder} takes {depth[1]} bits per channel here: {depth[0]} were reduced"
    if is_rgb(old) and not is_rgb(chosen):
        yield f"RGB became YUV ({chosen.name}), as {encoder} encodes it"
    if len(old.components) <= 2 or is_rgb(old):
        return
    sizes = [(f.chroma_width(1920), f.chroma_height(1080)) for f in (old, chosen)]
    if sizes[1] < sizes[0] or sizes[1][1] < sizes[0][1]:
        yield f"colour is stored at a lower resolution ({chosen.name}): {encoder} takes no more"
    elif sizes[1] != sizes[0] and (source.first.width % 2 or source.first.height % 2):
        yield f"an odd width or height needs {chosen.name}, which few players take"
