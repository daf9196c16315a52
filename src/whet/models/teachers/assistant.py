"""A larger student as the teacher of a smaller one.

Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI 2020: a small
network learns more from one a few times its size than from one a thousand times. For a
restoration network there is a plain reason: the sharp picture holds detail that nothing in the
degraded one foretells, which is noise to the student; a teacher that knows no more than it can
know shows only what can be learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from whet.errors import ModelError
from whet.models import MODELS
from whet.models.checkpoints import load_student

__all__ = ["Assistant", "load_teacher"]


class Assistant(nn.Module):
    """A fused student behind the contract of every teacher.

    float32 (N, 3, H, W) RGB in [0, 1], H and W of at least 16 -> the same shape, not clamped.
    """

    def __init__(self, name: str, student: nn.Module) -> None:
        super().__init__()
        self.multiple = MODELS[name].multiple
        self.network: nn.Module = student.fuse()  # type: ignore[operator]

    def forward(self, degraded: Tensor) -> Tensor:
        """Restore a batch; sides that are no multiple of the student's are extended."""
        height, width = degraded.shape[-2:]
        padded = F.pad(
            degraded, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate"
        )
        return cast(Tensor, self.network(padded))[..., :height, :width]


def load_teacher(weights: Path | None) -> Assistant:
    """Return the student that ``weights`` belong to, frozen and in eval mode.

    Args:
        weights: ``student.safetensors`` of a finished run.

    Raises:
        ModelError: no file is named, or it is damaged or fits no student.
    """
    if weights is None:
        raise ModelError(
            "an assistant is a student of yours; name its student.safetensors "
            "with --teacher-weights"
        )
    name, student = load_student(weights)
    return Assistant(name, student).eval().requires_grad_(False)
