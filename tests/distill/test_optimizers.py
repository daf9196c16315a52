"""Every line of OPTIMIZERS learns; Muon keeps its promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.distill.training.optimizers import OPTIMIZERS, Muon, orthogonal
from whet.models import build


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_moves_every_parameter_towards_a_lower_loss(name: str) -> None:
    torch.manual_seed(0)
    student = build("nano").train()
    optimizers = OPTIMIZERS[name](list(student.named_parameters()), 2e-3)
    sharp = torch.rand(4, 3, 48, 48)
    degraded = nn.functional.avg_pool2d(sharp, 3, 1, 1)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    losses = []
    for _ in range(40):
        loss = (student(degraded) - sharp).square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(not torch.equal(before[key], value) for key, value in student.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 24, 216), (1, 96, 24), (3, 16, 16)])
def test_orthogonal_brings_singular_values_close_to_one_and_keeps_the_directions(
    shape: tuple[int, int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(*shape, generator=generator)
    result = orthogonal(matrices)
    values = torch.linalg.svdvals(result)
    assert result.shape == matrices.shape
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3
    assert bool(((result * matrices).sum((-2, -1)) > 0).all())


def test_orthogonal_agrees_with_torch_s_own_muon() -> None:
    """torch.optim.Muon takes matrices only and computes in bfloat16: equal within its rounding."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(24, 54, generator=generator)
    mine = nn.Parameter(weight.clone().view(24, 6, 3, 3))
    theirs = nn.Parameter(weight.clone())
    optimizers = (
        Muon([mine], 1e-2),
        torch.optim.Muon([theirs], 1e-2, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        gradient = torch.randn(24, 54, generator=generator)
        mine.grad, theirs.grad = gradient.view(24, 6, 3, 3), gradient
        for optimizer in optimizers:
            optimizer.step()
    moved, expected = mine.detach().flatten(1) - weight, theirs.detach() - weight
    assert float((moved - expected).norm() / expected.norm()) < 0.03


def test_a_weight_without_a_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(2, 2, 3, 3))
    Muon([weight], 1.0).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2, 3, 3))


def test_layers_that_answer_or_are_told_are_not_made_alike() -> None:
    names = ("student.look.eye.0.weight", "student.look.mind.2.weight", "student.tell.weight")
    named = [(name, nn.Parameter(torch.zeros(4, 4, 1, 1))) for name in names]
    muon, adam = OPTIMIZERS["muon"](named, 1e-3)
    assert isinstance(muon, Muon)
    moved = [[p for group in o.param_groups for p in group["params"]] for o in (muon, adam)]
    assert [len(parameters) for parameters in moved] == [1, 2]
    assert moved[0][0] is named[0][1]
