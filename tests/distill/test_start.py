"""The student that a run begins with."""

from __future__ import annotations

import torch
from torch import nn

from whet.distill.recipes import RECIPES, override
from whet.distill.training.start import fresh_student, start_as_identity
from whet.models import MODELS, build


def test_every_student_starts_as_the_identity_when_asked() -> None:
    picture = torch.rand(1, 3, 48, 48)
    for name in MODELS:
        student = build(name)
        start_as_identity(student)
        with torch.no_grad():
            assert torch.equal(student.eval()(picture), picture)


def likeness_of_first_and_last_features(student: nn.Module) -> float:
    convolutions = [m for m in student.modules() if isinstance(m, nn.Conv2d)]
    seen: list[torch.Tensor] = []
    convolutions[0].register_forward_hook(lambda *a: seen.append(a[2].relu()))
    convolutions[-1].register_forward_pre_hook(lambda *a: seen.append(a[1][0]))
    with torch.no_grad():
        student.train()(torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)))
    first, last = (image.transpose(0, 1).flatten(1) for image in seen)
    first, last = (image - image.mean(1, keepdim=True) for image in (first, last))
    return float(torch.nn.functional.cosine_similarity(first, last, dim=1).median())


def test_a_student_that_starts_as_the_identity_shows_its_last_layer_the_first_ones_edges() -> None:
    torch.manual_seed(0)
    student = build("dncnn")
    scrambled = likeness_of_first_and_last_features(student)
    start_as_identity(student)
    assert likeness_of_first_and_last_features(student) > 0.7 > 5 * abs(scrambled)


def test_the_seed_decides_where_a_run_starts() -> None:
    recipe = RECIPES["founding-honest"]
    again = [fresh_student(recipe).state_dict() for _ in range(2)]
    other = fresh_student(override(recipe, {"seed": "1"})).state_dict()
    key = "dncnn.2.weight"
    assert torch.equal(again[0][key], again[1][key])
    assert not torch.equal(again[0][key], other[key])
