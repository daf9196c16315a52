"""Many crops of many pictures at once, on whatever device the pictures live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

__all__ = ["Pixels", "Places"]


@dataclass(frozen=True)
class Places:
    """Where each crop of a batch lies, which of the eight symmetries and which colours it gets.

    Attributes:
        top, left, mirrored, upside_down, turned: (N,).
        colours: (N, 3), the channel that each channel is taken from.
    """

    top: np.ndarray
    left: np.ndarray
    mirrored: np.ndarray
    upside_down: np.ndarray
    turned: np.ndarray
    colours: np.ndarray

    def only(self, chosen: np.ndarray) -> Places:
        """Return the places of some crops."""
        return Places(*(getattr(self, f.name)[chosen] for f in fields(self)))


class Pixels:
    """Pictures of any sizes as one long list of pixels, so that one lookup cuts a whole batch.

    Cut one by one, 256 crops cost a GPU two thousand small operations, several times what a
    training step of a small student takes.

    Args:
        images: uint8, N of (3, H, W).
        device: where they live.
    """

    def __init__(self, images: Sequence[Tensor] | Tensor, device: torch.device | str) -> None:
        self.heights = np.array([image.shape[-2] for image in images], np.int64)
        self.widths = np.array([image.shape[-1] for image in images], np.int64)
        ends = (self.heights * self.widths).cumsum()
        self.starts = ends - self.heights * self.widths
        self._pixels = torch.empty((int(ends[-1]), 3), dtype=torch.uint8, device=device)
        for start, end, image in zip(self.starts, ends, images, strict=True):
            self._pixels[start:end].view(*image.shape[-2:], 3).copy_(image.permute(1, 2, 0))

    def cut(self, rows: np.ndarray, places: Places, crop: int) -> Tensor:
        """Return crops of the images ``rows``, float32 (N, 3, crop, crop) in [0, 1]."""
        width = self.widths[rows]
        origin = self.starts[rows] + places.top * width + places.left
        # Flipped, an axis is walked backwards from its far end; turned, the axes change places.
        down = np.where(places.upside_down, -width, width)
        right = np.where(places.mirrored, -1, 1)
        origin += (crop - 1) * (np.where(places.upside_down, width, 0) + places.mirrored)
        steps = np.where(places.turned, (right, down), (down, right))
        first, row_step, column_step = (
            torch.from_numpy(values).to(self._pixels.device).view(-1, 1, 1)
            for values in (origin, *steps)
        )
        line = torch.arange(crop, device=self._pixels.device)
        index = first + row_step * line.view(1, -1, 1) + column_step * line.view(1, 1, -1)
        chosen = self._pixels.index_select(0, index.flatten())
        order = torch.from_numpy(places.colours).to(chosen.device).view(-1, 1, 3)
        coloured = chosen.view(len(rows), crop * crop, 3).gather(
            2, order.expand(-1, crop * crop, -1)
        )
        return coloured.view(-1, crop, crop, 3).permute(0, 3, 1, 2).float().div_(255)
