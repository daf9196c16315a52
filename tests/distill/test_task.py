"""A training step: what is computed, what trains, what stays frozen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from whet.conditions import Condition
from whet.data.batch import Batch, told
from whet.distill.losses import FOUNDING_WEIGHTS
from whet.distill.task import DistillationTask
from whet.errors import InputError


class TinyStudent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.first(x).relu())


class TinyTeacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.body(x)
        return x * 0.5


def batch(taught: list[bool] | None = None) -> Batch:
    torch.manual_seed(1)
    degraded, sharp = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    if taught is None:
        return Batch(degraded, sharp)
    return Batch(degraded, sharp, torch.rand(2, 3, 64, 64), torch.tensor(taught))


def test_total_is_the_weighted_sum_of_the_named_terms() -> None:
    task = DistillationTask(TinyStudent(), FOUNDING_WEIGHTS, TinyTeacher(), nn.Identity())
    result = task(batch())
    assert list(result.terms) == list(FOUNDING_WEIGHTS)
    expected = sum(FOUNDING_WEIGHTS[name] * float(v) for name, v in result.terms.items())
    assert float(result.total.detach()) == pytest.approx(expected, rel=1e-5)


def test_student_learns_from_a_step() -> None:
    task = DistillationTask(TinyStudent(), FOUNDING_WEIGHTS, TinyTeacher(), nn.Identity())
    task(batch()).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in task.student.parameters())


def test_teacher_stays_frozen_after_train() -> None:
    teacher = TinyTeacher()
    task = DistillationTask(TinyStudent(), FOUNDING_WEIGHTS, teacher, nn.Identity())
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    task.train()
    task(batch()).total.backward()
    assert not teacher.training
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_teacher_is_neither_trained_nor_saved_with_the_task() -> None:
    task = DistillationTask(TinyStudent(), {"distillation": 1.0}, TinyTeacher())
    assert set(task.state_dict()) == {f"student.{k}" for k in TinyStudent().state_dict()}
    assert task.teacher is not None


def test_cached_teacher_output_replaces_the_teacher() -> None:
    teacher = TinyTeacher()
    task = DistillationTask(TinyStudent(), {"distillation": 1.0}, teacher)
    task(batch([True, True]))
    assert teacher.calls == 0


def test_untaught_images_do_not_enter_teacher_terms() -> None:
    task = DistillationTask(TinyStudent(), {"distillation": 1.0})
    half, full = batch([True, False]), batch([True, True])
    alone = Batch(full.degraded[:1], full.sharp[:1], full.teacher[:1], torch.tensor([True]))  # type: ignore[index]
    # One of two images is taught, so the term counts half.
    assert float(task(half).total) == pytest.approx(0.5 * float(task(alone).total), rel=1e-5)
    assert float(task(batch([False, False])).total) == 0.0


def test_feature_taps_are_projected_and_trained() -> None:
    task = DistillationTask(
        TinyStudent(), {"pixel": 1.0, "feature": 0.1}, TinyTeacher(), taps=(("first", "body.0"),)
    )
    projection = task.projections[0]
    assert isinstance(projection, nn.Conv2d)
    assert (projection.in_channels, projection.out_channels) == (4, 6)
    task(batch()).total.backward()
    assert projection.weight.grad is not None


@pytest.mark.parametrize(
    ("weights", "remedy"),
    [
        ({"no-such-loss": 1.0}, "choose from"),
        ({"perceptual": 1.0}, "whet data fetch vgg16"),
        ({"feature": 1.0}, "taps"),
    ],
)
def test_what_a_term_lacks_is_said_at_once(weights: dict[str, float], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        DistillationTask(TinyStudent(), weights, TinyTeacher())


class LookingStudent(TinyStudent):
    """Answers with what it was asked to say, one cell per image."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(1, 26, 1, 1))

    def forward_looking(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), self.answer.expand(len(x), -1, -1, -1)


def test_a_student_that_looks_learns_what_it_is_told() -> None:
    conditions = told([Condition("lens", 1.0, 0.0, 0.0, 0.0), Condition("shake")])
    task = DistillationTask(LookingStudent(), {"pixel": 1.0, "name-kind": 0.1, "measure": 0.2})
    result = task(replace(batch(), conditions=conditions))
    assert list(result.terms) == ["pixel", "name-kind", "measure"]
    result.total.backward()
    answer = task.student.answer.grad
    assert answer is not None
    # Told "lens" and "shake", the answers move towards those two kinds.
    assert (answer.flatten() < 0).nonzero()[:2].flatten().tolist() == [8, 12]
    # With no one telling, the terms are nothing and the step goes on.
    assert float(task(batch()).terms["name-kind"]) == 0.0


def test_a_student_that_does_not_look_is_not_asked() -> None:
    with pytest.raises(InputError, match=r"--set losses\.name-kind=0"):
        DistillationTask(TinyStudent(), {"pixel": 1.0, "name-kind": 0.1})


def test_missing_teacher_output_is_said() -> None:
    task = DistillationTask(TinyStudent(), {"distillation": 1.0})
    with pytest.raises(InputError, match="teacher"):
        task(batch())


def test_a_share_of_vgg_steps_keeps_the_mean_loss() -> None:
    task = DistillationTask(TinyStudent(), FOUNDING_WEIGHTS, TinyTeacher(), nn.Identity())
    without, heavy, plain = (float(task(batch(), share).total) for share in (0.0, 4.0, 1.0))
    assert (3 * without + heavy) / 4 == pytest.approx(plain, rel=1e-5)
    assert "perceptual" not in task(batch(), 0.0).terms
