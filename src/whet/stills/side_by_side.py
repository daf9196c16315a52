"""Two pictures side by side, labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whet.image import Picture, Pixels, stripped

__all__ = ["side_by_side"]


def side_by_side(before: Picture, after: Picture) -> Picture:
    """Return ``before`` left of ``after`` with a white line between and a label in each.

    Args:
        before, after: pictures of one size and dtype.

    Returns:
        A picture of (H, 2 W + line) of the same dtype, with the format of ``before`` and what
        says the meaning of its colours.
    """
    peak = np.iinfo(before.pixels.dtype).max
    height, width = before.pixels.shape[:2]
    line = np.full((height, max(2, width // 200), 3), peak, before.pixels.dtype)
    left, right = (_labelled(p.pixels, t) for p, t in ((before, "before"), (after, "after")))
    alpha = None
    if before.alpha is not None:
        alpha = np.concatenate([before.alpha, line[..., :1], before.alpha], axis=1)
    metadata = replace(stripped(before.metadata), notes=())
    return Picture(np.concatenate([left, line, right], axis=1), alpha, metadata)


def _labelled(pixels: Pixels, text: str) -> Pixels:
    """Write ``text`` on a darkened box in the upper left corner; tiny pictures stay bare."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = pixels.shape[:2]
    size = max(11, min(height, width) // 30)
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    margin = size // 2
    box = (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin)
    if box[0] > width or box[1] > height:
        return pixels
    mask = Image.new("L", box)
    ImageDraw.Draw(mask).text((margin - left, margin - top), text, fill=255, font=font)
    ink = np.asarray(mask, np.float32)[..., None] / 255
    labelled = pixels.copy()
    corner = labelled[: box[1], : box[0]]
    peak = np.iinfo(pixels.dtype).max
    corner[:] = np.rint(corner * 0.35 * (1 - ink) + peak * ink).astype(pixels.dtype)
    return labelled
