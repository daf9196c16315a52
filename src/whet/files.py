"""Files and folders that appear complete or not at all; their hash; why the system refused one."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whet.errors import InputError, Kind, WhetError

__all__ = ["cache_dir", "check_target", "file_sha256", "new_folder", "reason", "replacing"]

_BLOCK_BYTES = 1 << 22


def reason(error: OSError) -> str:
    """Say in words, with the remedy, why the system refused a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission denied; check the rights or choose another folder"
    if error.errno == errno.ENOENT:
        return "no such file or folder; check the path"
    return error.strerror or str(error)


def check_target(
    target: Path, *, overwrite: bool = False, error: type[WhetError] = InputError
) -> None:
    """Refuse a file that cannot or must not be written, before the work is done.

    Raises:
        WhetError: ``target`` is a folder, exists without ``overwrite``, or has no folder to be
            in, as ``error``.
    """
    if target.is_dir():
        raise error(f"{target} is a folder; name a file")
    if target.is_file() and not overwrite:
        raise error(f"{target} exists already", Kind.EXISTS)
    if not target.parent.is_dir():
        raise error(f"{target.parent}: no such folder; create it first")


@contextmanager
def replacing(
    target: Path,
    *,
    overwrite: bool = False,
    durable: bool = False,
    error: type[WhetError] = InputError,
) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` on success.

    On any failure, an interrupt included, the temporary file is removed and
    ``target`` stays as it was. A target that is replaced keeps its rights; a link stays a
    link, to a new file; into a device or a named pipe the result is copied.

    Args:
        target: the final path; its folder must exist.
        overwrite: whether an existing ``target`` may be replaced.
        durable: have the content on the disk before it gets its name.
        error: what to raise.

    Raises:
        WhetError: ``target`` exists or cannot be written, as ``error``.
    """
    check_target(target, overwrite=overwrite, error=error)
    if target.is_symlink():
        target = target.resolve()
    device = target.exists() and not target.is_file()
    temporary = _beside(Path(tempfile.gettempdir()) / target.name if device else target)
    try:
        yield temporary
        if durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        if device:
            with temporary.open("rb") as content, target.open("wb") as opened:
                shutil.copyfileobj(content, opened)
            return
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as failure:
        raise error(f"{target} cannot be written: {reason(failure)}") from failure
    finally:
        with suppress(OSError):  # the folder is out of reach, as the failure above says
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target`` that becomes ``target`` on success.

    Args:
        target: must not exist, or be an empty folder; the folder it is in must exist.

    Raises:
        InputError: ``target`` is in use, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is in use; name a folder that does not exist yet")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: no such folder; create it first")
    temporary = _beside(target)
    try:
        temporary.mkdir()
        yield temporary
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except OSError as failure:
        raise InputError(f"{target} cannot be written: {reason(failure)}") from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(target: Path) -> Path:
    # In the same folder: only then is a rename one step.
    return target.parent / f".whet-{secrets.token_hex(6)}.part"


def file_sha256(path: Path, progress: Callable[[float], None] | None = None) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Args:
        path: of the file.
        progress: told the share that was read, after every 4 MiB.
    """
    digest, size, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if progress:
                progress(done / size)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Return the folder for what is fetched; it may not exist yet.

    ``WHET_CACHE`` if set, else ``whet`` in the platform's folder for caches.
    """
    if chosen := os.environ.get("WHET_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "whet/Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/whet"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whet"
