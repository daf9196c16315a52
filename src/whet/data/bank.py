"""Pictures resident on the training device, and the batches drawn from them.

A batch is a pure function of (seed, step, rank): no iterator has a state, so a
resumed run draws the very batches that an uninterrupted one would. Two banks
offer the same ``batch``:

- :class:`PhotoBank` holds sharp photographs and degrades crops on the device;
- :class:`CropBank` holds crops degraded beforehand, some with the teacher's
  output, written by :mod:`whet.data.bank_files` where degrading (H.264) or teaching
  (seconds per crop) is too slow to do in every step.

Both hold uint8: three times 298 photographs of 0.9 megapixels are 0.8 GB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.data.crops import Pixels, Places
from whet.degrade.registry import degrade, draw
from whet.errors import DataError
from whet.image import read

__all__ = ["Bank", "Batch", "CropBank", "MixedBank", "PairBank", "PhotoBank", "generator"]

EDGE_CELL_PX = 32
"""Side of the cells whose gradient energy decides how often crops are centred there."""

FLAT_SHARE = 0.15
"""Share of crops drawn anywhere, so that skies and walls are learned too."""


@dataclass(frozen=True)
class Batch:
    """One step's images, float32 NCHW RGB in [0, 1] on the training device.

    Attributes:
        teacher: the teacher's output, or None when it has to be computed.
        taught: bool (N,): for which images ``teacher`` is one; None with ``teacher``.
    """

    degraded: Tensor
    sharp: Tensor
    teacher: Tensor | None = None
    taught: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``, its images channels-last, as convolutions like them."""

        def move(image: Tensor) -> Tensor:
            return image.to(device, memory_format=torch.channels_last)

        teacher = None if self.teacher is None else move(self.teacher)
        taught = None if self.taught is None else self.taught.to(device)
        return Batch(move(self.degraded), move(self.sharp), teacher, taught)


class Bank(Protocol):
    """A source of batches."""

    def batch(self, seed: int, step: int, size: int, crop: int, rank: int = 0) -> Batch:
        """Return ``size`` crops of ``crop x crop`` pixels; the same arguments, the same crops."""
        ...


def generator(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Return the random generator that belongs to one step of one process."""
    return np.random.default_rng((seed, step, rank))


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


def _float(images: Tensor) -> Tensor:
    return images.float().div_(255)


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
        self._mix = dict(mix)
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

    def batch(self, seed: int, step: int, size: int, crop: int, rank: int = 0) -> Batch:
        """See :class:`Bank`."""
        rng = generator(seed, step, rank)
        side = crop + 2 * self._margin
        sharp = _float(torch.stack([self.sharp_crop(rng, side) for _ in range(size)]))
        seeds = [int(s) for s in rng.integers(2**63, size=size)]
        names = [draw(self._mix, s) for s in seeds]
        degraded = torch.empty_like(sharp)
        for name in sorted(set(names)):
            rows = [i for i, n in enumerate(names) if n == name]
            degraded[rows] = degrade(name, sharp[rows], [seeds[i] for i in rows])
        inner = slice(self._margin, self._margin + crop)
        return Batch(
            degraded[..., inner, inner].contiguous(), sharp[..., inner, inner].contiguous()
        )


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


class CropBank:
    """Crops degraded beforehand, with the teacher's output where there is one.

    Args:
        sharp, degraded: uint8, N of (3, H, W); sizes may differ between images.
        teacher: uint8, M of (3, H, W), the outputs for the images listed in ``taught``.
        taught: indices (M,) into the crops, ascending.
        device: where they live.
    """

    def __init__(
        self,
        sharp: Sequence[Tensor] | Tensor,
        degraded: Sequence[Tensor] | Tensor,
        teacher: Sequence[Tensor] | Tensor | None = None,
        taught: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        if not len(sharp):
            raise DataError("there is nothing to train on; name a folder of pairs or a bank")
        self._sharp = Pixels(sharp, device)
        self._degraded = Pixels(degraded, device)
        self._teacher = None if teacher is None else Pixels(teacher, device)
        self._teacher_row = np.full(len(sharp), -1)
        self._teacher_row[list(taught)] = np.arange(len(taught))

    def __len__(self) -> int:
        return len(self._teacher_row)

    @property
    def taught_count(self) -> int:
        """How many crops have a teacher's output."""
        return int((self._teacher_row >= 0).sum())

    def batch(self, seed: int, step: int, size: int, crop: int, rank: int = 0) -> Batch:
        """See :class:`Bank`. Epochs are permutations: every crop is drawn equally often."""
        rows = np.array(_epoch_indices(seed, step, size, len(self), rank))
        places = self._places(rows, crop, generator(seed, step, rank + 1_000_003))
        degraded, sharp = (p.cut(rows, places, crop) for p in (self._degraded, self._sharp))
        if self._teacher is None:
            return Batch(degraded, sharp)
        teacher_rows = self._teacher_row[rows]
        taught = np.flatnonzero(teacher_rows >= 0)
        outputs = self._teacher.cut(teacher_rows[taught], places.only(taught), crop)
        where = torch.from_numpy(taught).to(sharp.device)
        teacher = sharp.index_copy(0, where, outputs)
        return Batch(degraded, sharp, teacher, torch.from_numpy(teacher_rows >= 0).to(sharp.device))

    def _places(self, rows: np.ndarray, crop: int, rng: np.random.Generator) -> Places:
        height, width = self._sharp.heights[rows], self._sharp.widths[rows]
        if crop > min(height.min(), width.min()):
            small = int(np.argmin(np.minimum(height, width)))
            raise DataError(
                f"crops of {crop} px cannot be cut from {width[small]} x {height[small]} px; "
                "use --set crop=.. or a bank of larger crops"
            )
        top, left = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
        return Places(top, left, *rng.integers(2, size=(3, len(rows))).astype(bool))


def _epoch_indices(seed: int, step: int, size: int, count: int, rank: int) -> list[int]:
    """Return the ``step``-th ``size`` indices of an endless run of permutations."""
    first = step * size
    indices: list[int] = []
    for position in range(first, first + size):
        epoch, offset = divmod(position, count)
        if not indices or offset == 0:
            order = generator(seed, epoch, 7919 + rank).permutation(count)
        indices.append(int(order[offset]))
    return indices


class PairBank(CropBank):
    """Whole (resized) pairs, one batch element each: what the founding run trained on."""

    def _places(self, rows: np.ndarray, crop: int, rng: np.random.Generator) -> Places:  # noqa: ARG002
        sides = (*self._sharp.heights[rows], *self._sharp.widths[rows])
        if any(side != crop for side in sides):
            raise DataError("pairs that were resized beforehand are used whole")
        nowhere = np.zeros(len(rows), np.int64)
        never = nowhere.astype(bool)
        return Places(nowhere, nowhere, never, never, never)


class MixedBank:
    """Several banks as one: every batch takes its share from each.

    Args:
        banks: the banks with their shares, which add up to 1.
    """

    def __init__(self, banks: Sequence[tuple[Bank, float]]) -> None:
        self._banks = list(banks)

    def batch(self, seed: int, step: int, size: int, crop: int, rank: int = 0) -> Batch:
        """See :class:`Bank`."""
        edges = np.round(np.cumsum([0.0, *(share for _, share in self._banks)]) * size).astype(int)
        parts = [
            bank.batch(seed + 104_729 * i, step, int(edges[i + 1] - edges[i]), crop, rank)
            for i, (bank, _) in enumerate(self._banks)
            if edges[i + 1] > edges[i]
        ]
        degraded = torch.cat([p.degraded for p in parts])
        sharp = torch.cat([p.sharp for p in parts])
        if all(p.teacher is None for p in parts):
            return Batch(degraded, sharp)
        parts = [
            p
            if p.teacher is not None
            else replace(
                p,
                teacher=p.sharp,
                taught=torch.zeros(len(p.sharp), dtype=torch.bool, device=p.sharp.device),
            )
            for p in parts
        ]
        teacher = torch.cat([p.teacher for p in parts if p.teacher is not None])
        taught = torch.cat([p.taught for p in parts if p.taught is not None])
        return Batch(degraded, sharp, teacher, taught)
