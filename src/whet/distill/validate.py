"""Scores a student on whole pictures while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from whet.degrade.pictures import HeldOut
from whet.metrics import psnr, ssim

__all__ = ["PSNR_CEILING_DB", "Scores", "restore_bytes", "validate"]

PSNR_CEILING_DB = 100.0
"""What identical pictures count as: infinity would swallow the mean and the choice of the best."""


@dataclass(frozen=True)
class Scores:
    """Means over held-out pictures; a PSNR counts as at most :data:`PSNR_CEILING_DB`.

    Attributes:
        psnr_db, ssim: of the restored pictures.
        identity_psnr_db, identity_ssim: of the degraded pictures themselves.
        gain_db: PSNR gain over the degraded pictures, per suite.
    """

    psnr_db: float
    ssim: float
    identity_psnr_db: float
    identity_ssim: float
    gain_db: dict[str, float]


@torch.no_grad()
def restore_bytes(
    student: nn.Module, image: NDArray[np.uint8], multiple: int = 1
) -> NDArray[np.uint8]:
    """Restore one uint8 HWC picture with a network in PyTorch, padded to ``multiple``."""
    device = next(student.parameters()).device
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    x: Tensor = pixels.permute(2, 0, 1)[None].float() / 255
    below, right = -height % multiple, -width % multiple
    if below or right:
        mode = "reflect" if below < height and right < width else "replicate"
        x = F.pad(x, (0, right, 0, below), mode)
    y = student(x)[0, :, :height, :width].float()
    restored: NDArray[np.uint8] = (
        (y.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    )
    return restored


def validate(student: nn.Module, pictures: Sequence[HeldOut], multiple: int) -> Scores:
    """Return the mean scores of ``student`` (put in eval mode for the time) on ``pictures``."""
    training = student.training
    student.eval()
    rows: list[tuple[str, float, float, float, float]] = []
    for picture in pictures:
        restored = restore_bytes(student, picture.degraded, multiple)
        rows.append(
            (
                picture.suite,
                min(psnr(restored, picture.sharp), PSNR_CEILING_DB),
                ssim(restored, picture.sharp),
                min(psnr(picture.degraded, picture.sharp), PSNR_CEILING_DB),
                ssim(picture.degraded, picture.sharp),
            )
        )
    student.train(training)
    gains = {suite: fmean(r[1] - r[3] for r in rows if r[0] == suite) for suite, *_ in rows}
    restored_psnr, restored_ssim, psnr_db, plain_ssim = (
        fmean(float(r[i]) for r in rows) for i in range(1, 5)
    )
    return Scores(restored_psnr, restored_ssim, psnr_db, plain_ssim, gains)
