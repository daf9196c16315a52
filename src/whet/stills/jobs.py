"""Which pictures a command line names, and where their results go."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whet import image
from whet.errors import ImageError

__all__ = ["Job", "plan"]


@dataclass(frozen=True)
class Job:
    """One picture to restore; the path ``-`` is standard input or output."""

    source: Path
    target: Path

    @property
    def to_pipe(self) -> bool:
        """Whether the result goes to standard output."""
        return str(self.target) == "-"

    @property
    def from_pipe(self) -> bool:
        """Whether the picture comes from standard input."""
        return str(self.source) == "-"


def plan(
    sources: Sequence[Path | str], target: Path | str | None = None, *, suffix: str | None = None
) -> list[Job]:
    """Decide which picture goes where.

    Args:
        sources: files, folders (searched recursively, by suffix), globs, or ``-``.
        target: a folder, which keeps the sources' tree; a file, for one source;
            ``-``; or None, which writes ``NAME-whet.SUFFIX`` beside each source.
        suffix: the format of the results; None keeps that of each source.

    Raises:
        ImageError: a source does not exist or holds no pictures, or two results
            would have the same name, or no picture is written under ``suffix``.
    """
    if suffix is not None:
        suffix = f".{suffix.lstrip('.')}"
        image.format_of(suffix)
    found: list[tuple[Path, Path]] = []  # picture, and its place in the target's tree
    for source in map(str, sources):
        found += _found(source, Path(target) if target not in (None, "-") else None)
    if str(target) == "-" and len(found) > 1:
        raise ImageError(f"{len(found)} pictures cannot go to one pipe; name a folder")
    jobs = [Job(path, _target(path, place, target, suffix, len(found))) for path, place in found]
    taken: dict[Path, Path] = {}
    for job in jobs:
        first = taken.setdefault(job.target, job.source)
        if first != job.source:
            raise ImageError(
                f"{first} and {job.source} would both become {job.target}; "
                "restore them in two runs or rename one"
            )
    return [Job(source, target) for target, source in taken.items()]


def _found(source: str, target: Path | None) -> list[tuple[Path, Path]]:
    """Return the pictures that one argument names, each with its place in a tree."""
    path = Path(source)
    if path.is_dir():
        inside = (
            target if target and target.is_dir() and path.resolve() != target.resolve() else None
        )
        pictures = [
            picture
            for picture in sorted(path.rglob("*"))
            if _is_picture(picture)
            and not (inside and picture.resolve().is_relative_to(inside.resolve()))
        ]
        if not pictures:
            raise ImageError(f"{path} holds no pictures; name a folder that does")
        return [(picture, picture.relative_to(path)) for picture in pictures]
    if source == "-" or path.exists() or not glob.has_magic(source):
        return [(path, Path(path.name))]
    # Path.glob takes no absolute pattern.
    matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207
    files = [match for match in matches if _is_picture(match)]
    if not files:
        raise ImageError(f"{source} matches no picture; check the pattern")
    return [(match, Path(match.name)) for match in files]


def _is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix and is not the result of an earlier run."""
    result = path.stem.endswith(("-whet", "-whet-compare"))
    return path.suffix.lower() in image.SUFFIXES and path.is_file() and not result


def _target(
    path: Path, place: Path, target: Path | str | None, suffix: str | None, count: int
) -> Path:
    """Return where the result of one picture goes."""
    if str(target) == "-":
        return Path("-")
    if suffix is None:
        suffix = path.suffix if _writable(path.suffix) else ".png"
    if target is None:
        folder = Path() if str(path) == "-" else path.parent
        return folder / f"{'stdin' if str(path) == '-' else path.stem}-whet{suffix}"
    is_file = count == 1 and not Path(target).is_dir() and Path(target).suffix != ""
    if is_file and not str(target).endswith(("/", os.sep)):
        return Path(target)
    return Path(target) / place.with_suffix(suffix)


def _writable(suffix: str) -> bool:
    try:
        image.format_of(suffix)
    except ImageError:
        return False
    return True
