"""What every student in MODELS must survive: export, odd sizes, tiles, int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from whet.artifact import Card, read_card
from whet.distill.validate import restore_bytes
from whet.export.onnx import export
from whet.export.quantize import quantize
from whet.models import MODELS, build
from whet.runtime import open_session
from whet.runtime.tiling import restore_tiled

CARD = Card(name="t", architecture="?", multiple=1, halo=0, kmac_per_px=0, parameters=0)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks and noise: edges for the network, and nothing that repeats."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    blocks = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.clip(blocks + rng.normal(0, 6, blocks.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=sorted(MODELS))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, nn.Module, Path]:
    """A student with weights that do something, and its model file."""
    name: str = request.param
    torch.manual_seed(1)
    student = build(name)
    with torch.no_grad():
        for parameter in student.parameters():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter.add_((0.1 * spread or 0.01) * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp(name) / f"{name}.onnx"
    export(student.eval(), MODELS[name], path, CARD)
    return name, student, path


@pytest.mark.parametrize("size", [(45, 61), (8, 8), (1, 3)])
def test_any_size_through_the_runtime_equals_pytorch(
    exported: tuple[str, nn.Module, Path], size: tuple[int, int]
) -> None:
    name, student, path = exported
    image = picture(*size)
    session = open_session(path, runtime="onnxruntime", threads=1)
    restored = session.restore(image)
    assert restored.shape == image.shape
    if min(size) > 8:  # smaller ones are padded by other rules than PyTorch's
        expected = restore_bytes(student.fuse(), image, MODELS[name].multiple)  # type: ignore[operator]
        assert np.abs(restored.astype(int) - expected.astype(int)).max() <= 1
        assert np.abs(restored.astype(int) - image.astype(int)).max() > 2


@torch.no_grad()
def test_tiled_equals_untiled(exported: tuple[str, nn.Module, Path]) -> None:
    name, student, _ = exported
    spec = MODELS[name]
    fused = student.fuse()  # type: ignore[operator]

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return fused(x)[0].permute(1, 2, 0).numpy()

    side = 2 * spec.multiple
    image = picture(3 * side + 5, 5 * side + 3).astype(np.float32) / 255
    whole = restore_tiled(run, image, multiple=spec.multiple, halo=spec.halo, tile=100 * side)
    tiled = restore_tiled(run, image, multiple=spec.multiple, halo=spec.halo, tile=side)
    assert np.abs(whole - tiled).max() <= 1e-4


def test_card_states_what_was_measured(exported: tuple[str, nn.Module, Path]) -> None:
    name, _, path = exported
    card = read_card(path)
    assert card.architecture == name
    assert card.parity is not None
    assert card.parity <= 1 / 255
    assert card.kmac_per_px == MODELS[name].kmac_per_px


def test_int8_states_its_drop_and_is_smaller(exported: tuple[str, nn.Module, Path]) -> None:
    _, _, path = exported
    target = path.with_name("int8.onnx")
    images = [picture(64, 64, seed) for seed in range(3)]
    session = open_session(path, runtime="onnxruntime", threads=1)
    noise = np.random.default_rng(9).normal(0, 5, images[0].shape)
    restored = session.restore(images[0])
    sharp = np.clip(restored + noise, 0, 255).astype(np.uint8)
    pairs = [(images[0], sharp)]
    # Random weights spread activations far wider than trained ones; the gate itself is tested
    # in test_quantize.
    card = quantize(path, target, images, validation=pairs, methods=("minmax",), max_drop_db=1e6)
    assert card.precision == "int8"
    assert card.int8_drop_db is not None
    assert card.float_sha256 == read_card(path).weights_sha256
    assert target.stat().st_size < 0.45 * path.stat().st_size
    again = open_session(target, runtime="onnxruntime", threads=1).restore(images[0])
    assert again.shape == restored.shape
    assert np.abs(again.astype(float) - images[0]).max() > 2
