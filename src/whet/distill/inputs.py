"""Turns what the user named - photographs, pairs, banks - into a bank and held-out pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from whet.data.bank import CropBank, PairBank
from whet.data.bank_files import is_taught, load_bank
from whet.data.batch import Bank
from whet.data.mixed_bank import MixedBank
from whet.data.photo_bank import PhotoBank
from whet.data.sources import Pair, list_pairs
from whet.degrade.pictures import HeldOut, degraded_picture, pixels_of, tensor_of
from whet.degrade.registry import DEGRADATIONS
from whet.degrade.resize import imresize
from whet.distill.losses import LOSSES
from whet.distill.recipes import Recipe
from whet.errors import InputError

__all__ = ["TrainingInputs", "held_out_pictures", "needs_teacher", "training_bank"]


@dataclass(frozen=True)
class TrainingInputs:
    """What a run is trained and validated on, as the user named it.

    Attributes:
        photos: folder of sharp photographs, degraded on the fly.
        validation: folder of photographs that are held out; None holds scenes out of ``photos``.
        pairs: (kind, folder) of each set of real pairs, kind a key of
            ``whet.data.sources.SOURCES``; their training scenes are trained on, their validation
            scenes choose the best weights, and their test pictures are never looked at.
        banks: folders written by ``whet data make``.
        pictures: how many held-out pictures to validate on.
        shares: bank -> its share of the crops, above 0, for those of ``banks`` that have one.
            The rest is divided equally between the photographs and all other banks.

    Raises:
        InputError: nothing to train on, pairs beside anything else, which would be left
            unused, photographs held out of themselves, or shares that leave nothing for the rest.
    """

    photos: Path | None = None
    validation: Path | None = None
    pairs: tuple[tuple[str, Path], ...] = ()
    banks: tuple[Path, ...] = ()
    pictures: int = 8
    shares: Mapping[Path, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.photos or self.pairs or self.banks):
            raise InputError("name what to train on: --photos DIR, --pairs DIR or --bank DIR")
        if self.pairs and (self.photos or self.validation or self.banks):
            raise InputError(
                "--pairs are trained and validated on alone; leave --photos, --validation and "
                "--bank out"
            )
        if self.photos and self.validation and self.photos.resolve() == self.validation.resolve():
            raise InputError(
                f"{self.validation} cannot be trained on and held out; leave --validation out to "
                "hold back some of its scenes"
            )
        for bank, share in self.shares.items():
            if not (math.isfinite(share) and share > 0):
                raise InputError(f"the share of --bank {bank} is {share}; it must be above 0")
        if self.rest and sum(self.shares.values()) >= 1:
            raise InputError(
                f"the shares of --bank leave nothing for {self.rest[0]}; let them add up to less "
                "than 1"
            )

    @property
    def rest(self) -> list[Path]:
        """What has no share of its own."""
        unnamed = [bank for bank in self.banks if bank not in self.shares]
        return [*unnamed, *([self.photos] if self.photos else [])]


def needs_teacher(recipe: Recipe, inputs: TrainingInputs) -> bool:
    """Return whether a teacher has to run beside the student.

    Where a bank holds a teacher's outputs they are what is learned from, and none runs.

    Raises:
        InputError: one has to, and the recipe names none.
    """
    wanted = [n for n, w in recipe.losses.items() if w and n in LOSSES and LOSSES[n].teacher]
    if not wanted or any(is_taught(bank) for bank in inputs.banks):
        return False
    if not recipe.teacher:
        raise InputError(
            f"the loss {wanted[0]!r} needs a teacher; add --set teacher=maxim, a --bank with its "
            f"outputs, or --set losses.{wanted[0]}=0"
        )
    return True


def training_bank(recipe: Recipe, inputs: TrainingInputs, device: torch.device | str) -> Bank:
    """Return the bank that ``recipe`` is trained on.

    Raises:
        InputError: not what the recipe takes.
        DataError: what was named is missing or broken.
    """
    if recipe.resize_px and not inputs.pairs:
        raise InputError(f"{recipe.name} squeezes whole pairs; name a folder of them with --pairs")
    if inputs.pairs:
        sets = [list_pairs(*named, split="train") for named in inputs.pairs]
        return _pair_bank(recipe, sets, device)
    named: list[tuple[Bank, float]] = [
        (load_bank([folder], device), share) for folder, share in inputs.shares.items()
    ]
    rest: list[Bank] = []
    if unnamed := [folder for folder in inputs.banks if folder not in inputs.shares]:
        rest.append(load_bank(unnamed, device))
    if inputs.photos is not None:
        _degradations(recipe)
        split = "all" if inputs.validation else "train"
        photos = [p.sharp for p in list_pairs("photos", inputs.photos, split=split)]
        rest.append(PhotoBank(photos, recipe.mix, device))
    left = 1 - sum(share for _, share in named)
    banks = [*named, *((bank, left / len(rest)) for bank in rest)]
    return banks[0][0] if len(banks) == 1 else MixedBank(banks)


def held_out_pictures(recipe: Recipe, inputs: TrainingInputs) -> list[HeldOut]:
    """Return whole pictures of scenes that are not trained on.

    Photographs take turns at the recipe's degradations; pairs are as they are (squeezed
    if the recipe squeezes what it trains on).

    Raises:
        InputError, DataError: see :func:`training_bank`.
    """
    if not inputs.pictures:
        return []
    if inputs.pairs:
        return _held_out_pairs(recipe, inputs)
    folder = inputs.validation or inputs.photos
    if folder is None:
        return []
    split = "all" if inputs.validation else "val"
    chosen = _spread(list_pairs("photos", folder, split=split), inputs.pictures)
    # A clean picture has no PSNR to gain; only where there is nothing else is it looked at.
    names = [name for name in _degradations(recipe) if name != "clean"] or ["clean"]
    return [degraded_picture(p.sharp, names[i % len(names)]) for i, p in enumerate(chosen)]


def _degradations(recipe: Recipe) -> list[str]:
    """Return what the recipe degrades by, the largest share first."""
    by_share = sorted(recipe.mix.items(), key=lambda item: (-item[1], item[0]))
    names = [name for name, share in by_share if share > 0]
    if not names:
        raise InputError(
            f"{recipe.name} does not say how photographs are degraded; add --set mix.NAME=1, "
            f"NAME one of: {', '.join(DEGRADATIONS)}"
        )
    return names


def _held_out_pairs(recipe: Recipe, inputs: TrainingInputs) -> list[HeldOut]:
    """Return pairs of validation scenes; test pictures would make the choice look like a result."""
    squeezed = f" squeezed to {recipe.resize_px} px" if recipe.resize_px else ""
    held_out = []
    for index, (kind, root) in enumerate(inputs.pairs):
        share = (inputs.pictures + index) // len(inputs.pairs)
        for pair in _spread(list_pairs(kind, root, split="val"), share):
            both = _both(pair, recipe.resize_px)
            held_out.append(HeldOut(pair.name, f"{kind}{squeezed}", *both))
    return held_out


def _spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return ``count`` items spread evenly, so that neighbouring frames do not crowd the choice."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, count)]


def _pair_bank(
    recipe: Recipe, sets: Sequence[Sequence[Pair]], device: torch.device | str
) -> CropBank:
    """Return the pairs of all sets; a limit is shared between them, so that each is seen."""
    share = max(1, recipe.pair_limit // len(sets)) if recipe.pair_limit else None
    pairs = [pair for some in sets for pair in some[:share]]
    both = [[tensor_of(pixels) for pixels in _both(pair, recipe.resize_px)] for pair in pairs]
    kind = PairBank if recipe.resize_px else CropBank
    return kind([sharp for _, sharp in both], [degraded for degraded, _ in both], device=device)


def _both(pair: Pair, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (degraded, sharp) of one size; small degraded pictures are enlarged, bicubic."""
    if pair.degraded is None:
        raise InputError(f"{pair.sharp} has no degraded partner; train on it with --photos")
    degraded, sharp = pixels_of(pair.degraded, side), pixels_of(pair.sharp, side)
    if degraded.shape != sharp.shape:
        large = imresize(tensor_of(degraded)[None].float(), (sharp.shape[0], sharp.shape[1]))[0]
        degraded = large.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return degraded, sharp
