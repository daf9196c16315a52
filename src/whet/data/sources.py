"""Data sets by name: list them, split them by scene, check them before an hour is lost.

Splits are "train", "val", "test" and "all"; "+" joins them ("train+val"). Folders
that prescribe a split are obeyed. Where none prescribes validation, about a tenth
of the training scenes is held out by a stable hash of their names
(:mod:`whet.data.scenes`).

A new data set is one function in :mod:`whet.data.layouts` and one line in
:data:`SOURCES`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from whet.data.layouts import (
    Listing,
    Pair,
    Problem,
    find_div2k,
    find_gopro,
    find_pairs,
    find_photos,
)
from whet.data.scenes import validation
from whet.errors import DataError, InputError, WhetError
from whet.image import read

__all__ = [
    "SOURCES",
    "SPLITS",
    "CheckReport",
    "Pair",
    "Problem",
    "Source",
    "check",
    "list_pairs",
    "split_to_score",
]

SPLITS = ("train", "val", "test")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """One row of :data:`SOURCES`.

    Attributes:
        find: from the root folder to what lies there.
        layout: the folders expected, for messages.
        expected: pictures per split of the complete published set; empty where any number will do.
        title: one line for people.
    """

    find: Callable[[Path], Listing]
    layout: str
    expected: Mapping[str, int]
    title: str


_GOPRO = "{train,test}/<sequence>/{blur,sharp}/*.png"
_GOPRO_COUNTS = {"train": 2103, "test": 1111}
_DIV2K = "DIV2K_train_HR/*.png, DIV2K_valid_HR/*.png"
_DIV2K_COUNTS = {"train": 800, "val": 100}

SOURCES: Mapping[str, Source] = {
    "gopro": Source(find_gopro, _GOPRO, _GOPRO_COUNTS, "GoPro_Large, blur averaged as recorded"),
    "gopro-gamma": Source(
        partial(find_gopro, degraded="blur_gamma"),
        _GOPRO.replace("blur", "blur_gamma"),
        _GOPRO_COUNTS,
        "GoPro_Large, blur averaged after gamma correction",
    ),
    "div2k": Source(find_div2k, _DIV2K, _DIV2K_COUNTS, "DIV2K, LR_bicubic/X2 where it lies there"),
    "div2k-x3": Source(partial(find_div2k, scale=3), _DIV2K, _DIV2K_COUNTS, "DIV2K with X3"),
    "div2k-x4": Source(partial(find_div2k, scale=4), _DIV2K, _DIV2K_COUNTS, "DIV2K with X4"),
    "pairs": Source(find_pairs, "[<sequence>/]{blur,sharp}/*", {}, "degraded and sharp folders"),
    "photos": Source(find_photos, "**/*.jpg, .png, .webp, ...", {}, "sharp photographs"),
}


@dataclass(frozen=True)
class CheckReport:
    """Everything :func:`check` found, in one place.

    Attributes:
        kind: a key of :data:`SOURCES`.
        root: the folder that was checked.
        pairs: usable pairs per split, after validation scenes are held out.
        scenes: scenes per split.
        problems: all that is wrong, in the order of the paths.
        ignored: files that are no pictures.
        files_read: pictures decoded completely.
    """

    kind: str
    root: Path
    pairs: Mapping[str, int]
    scenes: Mapping[str, int]
    problems: tuple[Problem, ...]
    ignored: tuple[Path, ...] = field(default=(), repr=False)
    files_read: int = 0

    @property
    def ok(self) -> bool:
        """True when nothing at all is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready values, paths as strings."""
        return {
            "schema": "whet-data-check/1",
            "kind": self.kind,
            "root": str(self.root),
            "ok": self.ok,
            "pairs": dict(self.pairs),
            "scenes": dict(self.scenes),
            "files_read": self.files_read,
            "problems": [
                {"kind": p.kind, "path": str(p.path), "detail": p.detail} for p in self.problems
            ],
            "ignored": [str(path) for path in self.ignored],
        }

    def __str__(self) -> str:
        lines = [f"{self.kind} in {self.root}: {self.files_read:,} pictures read"]
        lines += [
            f"  {split:<5} {count:>6,} pairs in {self.scenes[split]:,} scenes"
            for split, count in self.pairs.items()
        ]
        if self.ignored:
            names = ", ".join(path.name for path in self.ignored[:5])
            more = ", ..." if len(self.ignored) > 5 else ""
            lines.append(f"  {len(self.ignored):,} other files ignored: {names}{more}")
        lines += [f"  {problem.kind}: {problem}" for problem in self.problems]
        lines.append("ok" if self.ok else f"{len(self.problems):,} problems")
        return "\n".join(lines)


def list_pairs(
    kind: str, root: Path, split: str = "train", *, skip_broken: bool = False
) -> list[Pair]:
    """List the pairs of one split, sorted by name.

    Names, partners and sizes are verified, sizes from the file headers alone;
    :func:`check` decodes every picture.

    Args:
        kind: a key of :data:`SOURCES`.
        root: folder of the data set.
        split: "train", "val", "test", "all", or several joined by "+".
        skip_broken: leave out what cannot be used and warn about each, in place
            of refusing the whole data set.

    Raises:
        InputError: no data set or split has that name.
        DataError: the folder is missing or empty, something in it cannot be
            used (all named in one message), or the split has no picture.
    """
    wanted = _wanted(split)
    listing = _find(kind, root)
    problems = listing.problems + _inspect(listing, _header_fault)
    if problems:
        text = "; ".join(str(problem) for problem in problems)
        if not skip_broken:
            raise DataError(
                f"{root} has {len(problems)} problems: {text}. Mend them, or skip what is broken "
                "with skip_broken=True"
            )
        warnings.warn(f"{root}: skipped {len(problems)}: {text}", stacklevel=2)
    parts = _carve(listing, {problem.path for problem in problems})
    chosen = [pair for part in SPLITS if part in wanted for pair in parts[part]]
    if not chosen:
        held = ", ".join(f"{part} {len(pairs)}" for part, pairs in parts.items())
        raise DataError(
            f"{root} has no pictures for the split {split!r} (it has {held}); "
            "choose another split, or add pictures of more scenes"
        )
    return sorted(chosen, key=lambda pair: pair.name)


def split_to_score(kind: str, root: Path, split: str = "") -> str:
    """Return the split to score: the one that is named, or the one that a paper would report.

    Args:
        split: as in :func:`list_pairs`; "" takes "test" where the folders prescribe one, else
            "val" where they prescribe that, and "all" where they prescribe nothing.

    Raises:
        InputError, DataError: see :func:`list_pairs`; or only training pictures lie there.
    """
    if split:
        _wanted(split)
        return split
    prescribed = {part for part, pairs in _find(kind, root).pairs.items() if pairs}
    if not prescribed:
        return "all"  # nothing can be paired, and listing the pairs says why
    for part, chosen in (("test", "test"), ("val", "val"), ("", "all")):
        if part in prescribed:
            return chosen
    raise DataError(
        f"{root} holds training pictures only; name its test pictures, or score what may have "
        "been trained on with --split train"
    )


def check(kind: str, root: Path, progress: Progress | None = None) -> CheckReport:
    """Read every file of a data set and report all that is wrong with it.

    Args:
        kind: a key of :data:`SOURCES`.
        root: folder of the data set.
        progress: called with (pairs done, pairs in all).

    Raises:
        InputError: no data set has that name.
        DataError: the folder is missing, or holds nothing of that layout.
    """
    listing = _find(kind, root)
    problems = [*listing.problems, *_inspect(listing, _decoding_fault, progress)]
    parts = _carve(listing, {problem.path for problem in problems})
    for split, expected in SOURCES[kind].expected.items():
        present = len(listing.pairs.get(split, []))
        if present != expected:
            detail = f"{split} has {present:,} pairs, the published set {expected:,}"
            problems.append(Problem("count", root, detail))
    pairs = [pair for part in listing.pairs.values() for pair in part]
    return CheckReport(
        kind,
        root,
        {split: len(part) for split, part in parts.items()},
        {split: len({pair.scene for pair in part}) for split, part in parts.items()},
        tuple(sorted(problems, key=lambda problem: (str(problem.path), problem.detail))),
        tuple(listing.ignored),
        sum(1 if pair.degraded is None else 2 for pair in pairs),
    )


def _wanted(split: str) -> set[str]:
    wanted = set(SPLITS) if split == "all" else set(split.split("+"))
    if unknown := wanted - set(SPLITS):
        raise InputError(
            f"no split is called {min(unknown)!r}; choose train, val, test, all, "
            "or several joined by +"
        )
    return wanted


def _find(kind: str, root: Path) -> Listing:
    if kind not in SOURCES:
        raise InputError(f"no data set is called {kind!r}; choose one of: {', '.join(SOURCES)}")
    if not root.is_dir():
        raise DataError(f"{root} is no folder; name the one that holds the data set")
    listing = SOURCES[kind].find(root)
    if not any(listing.pairs.values()) and not listing.problems:
        raise DataError(f"{root} holds no {kind} data; expected {root}/{SOURCES[kind].layout}")
    return listing


def _carve(listing: Listing, broken: set[Path]) -> dict[str, list[Pair]]:
    """Sort the usable pairs into the three splits; no scene lies in two of them."""
    training = [*listing.pairs.get("train", []), *listing.pairs.get("", [])]
    prescribed = listing.pairs.get("val", [])
    # Scenes are chosen before broken files are dropped: mending a file moves no other.
    held_out = set() if prescribed else validation({pair.scene for pair in training})
    parts = {
        "train": [pair for pair in training if pair.scene not in held_out],
        "val": [*prescribed, *(pair for pair in training if pair.scene in held_out)],
        "test": listing.pairs.get("test", []),
    }
    return {
        split: [pair for pair in part if not {pair.sharp, pair.degraded} & broken]
        for split, part in parts.items()
    }


Fault = Callable[[Path], "tuple[int, int] | str"]


def _inspect(listing: Listing, look: Fault, progress: Progress | None = None) -> list[Problem]:
    """Apply ``look``, which returns (width, height) or what is wrong, to all files of all pairs."""
    pairs = [pair for part in listing.pairs.values() for pair in part]
    problems: list[Problem] = []
    # Decoders release the interpreter lock: threads read as fast as processes here.
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(partial(_pair_problems, look=look), pairs), 1):
            problems += found
            if progress:
                progress(done, len(pairs))
    return problems


def _pair_problems(pair: Pair, look: Fault) -> list[Problem]:
    problems: list[Problem] = []
    sizes: list[tuple[int, int]] = []
    for path in _paths(pair):
        seen = look(path)
        if isinstance(seen, str):
            problems.append(Problem("unreadable", path, seen))
        else:
            sizes.append(seen)
    if len(sizes) == 2:
        (width, height), small = sizes
        if (width, height) != (small[0] * pair.scale, small[1] * pair.scale):
            factor = f"{pair.scale} x " if pair.scale > 1 else ""
            detail = (
                f"{small[0]} x {small[1]} pixels, its sharp partner {width} x {height}, "
                f"not {factor}the same"
            )
            assert pair.degraded is not None
            problems.append(Problem("unequal", pair.degraded, detail))
    return problems


def _paths(pair: Pair) -> Iterator[Path]:
    yield pair.sharp
    if pair.degraded is not None:
        yield pair.degraded


def _header_fault(path: Path) -> tuple[int, int] | str:
    try:
        with Image.open(path) as header:
            # Asked for EXIF that comes late or never, a PNG is decoded to its end.
            costly = header.format == "PNG" and "exif" not in header.info
            orientation = 1 if costly else header.getexif().get(0x0112, 1)
            return header.size[::-1] if orientation >= 5 else header.size
    except Exception:
        # Pillow knows fewer formats than whet.image; that reader has the last word.
        return _decoding_fault(path)


def _decoding_fault(path: Path) -> tuple[int, int] | str:
    try:
        height, width = read(path).pixels.shape[:2]
    except WhetError as error:
        return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
    return width, height
