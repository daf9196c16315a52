"""LPIPS against its definition written out by hand, and against the authors' own numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional as F

from whet.errors import InputError, ModelError
from whet.models.features.lpips import LPIPS, load_lpips

SHARED = os.environ.get("WHET_SHARED")
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def network() -> LPIPS:
    torch.manual_seed(3)
    found = LPIPS().eval().requires_grad_(False)
    for weights in found.channels:
        weights.copy_(torch.rand_like(weights))
    return found


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    first = torch.rand((1, 3, 47, 63), generator=generator)
    return first, (first + 0.2 * torch.rand(first.shape, generator=generator)).clamp(0, 1)


def by_hand(network: LPIPS, first: torch.Tensor, second: torch.Tensor) -> float:
    """Zhang et al. 2018, equation 1, position by position; convolutions by PyTorch."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    total = 0.0
    levels: list[list[Array]] = []
    for rgb in (first, second):
        x = (rgb.double() * 2 - 1).sub(torch.tensor(shift).view(1, 3, 1, 1))
        x = x / torch.tensor(scale).view(1, 3, 1, 1)
        found = []
        for index, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
            layer = network.features[index]
            if index in (1, 2):
                x = torch.nn.functional.max_pool2d(x, 3, 2)
            x = F.conv2d(x, layer.weight.double(), layer.bias.double(), stride, padding).clamp_min(
                0
            )
            found.append(x[0].numpy())
        levels.append(found)
    for index, (a, b) in enumerate(zip(*levels, strict=True)):
        weights = network.channels[index].numpy()
        distances = []
        for row in range(a.shape[1]):
            for column in range(a.shape[2]):
                u, v = a[:, row, column], b[:, row, column]
                u, v = u / (np.linalg.norm(u) + 1e-10), v / (np.linalg.norm(v) + 1e-10)
                distances.append(float(np.sum(weights * (u - v) ** 2)))
        total += float(np.mean(distances))
    return total


def test_the_distance_is_the_published_formula(
    network: LPIPS, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert float(network(*pair)) == pytest.approx(by_hand(network, *pair), rel=1e-4)


def test_equal_pictures_are_at_zero_and_order_does_not_matter(
    network: LPIPS, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    first, second = pair
    assert float(network(first, first)) == 0
    assert float(network(first, second)) == pytest.approx(float(network(second, first)))
    batch = network(torch.cat([first, first]), torch.cat([first, second]))
    assert batch.tolist() == pytest.approx([0, float(network(first, second))], abs=1e-6)


def test_thumbnails_and_unequal_sizes_are_refused(network: LPIPS) -> None:
    with pytest.raises(InputError, match="from 31 pixels up"):
        network(torch.rand(1, 3, 30, 64), torch.rand(1, 3, 30, 64))
    with pytest.raises(InputError, match="one size"):
        network(torch.rand(1, 3, 40, 64), torch.rand(1, 3, 40, 65))
    network(torch.rand(1, 3, 31, 31), torch.rand(1, 3, 31, 31))


def test_weights_travel_by_file_and_absent_ones_name_the_command(
    network: LPIPS,
    pair: tuple[torch.Tensor, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    loaded = load_lpips(tmp_path / "weights.safetensors")
    assert float(loaded(*pair)) == float(network(*pair))
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="whet data fetch lpips-alex"):
        load_lpips()


@pytest.mark.skipif(SHARED is None, reason="WHET_SHARED does not name the folder of weights")
def test_public_weights_give_what_the_authors_package_gives() -> None:
    from whet.models.checkpoints import load_state

    folder = Path(str(SHARED), "weights")
    convolutions = load_state(folder / "alexnet_features_f16.safetensors")
    channels = load_state(folder / "lpips_lin_alex.safetensors")
    network = LPIPS().eval().requires_grad_(False)
    state = {}
    for index, layer in enumerate((0, 3, 6, 8, 10)):
        for part in ("weight", "bias"):
            state[f"features.{index}.{part}"] = convolutions[f"features.{layer}.{part}"].float()
        state[f"channels.{index}"] = channels[f"lin{index}.model.1.weight"].flatten()
    network.load_state_dict(state)
    torch.manual_seed(0)
    first = torch.rand(1, 3, 97, 131)
    second = (first + 0.1 * torch.randn_like(first)).clamp(0, 1)
    # lpips 0.1.4, net="alex", with the same files.
    assert float(network(first, second)) == pytest.approx(0.0293475, abs=3e-6)
