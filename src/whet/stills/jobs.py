"""Which pictures a command line names, and where their results go."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whet import image
from whet.errors import ImageError

__all__ = ["Job", "plan"]

_FORMS = "|".join(suffix[1:] for suffix in image.SUFFIXES)
_RESULT = re.compile(rf"-whet(-({_FORMS}|\d+))?(-compare(-\d+)?)?$", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Job:
    """One picture to restore; the path ``-`` is standard input or output.

    Attributes:
        source, target: of the picture.
        compared: where the side-by-side picture goes, where one was asked for.
        format: suffix of the result, where its name does not say it.
        notes: what its name gave way to, in sentences.
    """

    source: Path
    target: Path
    compared: Path | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def to_pipe(self) -> bool:
        """Whether the result goes to standard output."""
        return str(self.target) == "-"

    @property
    def from_pipe(self) -> bool:
        """Whether the picture comes from standard input."""
        return str(self.source) == "-"


@dataclass(frozen=True)
class _Found:
    """A picture that an argument names.

    Attributes:
        path: of it.
        place: its path in the tree of results.
        alone: it was named itself, not by a folder or a pattern.
    """

    path: Path
    place: Path
    alone: bool


def plan(
    sources: Sequence[Path | str],
    target: Path | str | None = None,
    *,
    suffix: str | None = None,
    name: str | None = None,
    fields: Mapping[str, str] | None = None,
    compare: bool = False,
    recursive: bool = True,
) -> list[Job]:
    """Decide which picture goes where; all names are planned together, and none is taken twice.

    Args:
        sources: files, folders (searched by suffix), globs, or ``-``. In folders and by globs,
            hidden files and results of earlier runs (``NAME-whet``) are passed over.
        target: a folder, which keeps the sources' tree; a file, for one source;
            ``-``; or None, which writes ``NAME-whet.SUFFIX`` beside each source.
        suffix: the format of the results; None keeps that of each source.
        name: of results without their suffix, such as ``{stem}-{model}``. Fields are ``stem``,
            ``folder`` (that of the source) and those in ``fields``.
        fields: more fields for ``name``.
        compare: plan a side-by-side picture for each, ``NAME-compare.SUFFIX``.
        recursive: search folders with all that is below them.

    Raises:
        ImageError: a source does not exist or holds no pictures, or no picture is
            written under ``suffix``, or ``name`` has an unknown field.
    """
    if suffix is not None:
        suffix = f".{suffix.lstrip('.')}"
        image.format_of(suffix)
    if "" in [str(source) for source in sources] or target == "":
        raise ImageError("a name is empty; check the variables in the command")
    folder = Path(target) if target is not None and str(target) != "-" else None
    found = [one for source in sources for one in _found(str(source), folder, recursive)]
    found = list({one.path: one for one in reversed(found)}.values())[::-1]
    if str(target) == "-" and len(found) > 1:
        raise ImageError(f"{len(found)} pictures cannot go to one pipe; name a folder")
    jobs = [_job(one, target, suffix, name, fields or {}, len(found) == 1) for one in found]
    return _apart(jobs, compare)


def _job(
    one: _Found,
    target: Path | str | None,
    suffix: str | None,
    name: str | None,
    fields: Mapping[str, str],
    only: bool,
) -> Job:
    """Return where one picture goes if no other is in its way."""
    if str(target) == "-":
        return Job(one.path, Path("-"), format=suffix)
    piped = str(one.path) == "-"
    stem = "stdin" if piped else one.path.stem
    if suffix is None:
        known = _piped_suffix() if piped else one.path.suffix
        suffix = known if _writable(known) else ".png"
    if target is not None and only and one.alone and _is_file(target):
        path = Path(target)
        if not _is_device(path) and not _writable(path.suffix):
            raise ImageError(
                f"{target}: whet writes no {path.suffix!r} pictures; name another suffix, "
                "or end it with / for a folder"
            )
        return Job(one.path, path, format=None if _writable(path.suffix) else suffix)
    pattern = name or ("{stem}-whet" if target is None else "{stem}")
    known_fields = {"stem": stem, "folder": one.path.resolve().parent.name, **fields}
    named = _named(pattern, known_fields) + suffix
    if target is None:
        return Job(one.path, (Path() if piped else one.path.parent) / named)
    return Job(one.path, Path(target) / one.place.parent / named)


def _is_file(target: Path | str) -> bool:
    """Whether a target means a file: it looks like one, or is a device or named pipe."""
    path = Path(target)
    if _is_device(path):
        return True
    return not path.is_dir() and path.suffix != "" and not str(target).endswith(("/", os.sep))


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_dir() and not path.is_file()


def _named(pattern: str, fields: Mapping[str, str]) -> str:
    """Fill a name's fields.

    Raises:
        ImageError: one is unknown, or the name would lead into another folder.
    """
    unknown = [f for f in _FIELD.findall(pattern) if f not in fields]
    if unknown:
        raise ImageError(
            f"the name has no field {{{unknown[0]}}}; use "
            + ", ".join(f"{{{field}}}" for field in fields)
        )
    filled = _FIELD.sub(lambda match: fields[match[1]], pattern)
    if not filled or "/" in filled or os.sep in filled or filled in (".", ".."):
        raise ImageError(f"{pattern!r} is no file name; folders are named by the target")
    return filled


def _apart(jobs: list[Job], compare: bool) -> list[Job]:
    """Give every file that will be written a name of its own, that of no other source either.

    Results that keep their source's name come first; of the others, ``a.gif`` beside ``a.png``
    becomes ``a-gif.png``, and a side-by-side picture moves on by a number.
    """
    taken = {_whole(job.source) for job in jobs if not job.from_pipe}
    planned: dict[int, Job] = {}
    order = sorted(range(len(jobs)), key=lambda n: jobs[n].source.suffix != jobs[n].target.suffix)
    for number in order:
        job = jobs[number]
        own = set() if job.from_pipe else {_whole(job.source)}
        wanted = job.target
        if not job.to_pipe and not _is_device(wanted):
            job = replace(job, target=_free(wanted, job.source.suffix[1:], taken - own))
            if job.target != wanted:
                sentence = f"written as {job.target.name}, as {wanted.name} belongs to another"
                job = replace(job, notes=(sentence,))
            taken.add(_whole(job.target))
        planned[number] = job
    for number, job in sorted(planned.items()):
        if compare and not job.to_pipe:
            beside = job.target.with_name(f"{job.target.stem}-compare{job.target.suffix}")
            planned[number] = job = replace(job, compared=_free(beside, "", taken))
            taken.add(_whole(job.compared or beside))
    return [planned[number] for number in range(len(jobs))]


def _whole(path: Path) -> str:
    """Return a path by which two names of one file are the same."""
    return str(path.parent.resolve() / path.name)


def _free(wanted: Path, hint: str, taken: set[str]) -> Path:
    """Return ``wanted`` or, where it is taken, the next name: with ``hint``, with numbers."""
    path, number = wanted, 1
    stem = f"{wanted.stem}-{hint}" if hint else wanted.stem
    while _whole(path) in taken:
        ending = f"-{number}" if number > 1 or not hint else ""
        path = wanted.with_name(f"{stem}{ending}{wanted.suffix}")
        number += 1
    return path


def _found(source: str, target: Path | None, recursive: bool) -> list[_Found]:
    """Return the pictures that one argument names, each with its place in a tree."""
    path = Path(source)
    if path.is_dir():
        here = path.resolve()
        # What an earlier run wrote into this tree is no source.
        results = target.resolve() if target and target.is_dir() else here
        inside = results if results != here and results.is_relative_to(here) else None
        pictures = [
            picture
            for picture in sorted(path.rglob("*") if recursive else path.glob("*"))
            if _is_picture(picture) and not (inside and picture.resolve().is_relative_to(inside))
        ]
        if not pictures:
            raise ImageError(f"{path} holds no pictures; name a folder that does")
        return [_Found(picture, picture.relative_to(path), False) for picture in pictures]
    if source == "-" or path.exists() or not glob.has_magic(source):
        return [_Found(path, Path(path.name), True)]
    # Path.glob takes no absolute pattern.
    matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207
    files = [match for match in matches if _is_picture(match)]
    if not files:
        raise ImageError(f"{source} matches no picture; check the pattern")
    return [_Found(match, Path(match.name), False) for match in files]


def _is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix, is not hidden, and is no earlier run's result.

    macOS puts hidden files (``._photo.png``) beside each picture on foreign disks.
    """
    result = _RESULT.search(path.stem)
    hidden = path.name.startswith(".")
    named = path.suffix.lower() in image.SUFFIXES and not hidden and not result
    return named and path.is_file()


def _piped_suffix() -> str:
    """Return the suffix of what stands in standard input, without taking it."""
    peek = getattr(sys.stdin.buffer, "peek", None)
    return image.suffix_of(peek(32)[:32]) if peek else ""


def _writable(suffix: str) -> bool:
    try:
        image.format_of(suffix)
    except ImageError:
        return False
    return bool(suffix)
