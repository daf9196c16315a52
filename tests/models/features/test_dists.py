"""DISTS equals its formula, written out once more in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import signal

from whet.errors import InputError, ModelError
from whet.models.features.dists import DISTS, load_dists

Maps = NDArray[np.float64]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def network() -> DISTS:
    torch.manual_seed(0)
    network = DISTS().eval()
    network.alpha.data.uniform_()
    network.beta.data.uniform_()
    return network.requires_grad_(False)


def by_hand(network: DISTS, a: Maps, b: Maps) -> float:
    """The paper's sum over channels, one after the other; (3, H, W) in [0, 1]."""
    parameters = {key: value.double().numpy() for key, value in network.state_dict().items()}
    alike, channel = 0.0, 0
    alpha, beta = (parameters[n].reshape(-1) for n in ("alpha", "beta"))
    for x, y in zip(levels(parameters, a), levels(parameters, b), strict=True):
        for p, q in zip(x, y, strict=True):
            texture = (2 * p.mean() * q.mean() + 1e-6) / (p.mean() ** 2 + q.mean() ** 2 + 1e-6)
            both = ((p - p.mean()) * (q - q.mean())).mean()
            structure = (2 * both + 1e-6) / (p.var() + q.var() + 1e-6)
            alike += alpha[channel] * texture + beta[channel] * structure
            channel += 1
    return float(1 - alike / (alpha.sum() + beta.sum()))


def levels(parameters: dict[str, Maps], picture: Maps) -> list[Maps]:
    found, x, number = [picture], (picture - MEAN[:, None, None]) / STD[:, None, None], 0
    hann = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        if stage:
            squares = [signal.correlate2d(m**2, hann, "same")[::2, ::2] for m in x]
            x = np.sqrt(np.stack(squares))
        for _ in range(count):
            weight = parameters[f"convolutions.{number}.weight"]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
            x = np.einsum("ihwkl,oikl->ohw", seen, weight, optimize=True)
            bias = parameters[f"convolutions.{number}.bias"]
            x = np.maximum(x + bias[:, None, None], 0)
            number += 1
        found.append(x)
    return found


def test_the_value_is_the_papers(network: DISTS) -> None:
    rng = np.random.default_rng(1)
    a = rng.random((3, 18, 21))
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape), 0, 1)
    first, second = (torch.tensor(p, dtype=torch.float32)[None] for p in (a, b))
    value = float(network(first, second))
    assert value == pytest.approx(by_hand(network, a, b), abs=1e-4)
    assert value > 0.01
    assert float(network(first, first)) == pytest.approx(0, abs=1e-5)
    assert float(network(second, first)) == pytest.approx(value, abs=1e-6)


def test_small_and_unequal_pictures_are_refused(network: DISTS) -> None:
    for sizes in (((15, 20), (15, 20)), ((20, 20), (20, 21))):
        first, second = (torch.zeros(1, 3, *size) for size in sizes)
        with pytest.raises(InputError, match="from 16 pixels up"):
            network(first, second)


def test_weights_come_from_two_files_that_are_fetched(
    network: DISTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = network.state_dict()
    own = {key: state.pop(key) for key in ("alpha", "beta")}
    save_file(state, tmp_path / "vgg.safetensors")
    save_file(own, tmp_path / "own.safetensors")
    loaded = load_dists(tmp_path / "vgg.safetensors", tmp_path / "own.safetensors")
    assert torch.equal(loaded.beta, network.beta)
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="whet data fetch vgg16-whole"):
        load_dists()
