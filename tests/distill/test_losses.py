"""Every loss term against a value worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from whet.conditions import KINDS, MEASURES
from whet.data.batch import UNTOLD, Conditions
from whet.distill import losses
from whet.distill.losses import FOUNDING_WEIGHTS, LOSSES, LossInputs


def image(*rows: list[float]) -> Tensor:
    """One grey RGB image from its rows."""
    return torch.tensor(rows, dtype=torch.float32).expand(1, 3, -1, -1)


class Doubling(nn.Module):
    """Stands for VGG where only the formula around it matters."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_pixel_is_the_mean_absolute_difference() -> None:
    assert float(losses.pixel(image([0, 1]), image([0.5, 0.75]))) == pytest.approx(0.375)


def test_deviation_is_the_mean_over_images_of_their_root_mean_square_error() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    restored = torch.stack([torch.full((3, 4, 4), 0.3), torch.zeros(3, 4, 4)])
    epsilon = 2 / 255
    by_hand = (math.sqrt(0.09 + epsilon**2) + epsilon) / 2
    assert float(losses.deviation(restored, sharp)) == pytest.approx(by_hand, rel=1e-5)


def errors(*values: float) -> Tensor:
    """Images (N, 3, 4, 4) that are off from black by these values."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def test_relative_is_what_each_image_gains_in_units_of_its_psnr() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    found = float(losses.relative(errors(0.05, 0.2), sharp, errors(0.1, 0.1)))
    epsilon = 2 / 255  # three tenths of an error of .1 is more
    by_hand = [math.log((e**2 + epsilon**2) / (0.01 + epsilon**2)) for e in (0.05, 0.2)]
    assert found == pytest.approx(sum(by_hand) / 2 / 50, rel=1e-3)


def test_relative_forgives_a_trace_of_a_small_fault_and_least_of_all_a_sharp_image() -> None:
    sharp = torch.zeros(1, 3, 4, 4)
    small = 0.006  # three tenths of it lie between the bounds
    epsilon = 0.3 * small
    by_hand = math.log(epsilon**2 / (small**2 + epsilon**2)) / 50
    assert float(losses.relative(sharp, sharp, errors(small))) == pytest.approx(by_hand, rel=1e-5)
    epsilon = 5 / 255
    by_hand = math.log((0.01**2 + epsilon**2) / epsilon**2) / 50
    assert float(losses.relative(errors(0.01), sharp, sharp)) == pytest.approx(by_hand, rel=1e-4)
    assert float(losses.relative(sharp, sharp, sharp)) == 0


def test_worse_counts_only_what_became_worse() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    degraded = errors(0.1, 0.1)
    both = losses.worse(errors(0.05, 0.2), sharp, degraded)
    alone = losses.relative(errors(0.2), sharp[:1], degraded[:1])
    assert float(both) == pytest.approx(float(alone) / 2, rel=1e-5)
    assert float(losses.worse(errors(0.05, 0.09), sharp, degraded)) == 0


def looking(*kinds: int) -> tuple[Tensor, Conditions]:
    """Logits of 2 x 3 cells that are sure of kind 4, and conditions of these kinds."""
    logits = torch.zeros(len(kinds), len(KINDS) + len(MEASURES) + 6, 2, 3)
    logits[:, 4] = math.log(15)  # of sixteen kinds: one half, and a thirtieth for each other
    measures = torch.full((len(kinds), len(MEASURES)), torch.nan)
    return logits, Conditions(torch.tensor(kinds), measures)


def test_kinds_are_named_in_every_cell_and_nobody_asks_of_untold_images() -> None:
    right, wrong = math.log(2), math.log(30)
    assert float(losses.name_kind(*looking(4))) == pytest.approx(right, rel=1e-5)
    assert float(losses.name_kind(*looking(5))) == pytest.approx(wrong, rel=1e-5)
    # An untold image counts as nothing, so that a told one weighs the same in every batch.
    assert float(losses.name_kind(*looking(4, 5, UNTOLD))) == pytest.approx((right + wrong) / 3)
    assert float(losses.name_kind(*looking(UNTOLD))) == 0


def test_measures_are_compared_where_they_are_known() -> None:
    logits, conditions = looking(4, 4)
    logits = logits.requires_grad_()
    assert float(losses.measure(logits, conditions)) == 0
    conditions.measures[0, 1] = 0.9  # an answer of one half is off by .4
    term = losses.measure(logits, conditions)
    assert float(term.detach()) == pytest.approx(0.16 / 8, rel=1e-5)
    term.backward()
    assert logits.grad is not None
    asked = logits.grad.abs().sum((2, 3)).nonzero().tolist()
    assert asked == [[0, len(KINDS) + 1]]


def test_charbonnier_is_smooth_at_zero() -> None:
    assert float(losses.charbonnier(image([0.5]), image([0.5]))) == pytest.approx(1e-3)
    assert float(losses.charbonnier(image([0.5]), image([0.1]))) == pytest.approx(
        math.sqrt(0.16 + 1e-6), rel=1e-5
    )


def test_edge_adds_horizontal_and_vertical_differences() -> None:
    restored, sharp = image([0, 1], [0, 0]), image([0, 0], [0, 0])
    # dx: |1| and |0| -> 0.5; dy: |0| and |-1| -> 0.5
    assert float(losses.edge(restored, sharp)) == pytest.approx(1.0)
    assert float(losses.edge(restored + 0.3, restored)) == pytest.approx(0.0, abs=1e-6)


def test_frequency_of_a_constant_shift_is_its_dc_term() -> None:
    # 4x4: rfft2 has 4x3 bins; orthonormal DC of a constant 0.1 is 0.1 * 16 / 4 = 0.4.
    shift = float(losses.frequency(torch.full((1, 3, 4, 4), 0.1), torch.zeros(1, 3, 4, 4)))
    assert shift == pytest.approx(0.4 / 12)


def test_distillation_is_the_mean_squared_difference() -> None:
    assert float(losses.distillation(image([0, 1]), image([0.5, 1]))) == pytest.approx(0.125)


def test_perceptual_is_mean_squared_feature_difference_at_224() -> None:
    sizes: list[tuple[int, ...]] = []

    class Recording(Doubling):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(tuple(x.shape[-2:]))
            return super().forward(x)

    value = losses.perceptual(
        torch.full((1, 3, 8, 12), 0.75), torch.full((1, 3, 8, 12), 0.5), Recording()
    )
    assert float(value) == pytest.approx(0.25)
    assert sizes == [(224, 224), (224, 224)]


def test_contrastive_compares_the_distances_to_sharp_and_degraded() -> None:
    value = losses.contrastive(image([0.5]), image([0.6]), image([0.1]), Doubling())
    assert float(value) == pytest.approx(0.1 / 0.4, rel=1e-4)


def test_feature_averages_over_taps() -> None:
    a, b = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    assert float(losses.feature((a, a), (b, 3 * b))) == pytest.approx(5.0)


def test_trust_is_the_share_of_the_error_that_the_teacher_removes() -> None:
    sharp = torch.zeros(1, 3, 16, 16)
    degraded = sharp + 0.4
    assert torch.allclose(losses.trust(degraded, sharp, sharp + 0.1), torch.tensor(0.75))
    assert torch.allclose(losses.trust(degraded, sharp, sharp + 0.6), torch.tensor(0.0))
    assert float(losses.trusted(sharp + 0.2, sharp + 0.1, degraded, sharp)) == pytest.approx(0.075)


def test_founding_weights_are_the_founding_weights() -> None:
    assert dict(FOUNDING_WEIGHTS) == {
        "pixel": 0.4, "perceptual": 0.3, "distillation": 0.2, "edge": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(n for n in LOSSES if not LOSSES[n].look))
def test_term_is_a_scalar_with_a_gradient_and_zero_or_least_at_the_target(name: str) -> None:
    torch.manual_seed(0)
    sharp = torch.rand(2, 3, 16, 16)

    def term(restored: Tensor) -> Tensor:
        return LOSSES[name].compute(
            LossInputs(
                restored,
                sharp,
                (sharp + 0.3 * torch.rand_like(sharp)).clamp(0, 1),
                sharp,
                None,
                Doubling(),
                (restored,),
                (sharp,),
            )
        )

    restored = (sharp + 0.4 * torch.randn_like(sharp)).requires_grad_()
    value = term(restored)
    assert value.shape == ()
    value.backward()  # type: ignore[no-untyped-call]
    assert restored.grad is not None
    assert float(restored.grad.abs().sum()) > 0
    assert float(term(sharp)) < float(value.detach())
