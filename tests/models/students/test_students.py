"""The contract that every student in MODELS keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.models import MODELS, build
from whet.models.cost import measure
from whet.models.students.dncnn import DnCNN
from whet.models.students.realtime import FAMILY, halo_px

STUDENTS = sorted(MODELS)


def perturbed(name: str) -> nn.Module:
    """A student whose every weight and statistic has been moved, so that nothing is a no-op."""
    torch.manual_seed(3)
    student = build(name)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for module in student.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return student.eval()


@pytest.mark.parametrize("name", STUDENTS)
def test_output_has_the_shape_and_dtype_of_the_input(name: str) -> None:
    spec = MODELS[name]
    x = torch.rand(2, 3, 4 * spec.multiple, 5 * spec.multiple)
    y = build(name).eval()(x)
    assert y.shape == x.shape
    assert y.dtype == torch.float32


@pytest.mark.parametrize("name", STUDENTS)
def test_initialisation_follows_the_seed(name: str) -> None:
    torch.manual_seed(1)
    first = build(name).state_dict()
    torch.manual_seed(1)
    second = build(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", STUDENTS)
def test_same_input_gives_same_output_and_images_do_not_see_each_other(name: str) -> None:
    student, multiple = perturbed(name), MODELS[name].multiple
    x = torch.rand(2, 3, 4 * multiple, 4 * multiple)
    with torch.no_grad():
        together = student(x)
        assert torch.equal(together, student(x))
        torch.testing.assert_close(together[:1], student(x[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_parameter_receives_a_gradient(name: str) -> None:
    student, multiple = perturbed(name).train(), MODELS[name].multiple
    x = torch.rand(2, 3, 4 * multiple, 4 * multiple)
    (student(x) - x.flip(0)).square().mean().backward()
    silent = [
        key for key, p in student.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # A bias in front of a BatchNorm is cancelled by it; the founding design has them all the same.
    if name == "dncnn":
        norms = {int(key.split(".")[1]) for key, _ in student.named_buffers()}
        silent = [
            k for k in silent if not (k.endswith("bias") and int(k.split(".")[1]) + 1 in norms)
        ]
    assert not silent


@pytest.mark.parametrize("name", STUDENTS)
def test_fused_equals_unfused(name: str) -> None:
    student, multiple = perturbed(name), MODELS[name].multiple
    x = torch.rand(1, 3, 8 * multiple, 8 * multiple)
    with torch.no_grad():
        fused = student.fuse()  # type: ignore[operator]
        torch.testing.assert_close(fused(x), student(x), atol=2e-5, rtol=1e-4)
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    assert sum(p.numel() for p in fused.parameters()) <= sum(
        p.numel() for p in student.parameters()
    )


@pytest.mark.parametrize("name", STUDENTS)
def test_spec_states_the_measured_compute_and_a_sufficient_halo(name: str) -> None:
    spec = MODELS[name]
    size = -(-(2 * spec.halo + 32) // 16) * 16
    cost = measure(build(name).fuse(), size, spec.multiple)  # type: ignore[operator]
    assert cost.kmac_per_px == pytest.approx(spec.kmac_per_px, abs=0.01)
    assert cost.receptive_field_px <= 2 * spec.halo + 1
    assert spec.halo % spec.multiple == 0


@pytest.mark.parametrize("name", STUDENTS)
def test_taps_name_layers(name: str) -> None:
    modules = dict(build(name).named_modules())
    assert MODELS[name].taps
    assert all(tap in modules for tap in MODELS[name].taps)


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_untrained_family_member_is_the_identity(name: str) -> None:
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(build(name)(x), x)


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_spec_repeats_what_the_configuration_implies(name: str) -> None:
    assert MODELS[name].multiple == FAMILY[name].multiple
    assert MODELS[name].halo == halo_px(FAMILY[name])


def test_family_stays_within_its_budgets() -> None:
    limits = {"nano": (3, 60e3), "small": (10, 250e3), "base": (42, 1.5e6)}
    for name, (kmac_per_px, weights) in limits.items():
        fused = build(name).fuse()  # type: ignore[operator]
        assert MODELS[name].kmac_per_px <= kmac_per_px
        # One byte per weight in int8, and the file around it must fit as well.
        assert sum(p.numel() for p in fused.parameters()) < 0.95 * weights


def test_founding_student_is_the_founding_student() -> None:
    student = DnCNN()
    assert sum(p.numel() for p in student.parameters()) == 559_363
    layers = list(student.dncnn)
    assert [type(m).__name__ for m in layers] == [
        "Conv2d", "ReLU", *["Conv2d", "BatchNorm2d", "ReLU"] * 15, "Conv2d",
    ]  # fmt: skip
    assert all(key.startswith("dncnn.") for key in student.state_dict())
    tap = dict(student.named_modules())[MODELS["dncnn"].taps[0]]
    assert tap is [m for m in layers if isinstance(m, nn.Conv2d)][1]


def test_founding_student_subtracts_what_it_predicts() -> None:
    student = perturbed("dncnn")
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(student(x), x - student.dncnn(x))  # type: ignore[operator]


def test_founding_checkpoint_loads_strictly(tmp_path) -> None:  # type: ignore[no-untyped-def]
    # What the founding notebook wrote: torch.save of the state dict of an equal Sequential.
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
    for _ in range(15):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.Conv2d(64, 3, 3, padding=1))
    founding = nn.Module()
    founding.dncnn = nn.Sequential(*layers)
    torch.save(founding.state_dict(), tmp_path / "student.pth")

    from whet.models.checkpoints import load_state, load_strict

    student = DnCNN()
    load_strict(student, load_state(tmp_path / "student.pth"), "student.pth")
    x = torch.rand(1, 3, 16, 16)
    founding.eval()
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(x), x - founding.dncnn(x))
