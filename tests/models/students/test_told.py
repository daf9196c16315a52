"""A student that is told what it sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from whet.conditions import KINDS, MEASURES
from whet.models.students.told import CELL_PX, CODES, FREE, STEP_PX, Told, ToldConfig, build


def student() -> Told:
    torch.manual_seed(0)
    net = Told(ToldConfig(width=8, blocks=2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def unshuffled(picture: torch.Tensor) -> torch.Tensor:
    return F.pixel_unshuffle(picture - 0.5, 2)


def test_a_code_is_a_distribution_then_shares_then_free_values() -> None:
    with torch.no_grad():
        code, logits = student().look(unshuffled(torch.rand(2, 3, 128, 256)))
    assert code.shape == logits.shape == (2, CODES, 1, 3)
    kinds, measures, free = code.split((len(KINDS), len(MEASURES), FREE), 1)
    torch.testing.assert_close(kinds.sum(1), torch.ones(2, 1, 3))
    assert measures.min() >= 0
    assert measures.max() <= 1
    assert free.abs().max() <= 1


def test_cells_of_a_picture_see_what_the_same_pixels_alone_would_show() -> None:
    net = student()
    picture = torch.rand(1, 3, 256, 320)
    with torch.no_grad():
        whole, _ = net.look(unshuffled(picture))
        assert whole.shape[-2:] == ((256 - CELL_PX) // STEP_PX + 1, (320 - CELL_PX) // STEP_PX + 1)
        row, column = 1, 2
        top, left = row * STEP_PX, column * STEP_PX
        alone, _ = net.look(unshuffled(picture[..., top : top + CELL_PX, left : left + CELL_PX]))
    # Alone, its outermost features see zeros beyond the border.
    torch.testing.assert_close(whole[..., row, column], alone[..., 0, 0], atol=0.05, rtol=0)


def test_told_a_constant_map_it_restores_as_told_one_code() -> None:
    net = student()
    picture = torch.rand(1, 3, 192, 256)
    code = torch.rand(1, CODES, 1, 1)
    with torch.no_grad():
        one = net.forward_told(picture, code)
        many = net.forward_told(picture, code.expand(1, CODES, 2, 3))
        other = net.forward_told(picture, 1 - code)
    torch.testing.assert_close(one, many, atol=1e-5, rtol=0)
    assert (one - other).abs().max() > 1e-3


def test_codes_change_linearly_between_the_centres_of_cells() -> None:
    net = student()
    code = torch.zeros(1, CODES, 1, 2)
    code[..., 1] = 1
    first = net._biases(code, 64, 96)[0][0]
    slope = net.tell.weight[: net.config.width].sum((1, 2, 3))
    centres = (2 * torch.arange(96) + 1.0 - CELL_PX / 2) / STEP_PX
    expected = centres.clamp(0, 1)[None] * slope[:, None]
    torch.testing.assert_close(first[:, 10], expected, atol=1e-5, rtol=1e-5)


def test_pictures_smaller_than_a_cell_are_looked_at_as_one() -> None:
    net = student()
    with torch.no_grad():
        code, _ = net.look(unshuffled(torch.rand(1, 3, 48, 64)))
    assert code.shape[-2:] == (1, 1)


@pytest.mark.parametrize("file", ["student", "raw"])
def test_trained_weights_fit(file: str) -> None:
    folder = Path(__file__).parents[3] / "docs/runs/told-16x4"
    build("told-16x4").load_state_dict(load_file(folder / f"{file}.safetensors"))
