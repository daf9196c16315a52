"""The small set of real photographs that comes with whet.

``demo_data/crops`` holds strips of three squares, one below the other: a sharp
crop, its softened copy and what the teacher made of that; they are enough
to distil a student without a network or a teacher at hand. ``demo_data/heldout``
holds whole photographs of other scenes. ``demo_data/LICENSES.md`` names origin
and licence of each; ``scripts/make_demo_data.py`` wrote them.
"""

from __future__ import annotations

from pathlib import Path

import torch

from whet.data.bank import CropBank
from whet.errors import DataError
from whet.image import read

__all__ = ["CROPS", "HELD_OUT", "demo_bank", "held_out_photos"]

_FOLDER = Path(__file__).resolve().parent.parent / "demo_data"
CROPS = _FOLDER / "crops"
HELD_OUT = _FOLDER / "heldout"


def held_out_photos() -> list[Path]:
    """Return the photographs that no model of whet was trained on.

    Raises:
        DataError: this copy of whet came without them.
    """
    photos = sorted(HELD_OUT.glob("*.webp"))
    if not photos:
        raise DataError("no photographs came with this copy of whet; install it again")
    return photos


def demo_bank() -> CropBank:
    """Return the crops with their teacher's outputs.

    Raises:
        DataError: this copy of whet came without them.
    """
    strips = [torch.from_numpy(read(path).pixels.copy()) for path in sorted(CROPS.glob("*.webp"))]
    if not strips:
        raise DataError("no photographs came with this copy of whet; install it again")
    parts = [strip.permute(2, 0, 1).chunk(3, dim=1) for strip in strips]
    sharp, degraded, teacher = (list(column) for column in zip(*parts, strict=True))
    return CropBank(sharp, degraded, teacher, range(len(strips)))
