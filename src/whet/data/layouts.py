"""How data sets lie on a disk: one function per layout, from a folder to its pairs.

A layout function lists what is there and what is missing; it opens no picture.
Whatever it cannot pair becomes a :class:`Problem`, so that nothing disappears
between the disk and the training run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whet.data.scenes import photograph_scene, sequence_scene
from whet.image import SUFFIXES

__all__ = ["Listing", "Pair", "Problem", "find_div2k", "find_gopro", "find_pairs", "find_photos"]

DEGRADED_FOLDERS = ("degraded", "blur", "input", "lq")
SHARP_FOLDERS = ("sharp", "gt", "target")
SPLIT_FOLDERS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Pair:
    """One sharp picture and, where the data set has it, its degraded version.

    Attributes:
        sharp: file of the sharp picture.
        degraded: file of the degraded one; None means it is made on the fly.
        scene: pictures of one scene never lie in two splits.
        name: unique within the data set, without suffix, "/" between folders.
        scale: the degraded file is this many times smaller in both directions.
    """

    sharp: Path
    degraded: Path | None
    scene: str
    name: str
    scale: int = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a data set.

    Attributes:
        kind: "missing", "ambiguous", "unreadable", "unequal", "shared scene" or "count".
        path: the file or folder it is about.
        detail: what is wrong with it, in words.
    """

    kind: str
    path: Path
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


@dataclass
class Listing:
    """What a layout found.

    Attributes:
        pairs: by the split that the folders prescribe; "" where they prescribe none.
        problems: what could not be paired.
        ignored: files that are no pictures.
    """

    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)

    def add(self, split: str, pairs: Iterable[Pair]) -> None:
        """Append pairs that belong to ``split``."""
        self.pairs.setdefault(split, []).extend(pairs)


def find_gopro(root: Path, degraded: str = "blur") -> Listing:
    """List GoPro_Large: ``{train,test}/<sequence>/{blur,blur_gamma,sharp}/<frame>.png``.

    Args:
        root: the folder ``GoPro_Large``, or the one that holds it.
        degraded: "blur" or "blur_gamma".
    """
    base = root / "GoPro_Large" if (root / "GoPro_Large").is_dir() else root
    listing = Listing()
    for split in ("train", "test"):
        for sequence in _folders(base / split):
            pairs = _match(listing, sequence / degraded, sequence / "sharp", f"{sequence.name}/")
            listing.add(split, (Pair(s, d, sequence.name, name) for name, s, d in pairs))
    scenes = {split: {p.scene for p in pairs} for split, pairs in listing.pairs.items()}
    for scene in sorted(scenes.get("train", set()) & scenes.get("test", set())):
        detail = "the sequence lies in train and in test; remove one"
        listing.problems.append(Problem("shared scene", base / "test" / scene, detail))
    return listing


def find_pairs(root: Path) -> Listing:
    """List folders that hold a degraded and a sharp folder, at any depth below ``root``.

    Names: ``degraded``, ``blur``, ``input`` or ``lq`` beside ``sharp``, ``gt`` or
    ``target``. Files pair by name without suffix, also in folders below. A folder
    named train, val or test on the way prescribes the split.
    """
    listing = Listing()
    for folder in _pair_folders(root):
        degraded = _named(listing, folder, DEGRADED_FOLDERS)
        sharp = _named(listing, folder, SHARP_FOLDERS)
        if degraded is None or sharp is None:
            continue
        above = folder.relative_to(root).parts
        split = next((SPLIT_FOLDERS[p.lower()] for p in above if p.lower() in SPLIT_FOLDERS), "")
        prefix = "".join(f"{part}/" for part in above)
        for name, s, d in _match(listing, degraded, sharp, prefix):
            place = name.rpartition("/")[0]
            in_sequence = any(part.lower() not in SPLIT_FOLDERS for part in place.split("/"))
            scene = place if place and in_sequence else sequence_scene(s.stem) or place or root.name
            listing.add(split, [Pair(s, d, scene, name)])
    return listing


def find_div2k(root: Path, scale: int = 2) -> Listing:
    """List DIV2K: ``DIV2K_{train,valid}_HR`` with ``.._LR_bicubic/X<scale>/0001x<scale>.png``.

    Without the LR folder the degraded pictures are None, to be made on the fly.
    Every picture is a scene of its own.
    """
    listing = Listing()
    for part, split in (("train", "train"), ("valid", "val")):
        high = root / f"DIV2K_{part}_HR"
        low = root / f"DIV2K_{part}_LR_bicubic" / f"X{scale}"
        if not high.is_dir():
            continue
        if low.is_dir():
            matches = _match(listing, low, high, "", degraded_suffix=f"x{scale}")
            listing.add(split, (Pair(s, d, name, name, scale) for name, s, d in matches))
        else:
            sharp = _pictures(listing, high)
            listing.add(split, (Pair(s, None, name, name) for name, s in sharp.items()))
    return listing


def find_photos(root: Path) -> Listing:
    """List every picture below ``root`` as sharp, its degraded version made on the fly."""
    listing = Listing()
    stems = {path: _stem(path, root) for path in _files(listing, root)}
    repeated = {stem for stem, count in Counter(stems.values()).items() if count > 1}
    for path, stem in stems.items():
        name = path.relative_to(root).as_posix() if stem in repeated else stem
        folder, slash, last = stem.rpartition("/")
        split = SPLIT_FOLDERS.get(folder.partition("/")[0].lower(), "")
        scene = f"{folder}{slash}{photograph_scene(last)}"
        listing.add(split, [Pair(path, None, scene, name)])
    return listing


def _stem(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(listing: Listing, root: Path) -> Iterator[Path]:
    """Yield every picture below ``root`` in a stable order; note the other files."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if hidden or not path.is_file():
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        else:
            listing.ignored.append(path)


def _pictures(listing: Listing, folder: Path) -> dict[str, Path]:
    """Return the pictures below ``folder`` by relative name without suffix."""
    pictures: dict[str, Path] = {}
    for path in _files(listing, folder):
        stem = _stem(path, folder)
        if stem in pictures:
            detail = f"{pictures[stem].name} has the same name without suffix; keep one"
            listing.problems.append(Problem("ambiguous", path, detail))
        else:
            pictures[stem] = path
    return pictures


def _match(
    listing: Listing, degraded: Path, sharp: Path, prefix: str, degraded_suffix: str = ""
) -> list[tuple[str, Path, Path]]:
    """Pair two folders by name: (prefix + name, sharp file, degraded file)."""
    for folder in (degraded, sharp):
        if not folder.is_dir():
            listing.problems.append(Problem("missing", folder, "the folder does not exist"))
    if not (degraded.is_dir() and sharp.is_dir()):
        return []
    sharp_files = _pictures(listing, sharp)
    degraded_files = _pictures(listing, degraded)
    matches = []
    for name, path in sharp_files.items():
        partner = degraded_files.pop(name + degraded_suffix, None)
        if partner is None:
            detail = f"no picture {name + degraded_suffix} in {degraded}"
            listing.problems.append(Problem("missing", path, detail))
        else:
            matches.append((prefix + name, path, partner))
    for name, path in degraded_files.items():
        detail = f"no picture {name.removesuffix(degraded_suffix)} in {sharp}"
        listing.problems.append(Problem("missing", path, detail))
    return matches


def _pair_folders(root: Path) -> Iterator[Path]:
    """Yield ``root`` and the folders below that hold a degraded or a sharp folder."""
    children = _folders(root)
    if any(child.name.lower() in DEGRADED_FOLDERS + SHARP_FOLDERS for child in children):
        yield root
        return
    for child in children:
        yield from _pair_folders(child)


def _named(listing: Listing, folder: Path, names: Sequence[str]) -> Path | None:
    """Return the one child of ``folder`` with one of ``names``; note none or several."""
    found = [child for child in _folders(folder) if child.name.lower() in names]
    if len(found) == 1:
        return found[0]
    if found:
        detail = f"holds {' and '.join(child.name for child in found)}; keep one of them"
        listing.problems.append(Problem("ambiguous", folder, detail))
    else:
        detail = f"holds no folder {', '.join(names[:-1])} or {names[-1]}"
        listing.problems.append(Problem("missing", folder, detail))
    return None
