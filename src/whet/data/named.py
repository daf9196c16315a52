"""How a command line names a set of pairs."""

from __future__ import annotations

from pathlib import Path

from whet.data.sources import SOURCES

__all__ = ["pairs_named"]


def pairs_named(text: str, kind: str = "pairs") -> tuple[str, Path]:
    """Return (kind, folder) of ``KIND:DIR``, or of ``DIR`` alone, which has layout ``kind``."""
    first, colon, rest = text.partition(":")
    return (first, Path(rest)) if colon and first in SOURCES else (kind, Path(text))
