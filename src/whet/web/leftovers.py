"""Folders of uploads that a killed server left behind, found and deleted by the next one.

A server holds a lock on a file in its folder for as long as it lives. The system releases
it with the process, however that ends, so a folder whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["PREFIX", "Folder", "sweep"]

PREFIX = "whet-serve-"
_LOCK = "lock"


class Folder:
    """A new folder for temporary files that only this user can read, until it is closed."""

    def __init__(self) -> None:
        # Locked before it gets its name: one of that name without a lock is deserted.
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        self._lock = (made / _LOCK).open("w")
        _locked(self._lock)
        self.path = made.rename(made.with_name(made.name[1:]))

    def close(self) -> None:
        """Delete it, with what is still in it."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep() -> list[Path]:
    """Delete the folders of servers of this user that run no more; return them."""
    swept = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _deserted(folder):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept


def _deserted(folder: Path) -> bool:
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return False
        with (folder / _LOCK).open("r+") as lock:
            return _locked(lock)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _locked(file: IO[str]) -> bool:
    """Lock a file unless somebody else has; returns whether."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
