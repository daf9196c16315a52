"""Finished tiles on disk, so that a run that broke off goes on where it was.

Each picture has a folder in the cache, named by a hash of all that its tiles depend on: pixels,
weights, tiling, runtime and precision. A tile is one ``.npy`` file of 16-bit values that appears
when it is complete. One that was left as it was is an empty ``.asis`` file. Folders are removed
when the run that needed them has ended, and those that nobody came back for after two weeks.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError
from whet.files import cache_dir, replacing

__all__ = ["KeptTiles", "forget_old"]

FORGOTTEN_AFTER_DAYS = 14

Tile = NDArray[np.uint16]


def _folder() -> Path:
    return cache_dir() / "tiles"


class KeptTiles:
    """The tiles of one picture.

    Args:
        image: the degraded picture.
        settings: everything else that its tiles depend on.

    Attributes:
        off: keep nothing, and look for nothing.
        full: the disk took no more tiles; the run goes on without keeping them.
    """

    def __init__(self, image: NDArray[Any], *settings: object) -> None:
        digest = hashlib.sha256(repr((image.shape, image.dtype.str, settings)).encode())
        digest.update(np.ascontiguousarray(image).data)
        self.folder = _folder() / digest.hexdigest()[:32]
        self.off = self.full = False

    def load(self, number: int, shape: tuple[int, ...]) -> Tile | None:
        """Return a finished tile; None where there is none, or a damaged one."""
        if self.off:
            return None
        try:
            tile = np.load(self._file(number), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return tile if tile.shape == shape and tile.dtype == np.uint16 else None

    def left_as_it_was(self, number: int) -> bool:
        """Whether a tile was given up in an earlier run."""
        return not self.off and self._mark(number).exists()

    def keep(self, number: int, tile: Tile | None) -> None:
        """Keep a finished tile; None says that it was left as it was."""
        if self.off or self.full:
            return
        target = self._mark(number) if tile is None else self._file(number)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(target, overwrite=True) as temporary, temporary.open("wb") as stream:
                if tile is not None:
                    np.save(stream, tile, allow_pickle=False)
        except (OSError, InputError):
            self.full = True

    def remove(self) -> None:
        """Forget the picture."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"

    def _mark(self, number: int) -> Path:
        return self.folder / f"{number:06}.asis"


def forget_old() -> None:
    """Remove the tiles that nobody came back for."""
    oldest = time.time() - FORGOTTEN_AFTER_DAYS * 86400
    with suppress(OSError):
        for folder in _folder().iterdir():
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
