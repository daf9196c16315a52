"""Which videos a command line names, and where their results go."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.errors import MediaError
from whet.video.encode.encoding import CONTAINERS, codec_named

__all__ = ["SUFFIXES", "Job", "default_suffix", "default_target", "plan"]

_KNOWN = (
    ".mp4 .m4v .mov .mkv .webm .ts .m2ts .mts .avi .mpg .mpeg .vob .mxf .dv .wmv .asf .flv "
    ".ogv .3gp .nut .y4m"
)
SUFFIXES = frozenset(re.findall(r"\S+", _KNOWN))
"""Of files that are taken for videos in folders; any other file can be named."""


@dataclass(frozen=True)
class Job:
    """One video to restore."""

    source: Path
    target: Path


def default_suffix(source: Path, codec: str | None = None) -> str:
    """Return the ending of a result: the source's own; .mp4 where that is only read.

    What loses nothing needs a container for archives.
    """
    if codec is not None and codec_named(codec).encoder == "ffv1":
        return ".mkv"
    return source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"


def default_target(source: Path, codec: str | None = None) -> Path:
    """Return ``NAME-whet.SUFFIX`` beside the source."""
    stem = source.stem.replace("%", "_") or "video"
    return source.with_name(f"{stem}-whet{default_suffix(source, codec)}")


def plan(
    sources: Sequence[Path | str], target: Path | str | None = None, codec: str | None = None
) -> list[Job]:
    """Decide which video goes where.

    Args:
        sources: files, folders (searched recursively, by suffix), globs, or patterns of numbered
            pictures such as ``frames/%04d.png``.
        target: a folder, which keeps the sources' tree; a file, for one source; or None, which
            writes ``NAME-whet.SUFFIX`` beside each source.
        codec: of the results, where it was asked for.

    Raises:
        MediaError: a source does not exist or holds no videos, or two results would be one file.
    """
    codec = None if codec == "same" else codec
    folder = Path(target) if target is not None else None
    found = [pair for source in sources for pair in _found(Path(source), folder)]
    single = len(found) == 1 and not Path(sources[0]).is_dir()
    if folder is not None and single and not _is_folder(str(target)):
        return [Job(found[0][0], folder)]
    jobs: dict[Path, Path] = {}
    for path, place in found:
        if folder is None:
            wanted = default_target(path, codec)
        else:
            wanted = folder / place.with_suffix(default_suffix(path, codec))
        if jobs.get(wanted, path) != path:  # a.avi beside a.mov, say
            wanted = wanted.with_stem(f"{wanted.stem}-{path.suffix.lstrip('.')}")
        if jobs.get(wanted, path) != path:
            raise MediaError(f"{jobs[wanted]} and {path} would both become {wanted}; rename one")
        jobs[wanted] = path
    return [Job(path, wanted) for wanted, path in jobs.items()]


def _is_folder(target: str) -> bool:
    return Path(target).is_dir() or target.endswith(("/", os.sep)) or not Path(target).suffix


def _found(source: Path, target: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield the videos that one argument names, each with its place in a tree."""
    if source.is_dir():
        inside = target.resolve() if target is not None and target.is_dir() else None
        videos = [
            path
            for path in sorted(source.rglob("*"))
            if _is_video(path)
            and (inside in (None, source.resolve()) or not path.resolve().is_relative_to(inside))
        ]
        if not videos:
            raise MediaError(f"{source} holds no videos; name a folder that does")
        yield from ((path, path.relative_to(source)) for path in videos)
    elif source.exists() or not glob.has_magic(str(source)):
        yield source, Path(source.name)
    else:
        # Path.glob takes no absolute pattern.
        matches = map(Path, sorted(glob.glob(str(source), recursive=True)))  # noqa: PTH207
        files = [path for path in matches if _is_video(path)]
        if not files:
            raise MediaError(f"{source} matches no video; check the pattern")
        yield from ((path, Path(path.name)) for path in files)


def _is_video(path: Path) -> bool:
    """Whether a file has a video's suffix and is neither hidden nor a result of an earlier run."""
    ours = path.stem.endswith(("-whet", "-whet.partial", "-whet-preview", "-preview"))
    return (
        path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not (ours or path.name.startswith("."))
    )
