"""What is scored: real pairs, sharp photographs degraded by seed, and sharp pass-through.

A suite yields its pictures one by one, at full resolution, as uint8 HWC RGB. The
degraded version of a photograph depends on the photograph's name and the suite
alone, so two runs, on two machines, with more or fewer photographs, score the
same pixels (up to one level where a codec rounds).

A new synthetic suite is one line in :data:`whet.evaluate.suites.catalogue.SUITES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.data.scenes import stable_hash
from whet.data.sources import Pair, list_pairs
from whet.errors import DataError, InputError, MissingExtraError
from whet.evaluate.suites import pages
from whet.evaluate.suites.catalogue import FAMILIES, SUITES, SuiteSpec, View, Views
from whet.evaluate.suites.clips import clip_files, halved_clip, pan
from whet.image import read

__all__ = ["SUITES", "Item", "Suite", "open_pairs", "open_suite"]

Pixels = NDArray[np.uint8]

HELD_OUT = Path(__file__).resolve().parents[2] / "demo_data" / "heldout"
"""Photographs that come with whet and are in no training set."""
MOST_CLIPS = 6


@dataclass(frozen=True)
class Item:
    """One picture to restore.

    Attributes:
        name: unique within the suite.
        degraded: uint8 HWC RGB, what a restorer is given.
        sharp: uint8 HWC RGB of the same shape, what it is compared with.
        scene: pictures of one scene are not independent.
        group: category by which means are broken down, "" for none.
        note: what was done to the picture, "" for nothing.
        columns: (first, end) of those that are compared, None for all of them.
        small: the degraded picture before it was enlarged by a whole factor, where it was.
    """

    name: str
    degraded: Pixels
    sharp: Pixels
    scene: str
    group: str = ""
    note: str = ""
    columns: tuple[int, int] | None = None
    small: Pixels | None = None

    def compared(self, pixels: Pixels) -> Pixels:
        """Return the part of a picture of this item's size that is compared."""
        return pixels if self.columns is None else pixels[:, slice(*self.columns)]


@dataclass(frozen=True)
class Suite:
    """A named series of items, loaded as they are asked for.

    Attributes:
        name: short, for tables.
        description: one sentence about where the pictures come from.
        count: how many items there are.
        load: starts a new pass over the items.
        resized_to: (width, height) to which pictures were squashed, or None. A
            score on resized pictures is not comparable with any other.
        family: suites that are summarised together, "" for none.
        scale: the whole factor by which its pictures were enlarged, 1 for none: where it is more,
            items have a ``small`` picture.
    """

    name: str
    description: str
    count: int
    load: Callable[[], Iterator[Item]]
    resized_to: tuple[int, int] | None = None
    family: str = ""
    scale: int = 1

    def __iter__(self) -> Iterator[Item]:
        return self.load()

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class _Source:
    """One sharp picture or clip: where it comes from, and how it is loaded."""

    name: str
    scene: str
    group: str
    load: Callable[[], Pixels]


def open_suite(
    name: str, photos: Path | None = None, limit: int | None = None, clips: Path | None = None
) -> Suite:
    """Return a synthetic suite over a folder of sharp photographs.

    Args:
        name: a key of :data:`SUITES`.
        photos: folder of photographs; None takes the held-out ones of whet. Suites of text
            draw their own pages.
        limit: take this many, chosen by the hash of their names; None takes all. Clips are made
            of six photographs at most.
        clips: folder of videos for suites of clips; None moves photographs.

    Raises:
        InputError: no suite has that name, or the limit is below one.
        DataError: a folder is missing, empty, or holds a broken picture or video.
        MissingExtraError: the suite degrades pictures and PyTorch is not installed.
    """
    if name not in SUITES:
        raise InputError(
            f"no suite is called {name!r}; choose one of: {', '.join(SUITES)}; "
            f"or a family: {', '.join(FAMILIES)}"
        )
    _check_limit(limit)
    spec = SUITES[name]
    views = spec.views or _degrader(spec.degradation, spec.scale)
    sources = _sources(spec, photos, limit, clips)

    def load() -> Iterator[Item]:
        for source in sources:
            for view in views(source.load(), _seed(name, source.name)):
                yield _item(source, view, spec.degradation)

    count = len(sources) * spec.per_source
    return Suite(name, spec.description, count, load, family=spec.family, scale=spec.scale)


def _sources(
    spec: SuiteSpec, photos: Path | None, limit: int | None, clips: Path | None
) -> list[_Source]:
    if spec.source == "pages":
        names = [f"page_{number}" for number in range(pages.COUNT)][:limit]
        return [_Source(n, n, "", partial(pages.page, i)) for i, n in enumerate(names)]
    if spec.source == "clips" and clips is not None:
        files = clip_files(clips)[:limit]
        return [_Source(f.stem, f.stem, "", partial(halved_clip, f)) for f in files]
    if photos is None and not HELD_OUT.is_dir():
        raise DataError("no photographs came with this copy of whet; pass --photos FOLDER")
    if spec.source == "clips":
        limit = min(limit or MOST_CLIPS, MOST_CLIPS)
    pairs = _limited(list_pairs("photos", photos or HELD_OUT, "all"), limit)
    moved = spec.source == "clips"
    return [_Source(p.name, p.scene, _group(p), partial(_photo, p, moved=moved)) for p in pairs]


def _photo(pair: Pair, *, moved: bool) -> Pixels:
    sharp = _read(pair.sharp)
    return pan(sharp, stable_hash(pair.name)) if moved else sharp


def _item(source: _Source, view: View, note: str) -> Item:
    name = f"{source.name}, {view.label}" if view.label else source.name
    return Item(
        name,
        view.degraded,
        view.sharp,
        source.scene,
        source.group,
        note,
        view.columns,
        view.small,
    )


def open_pairs(
    root: Path, kind: str = "pairs", split: str = "all", limit: int | None = None
) -> Suite:
    """Return a suite over real pairs of degraded and sharp pictures.

    Args:
        root: folder of the data set.
        kind: its layout, a key of ``whet.data.sources.SOURCES``.
        split: "train", "val", "test", "all" or several joined by "+".
        limit: take this many, chosen by the hash of their names; None takes all.

    Raises:
        InputError: no such layout or split.
        DataError: the folder is missing or anything in it is broken, or the
            data set has no degraded pictures.
    """
    _check_limit(limit)
    pairs = _limited(list_pairs(kind, root, split), limit)
    if all(pair.degraded is None for pair in pairs):
        raise DataError(
            f"{root} holds sharp pictures only; name a synthetic suite and pass it as --photos"
        )

    def load() -> Iterator[Item]:
        for pair in pairs:
            if pair.degraded is None:
                continue
            sharp, degraded = _read(pair.sharp), _read(pair.degraded)
            note, small = "", None
            if pair.scale > 1:
                small, degraded = degraded, _enlarged(degraded, sharp.shape[:2])
                note = f"enlarged by {pair.scale}, bicubic"
            group = pair.name.partition("/")[0]
            yield Item(pair.name, degraded, sharp, pair.scene, group, note, small=small)

    name, words = root.name or kind, f"real degraded and sharp pictures of the folder {root.name}"
    if split != "all":
        name, words = f"{name}, {split}", f"{words}, split {split}"
    return Suite(
        name,
        words,
        len(pairs),
        load,
        scale=pairs[0].scale,
    )


def _seed(suite: str, picture: str) -> int:
    return stable_hash(f"{suite}/{picture}")


def _group(pair: Pair) -> str:
    """Return the folder, or the leading word of the file name: ``animals_12`` -> ``animals``."""
    word = re.match(r"[^\W\d_]+", pair.name.partition("/")[0])
    return word.group().lower() if word else ""


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"a suite needs at least one picture, not {limit}")


def _limited(pairs: list[Pair], limit: int | None) -> list[Pair]:
    if limit is None:
        return pairs
    chosen = sorted(pairs, key=lambda pair: stable_hash(pair.name))[:limit]
    return sorted(chosen, key=lambda pair: pair.name)


def _read(path: Path) -> Pixels:
    """Read one picture as uint8 HWC RGB; alpha is left out, 16 bits are rounded to 8."""
    pixels = read(path).pixels
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels.astype(np.uint8)


def _degrader(name: str, scale: int) -> Views:
    """Return the degradation's views; PyTorch is imported here at the latest."""
    _require_torch()
    import torch
    from torch import Tensor

    from whet.degrade.registry import degrade, shrunk

    def levels(picture: Tensor) -> Pixels:
        rounded: Pixels = (
            (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()
        )
        return rounded

    def views(sharp: Pixels, seed: int) -> list[View]:
        tensor = torch.tensor(sharp).permute(2, 0, 1)[None].float() / 255
        small = levels(shrunk(tensor, scale)) if scale > 1 else None
        return [View(levels(degrade(name, tensor, [seed])), sharp, small=small)]

    return views


def _enlarged(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    """Enlarge to (height, width) with the kernel that DIV2K's small pictures were made with."""
    _require_torch()
    import torch

    from whet.degrade.resize import imresize

    tensor = torch.tensor(pixels).permute(2, 0, 1)[None].float()
    large = imresize(tensor, (size[0], size[1]))[0].permute(1, 2, 0)
    result: Pixels = large.round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
    return result


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("PyTorch", "train")
