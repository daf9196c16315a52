"""The example of the restore page: a photograph that comes with whet, made soft here."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files

__all__ = ["EXAMPLES", "example"]

_PHOTO = "heldout/the-spices-of-life.webp"

EXAMPLES = ("soft.png", "sharp.png")
"""What :func:`example` knows: a photograph halved and doubled in size, and as it was."""


@lru_cache(len(EXAMPLES))
def example(name: str) -> bytes:
    """Return one of :data:`EXAMPLES` as PNG."""
    from PIL import Image

    data = files("whet").joinpath("demo_data", *_PHOTO.split("/")).read_bytes()
    with Image.open(io.BytesIO(data)) as photo:
        picture = photo.convert("RGB")
    if name == "soft.png":
        half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
        picture = half.resize(picture.size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
