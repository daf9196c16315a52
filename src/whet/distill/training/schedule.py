"""What changes with the step: the learning rate, and how fast averaged weights follow."""

from __future__ import annotations

import math

import torch
from torch import nn

from whet.distill.recipes import Recipe

__all__ = ["follow", "learning_rate"]


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of step ``step``: linear warm-up, then a cosine down to the final rate."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    span = max(1, recipe.steps - recipe.warmup_steps)
    progress = min(1.0, (step - recipe.warmup_steps) / span)
    swing = 0.5 * (1 + math.cos(math.pi * progress))
    return recipe.final_rate + (recipe.learning_rate - recipe.final_rate) * swing


@torch.no_grad()
def follow(average: nn.Module, student: nn.Module, ema: float, step: int) -> None:
    """Move averaged weights; early on quickly, so that the start is forgotten."""
    decay = min(ema, (1 + step) / (10 + step))
    mine = average.state_dict()
    for name, value in student.state_dict().items():
        if value.dtype.is_floating_point:
            mine[name].lerp_(value, 1 - decay)
        else:
            mine[name].copy_(value)
