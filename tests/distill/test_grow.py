"""A student that grew computes what the small one did, and can learn more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from whet.distill.grow import grow
from whet.distill.recipes import RECIPES, override
from whet.distill.training.start import fresh_student
from whet.errors import ModelError
from whet.models import build
from whet.models.students.realtime import Realtime


def trained(name: str) -> Realtime:
    """Return a student that does something, with every tensor filled."""
    torch.manual_seed(1)
    student = build(name)
    assert isinstance(student, Realtime)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return student


@pytest.mark.parametrize(
    ("small", "large"), [("nano", "small"), ("nano", "base"), ("small", "base")]
)
def test_a_grown_student_computes_what_the_small_one_did(small: str, large: str) -> None:
    given, grown = trained(small), build(large)
    assert isinstance(grown, Realtime)
    grow(given, grown)
    picture = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = given(picture), grown(picture)
        assert (before - picture).abs().mean() > 0.01
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_what_is_new_in_it_learns() -> None:
    grown = build("small")
    assert isinstance(grown, Realtime)
    grow(trained("nano"), grown)
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    target = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    rate = torch.optim.SGD(grown.parameters(), lr=1e-3)
    for _ in range(2):
        rate.zero_grad()
        (grown(picture) - target).square().sum().backward()
        rate.step()
    for name, parameter in grown.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name
    new_channels = grown.tail.weight.grad[:, 24:]  # type: ignore[index]
    assert bool((new_channels.abs().sum((1, 2, 3)) > 0).all())


def test_a_run_starts_from_a_smaller_student_by_its_file(tmp_path: Path) -> None:
    given = trained("nano")
    save_file(given.state_dict(), tmp_path / "student.safetensors")
    recipe = override(RECIPES["small"], {"init": str(tmp_path / "student.safetensors")})
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            fresh_student(recipe)(picture), given(picture), atol=1e-5, rtol=1e-5
        )


def test_nothing_shrinks_and_other_families_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot hold"):
        grow(trained("small"), trained("nano"))
    save_file(build("dncnn").state_dict(), tmp_path / "dncnn.safetensors")
    recipe = override(RECIPES["small"], {"init": str(tmp_path / "dncnn.safetensors")})
    with pytest.raises(ModelError, match="is a dncnn; small cannot start from it"):
        fresh_student(recipe)
