"""Sharp photographs, degraded as they are drawn, so that no crop is ever seen twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.data.batch import Batch, generator, told
from whet.data.pages import gradient, page
from whet.data.shares import sources_of
from whet.degrade.registry import DEGRADATIONS, degrade, describe, draw
from whet.errors import DataError
from whet.image import read

__all__ = ["PhotoBank"]

EDGE_CELL_PX = 32
"""Side of the cells whose gradient energy decides how often crops are centred there."""

FLAT_SHARE = 0.15
"""Share of crops drawn anywhere, so that skies and walls are learned too."""

GRADIENT_SHARE = 0.06
"""Share of the crops that stay sharp which show one colour, or one running into another."""

GRID_PX = 8
"""Crops are cut from what was degraded at any phase of this: files' blocks fall anywhere."""


def _augment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Flip and turn a stack (..., C, H, W) of one scene by one of the eight symmetries."""
    turn = int(rng.integers(8))
    if turn & 1:
        images = images.flip(-1)
    if turn & 2:
        images = images.flip(-2)
    if turn & 4:
        images = images.transpose(-1, -2)
    return images


class PhotoBank:
    """Sharp photographs on the device, degraded there as they are drawn.

    Args:
        photos: paths of the photographs.
        mix: degradation -> share of the crops.
        device: where they live and where the degradation runs.
        margin: pixels drawn around each crop and cut off after degradation, so that
            blur brings in what really lies beside the crop.

    Raises:
        DataError: there is no photograph.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        mix: Mapping[str, float],
        device: torch.device | str = "cpu",
        margin: int = 32,
    ) -> None:
        if not photos:
            raise DataError("there is no photograph to train on; name a folder with --photos")
        draw(mix, 0)  # refuses a mix that nothing can be drawn from
        self._mix = {name: share for name, share in mix.items() if share > 0}
        self._margin = margin
        self._device = torch.device(device)
        self._photos: list[Tensor] = []
        self._odds: list[np.ndarray] = []
        for path in photos:
            pixels = read(path).pixels
            if pixels.dtype == np.uint16:
                pixels = (pixels >> 8).astype(np.uint8)
            photo = torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
            self._odds.append(_cell_odds(photo))
            self._photos.append(photo.to(self._device))

    taught = False
    """No teacher has seen what is made on the fly."""

    def __len__(self) -> int:
        return len(self._photos)

    def sharp_crop(self, rng: np.random.Generator, side: int) -> Tensor:
        """Return one uint8 crop (3, side, side), centred by preference where there is detail."""
        index = int(rng.integers(len(self._photos)))
        photo, odds = self._photos[index], self._odds[index]
        height, width = photo.shape[1:]
        if rng.random() < FLAT_SHARE:
            y, x = rng.random() * height, rng.random() * width
        else:
            cell = int(np.searchsorted(odds.ravel(), rng.random()))
            row, column = divmod(min(cell, odds.size - 1), odds.shape[1])
            y, x = (row + rng.random()) * EDGE_CELL_PX, (column + rng.random()) * EDGE_CELL_PX
        top = int(np.clip(y - side / 2, 0, max(0, height - side)))
        left = int(np.clip(x - side / 2, 0, max(0, width - side)))
        crop = photo[:, top : top + side, left : left + side]
        short = (side - crop.shape[-1], side - crop.shape[-2])
        if max(short) > 0:
            border = (0, short[0], 0, short[1])
            crop = F.pad(crop[None].float(), border, "replicate")[0].to(torch.uint8)
        return _augment(crop, rng)

    def batch(
        self, seed: int, step: int, size: int, crop: int, rank: int = 0, first: int | None = None
    ) -> Batch:
        """See :class:`Bank`."""
        rng = generator(seed, step, rank)
        side = crop + 2 * self._margin + GRID_PX - 1
        place = step * size if first is None else first
        chosen = sources_of(list(self._mix.values()), place, size)
        names = [list(self._mix)[i] for i in chosen]
        whole = torch.stack([self._material(name, rng, side) for name in names]).float().div_(255)
        seeds = [int(s) for s in rng.integers(2**63, size=size)]
        spoilt = torch.empty_like(whole)
        for name in sorted(set(names)):
            rows = [i for i, n in enumerate(names) if n == name]
            spoilt[rows] = degrade(name, whole[rows], [seeds[i] for i in rows])
        conditions = [describe(n, [s])[0] for n, s in zip(names, seeds, strict=True)]
        degraded, sharp = spoilt.new_empty(2, size, 3, crop, crop)
        for row in range(size):
            top, left = self._margin + rng.integers(GRID_PX, size=2)
            # Three colours are one picture, whichever is called red.
            order = torch.from_numpy(rng.permutation(3))
            for taken, given in ((degraded, spoilt), (sharp, whole)):
                taken[row] = given[row, order, top : top + crop, left : left + crop]
        return Batch(degraded, sharp, conditions=told(conditions).to(self._device))

    def _material(self, name: str, rng: np.random.Generator, side: int) -> Tensor:
        """Return what a degradation is meant for: a photograph, a page, or for none a colour."""
        drawn: np.ndarray | None = None
        if DEGRADATIONS[name].page:
            drawn = page(rng, side)
        elif name == "clean" and rng.random() < GRADIENT_SHARE:
            drawn = gradient(rng, side)
        if drawn is None:
            return self.sharp_crop(rng, side)
        return torch.from_numpy(drawn).permute(2, 0, 1).to(self._device)


def _cell_odds(photo: Tensor) -> np.ndarray:
    """Return cumulative odds (rows, columns) of cells by the root of their gradient energy."""
    grey = photo.float().mean(0)
    energy = torch.zeros_like(grey)
    energy[:, 1:] += grey.diff(dim=1).square()
    energy[1:] += grey.diff(dim=0).square()
    cells = F.avg_pool2d(energy[None, None], EDGE_CELL_PX, ceil_mode=True, count_include_pad=False)[
        0, 0
    ]
    odds = cells.sqrt().double().numpy() + 1e-3
    cumulative: np.ndarray = (odds.ravel().cumsum() / odds.sum()).reshape(odds.shape)
    return cumulative
