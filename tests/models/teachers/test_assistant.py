"""A student that teaches a smaller one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from whet.errors import ModelError
from whet.models import MODELS, build, build_teacher


@pytest.mark.parametrize("name", MODELS)
def test_any_student_teaches_as_it_restores_at_any_size(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = build(name).eval()
    for parameter in student.parameters():  # the last layer starts at zero, which shows nothing
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    save_file(student.state_dict(), tmp_path / "student.safetensors")
    teacher = build_teacher("assistant", tmp_path / "student.safetensors")
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(teacher(picture), student(picture), atol=1e-5)
        assert not torch.allclose(teacher(picture), picture, atol=1e-3)
        assert teacher(picture[..., :41, :50]).shape == (1, 3, 41, 50)


def test_an_assistant_without_weights_says_where_they_come_from() -> None:
    with pytest.raises(ModelError, match="--teacher-weights"):
        build_teacher("assistant")
