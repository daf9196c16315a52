"""VGG16 features: torchvision's names, normalisation by hand, the formula by windows in numpy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from whet.errors import ModelError
from whet.models.features.vgg import VGGFeatures, load_vgg

SHARED = os.environ.get("WHET_SHARED")

CONVOLUTIONS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)} | {
    10: (128, 256),
    12: (256, 256),
    14: (256, 256),
}


@pytest.fixture(scope="module")
def network() -> VGGFeatures:
    torch.manual_seed(5)
    return VGGFeatures().eval()


def slice_state(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for index, (inputs, outputs) in CONVOLUTIONS.items():
        state[f"{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * 0.05
        state[f"{index}.bias"] = torch.randn(outputs, generator=generator) * 0.05
    return state


def in_numpy(rgb: NDArray[np.float64], state: dict[str, Tensor]) -> NDArray[np.float64]:
    """CHW in [0, 1] -> features, written from the paper's table of layers."""
    x = (rgb - np.array([[[0.485]], [[0.456]], [[0.406]]])) / np.array(
        [[[0.229]], [[0.224]], [[0.225]]]
    )
    for index in CONVOLUTIONS:
        if index in (5, 10):  # a pooling layer comes before: layers 4 and 9
            c, h, w = x.shape
            x = x.reshape(c, h // 2, 2, w // 2, 2).max(axis=(2, 4))
        windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
        weight = state[f"{index}.weight"].double().numpy()
        x = np.einsum("chwij,ocij->ohw", windows, weight, optimize=True)
        x = np.maximum(x + state[f"{index}.bias"].double().numpy()[:, None, None], 0)
    return x


def test_keys_and_shapes_are_those_of_torchvisions_first_sixteen_layers(
    network: VGGFeatures,
) -> None:
    expected = {key: value.shape for key, value in slice_state(0).items()}
    assert {key: value.shape for key, value in network.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_735_488


def test_white_reaches_the_first_layer_normalised_by_imagenets_statistics(
    network: VGGFeatures,
) -> None:
    seen: list[Tensor] = []
    handle = network[0].register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    network(torch.ones(1, 3, 4, 4))
    handle.remove()
    # (1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225
    expected = torch.tensor([2.2489083, 2.4285714, 2.6400000]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    torch.testing.assert_close(seen[0], expected)


def test_features_equal_an_independent_computation(tmp_path: Path) -> None:
    state = slice_state(1)
    save_file(state, tmp_path / "slice.safetensors")
    network = load_vgg(tmp_path / "slice.safetensors")
    rgb = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(2))
    features = network(rgb)
    assert features.shape == (2, 256, 3, 2)
    for one, picture in zip(features, rgb, strict=True):
        np.testing.assert_allclose(one, in_numpy(picture.double().numpy(), state), atol=1e-4)
    assert features.max() > 0.01


def test_torchvisions_own_file_loads_and_its_later_layers_are_ignored(tmp_path: Path) -> None:
    state = slice_state(3)
    whole = {f"features.{key}": value for key, value in state.items()}
    whole["features.17.weight"] = torch.zeros(512, 256, 3, 3)
    whole["classifier.0.bias"] = torch.zeros(4096)
    torch.save(whole, tmp_path / "vgg16.pth")
    loaded = load_vgg(tmp_path / "vgg16.pth").state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("prefix", ["", "features."])
def test_a_missing_layer_is_refused_by_name(tmp_path: Path, prefix: str) -> None:
    state = {f"{prefix}{key}": value for key, value in slice_state(3).items()}
    del state[f"{prefix}12.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"12\.bias"):
        load_vgg(tmp_path / "part.safetensors")


def test_absent_weights_name_the_command_that_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="whet data fetch vgg16"):
        load_vgg(None)


def test_loaded_features_are_frozen_but_pass_gradients_to_the_picture(tmp_path: Path) -> None:
    save_file(slice_state(4), tmp_path / "slice.safetensors")
    network = load_vgg(tmp_path / "slice.safetensors")
    assert not network.training
    rgb = torch.rand(1, 3, 8, 8, requires_grad=True)
    network(rgb).sum().backward()  # type: ignore[no-untyped-call]
    assert rgb.grad is not None
    assert rgb.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.skipif(SHARED is None, reason="WHET_SHARED does not name the folder of weights")
def test_public_weights_load_and_respond_to_edges() -> None:
    network = load_vgg(Path(str(SHARED), "weights", "vgg16_features_0_16.safetensors"))
    flat = torch.full((1, 3, 32, 32), 0.5)
    edge = flat.clone()
    edge[..., 16:] = 1.0
    inside = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    assert (network(edge)[inside] - network(flat)[inside]).abs().mean() > 0.1
