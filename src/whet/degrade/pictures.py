"""Whole pictures that are never trained on, degraded the same way on every run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from whet.degrade.registry import degrade
from whet.image import read

__all__ = ["HeldOut", "degraded_picture", "pixels_of", "tensor_of"]


@dataclass(frozen=True)
class HeldOut:
    """One picture that is never trained on: uint8 HWC RGB, and what it looked like before."""

    name: str
    suite: str
    degraded: NDArray[np.uint8]
    sharp: NDArray[np.uint8]


def degraded_picture(path: Path, degradation: str) -> HeldOut:
    """Return the photograph ``path`` spoilt by a seed that belongs to its name."""
    sharp = pixels_of(path)
    seed = int.from_bytes(hashlib.sha256(path.stem.encode()).digest()[:6], "big")
    image = tensor_of(sharp)[None].float() / 255
    spoilt = degrade(degradation, image, [seed])[0]
    as_bytes = (spoilt.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return HeldOut(path.stem, degradation, as_bytes, sharp)


def pixels_of(path: Path, side: int = 0) -> NDArray[np.uint8]:
    pixels = read(path).pixels
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    if side:
        # What the founding run did to every picture: bilinear, shape not kept.
        eight = np.asarray(Image.fromarray(eight).resize((side, side), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(eight, dtype=np.uint8)


def tensor_of(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
