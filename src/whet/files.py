"""Files that appear complete or not at all, and why the system refused one."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whet.errors import InputError

__all__ = ["reason", "replacing"]


def reason(error: OSError) -> str:
    """Say in words, with the remedy, why the system refused a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space or choose another folder with -o"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission denied; check the rights or choose another folder with -o"
    if error.errno == errno.ENOENT:
        return "no such file or folder; check the path"
    return error.strerror or str(error)


@contextmanager
def replacing(
    target: Path, *, overwrite: bool = False, error: type[InputError] = InputError
) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` on success.

    On any failure, an interrupt included, the temporary file is removed and
    ``target`` stays as it was.

    Args:
        target: the final path; its folder must exist.
        overwrite: whether an existing ``target`` may be replaced.
        error: what to raise.

    Raises:
        InputError: ``target`` exists or cannot be written, as ``error``.
    """
    if target.is_dir():
        raise error(f"{target} is a folder; name a file")
    if target.exists() and not overwrite:
        raise error(f"{target} exists already; add --overwrite to replace it")
    if not target.parent.is_dir():
        raise error(f"{target.parent}: no such folder; create it first")
    temporary = target.parent / f".whet-{secrets.token_hex(6)}.part"
    try:
        yield temporary
        temporary.replace(target)
    except OSError as failure:
        raise error(f"{target} cannot be written: {reason(failure)}") from failure
    finally:
        with suppress(OSError):  # the folder is out of reach, as the failure above says
            temporary.unlink(missing_ok=True)
