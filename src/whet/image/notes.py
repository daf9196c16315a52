"""The sentences that several formats say about what was not kept."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SEALED", "damaged_part", "left_out"]

SEALED = (
    "the Content Credentials (C2PA) were left out: they seal the picture as it was, "
    "and would be invalid"
)


def damaged_part(name: str) -> str:
    """Say that a damaged piece of metadata was dropped, such as "the EXIF"."""
    return f"{name} is damaged and was left out; the picture is not"


def left_out(format: str, names: Sequence[str]) -> str:
    """Say what a format cannot hold."""
    return f"left out, as {format} cannot hold it: {', '.join(names)}"
