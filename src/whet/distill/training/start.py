"""The student that a run begins with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from whet.distill.grow import grow
from whet.distill.recipes import Recipe
from whet.errors import ModelError
from whet.models import build
from whet.models.checkpoints import load_student
from whet.models.students.realtime import Realtime

__all__ = ["fresh_student", "start_as_identity"]

_PERTURBATION = 0.2
"""What is kept of the random weights of a convolution that starts by passing its input on."""

_SHIFT = 0.5
"""Of a BatchNorm before a ReLU, in standard deviations."""


def fresh_student(recipe: Recipe) -> nn.Module:
    """Return the student of ``recipe`` with the weights that the run starts from.

    ``recipe.init`` may be a smaller member of the real-time family; it is grown then.

    Raises:
        InputError, ModelError: ``recipe.init`` is missing, broken or fits no part of the student.
    """
    torch.manual_seed(recipe.seed)
    student = build(recipe.student)
    if recipe.identity_start:
        start_as_identity(student)
    if recipe.init:
        _begin_with(student, recipe)
    return student


def _begin_with(student: nn.Module, recipe: Recipe) -> None:
    name, given = load_student(Path(recipe.init))
    if name == recipe.student:
        student.load_state_dict(given.state_dict())
    elif isinstance(given, Realtime) and isinstance(student, Realtime):
        grow(given, student)
    else:
        raise ModelError(f"{recipe.init} is a {name}; {recipe.student} cannot start from it")


@torch.no_grad()
def start_as_identity(student: nn.Module) -> None:
    """Make a residual student return its input, and learn at once like a shallow network.

    The last convolution becomes zero. Every inner one that keeps the number of channels
    becomes the identity plus a fifth of its random weights (Zagoruyko and Komodakis,
    "DiracNets", 2017), and every BatchNorm is shifted up by half a standard deviation, so
    that fifteen ReLUs in a row do not whittle the signal down to nothing. The first layers'
    edges then reach the last convolution nearly as they are; with its default weights the
    founding student scrambles them and has to unlearn that first.
    """
    convolutions = [m for m in student.modules() if isinstance(m, nn.Conv2d)]
    for convolution in convolutions[:-1]:
        if convolution.in_channels == convolution.out_channels:
            convolution.weight.mul_(_PERTURBATION)
            identity = nn.init.dirac_(torch.empty_like(convolution.weight))
            convolution.weight.add_(identity)
            if convolution.bias is not None:
                convolution.bias.zero_()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, _SHIFT)
    for parameter in convolutions[-1].parameters():
        parameter.zero_()
