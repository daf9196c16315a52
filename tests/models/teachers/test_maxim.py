"""MAXIM-3S: the original's names and size, its mixing by plain loops, any size, tiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from whet.errors import InputError, ModelError
from whet.models import build_teacher
from whet.models.teachers.maxim import Maxim, load_teacher
from whet.models.teachers.maxim_axes import (
    Axis,
    Enlarge,
    GatingUnit,
    MultiAxisGate,
    TokenDense,
    gelu,
)
from whet.models.teachers.maxim_blocks import Resize

SHARED = os.environ.get("WHET_SHARED")

# Written from the public file, not from the module.
FLAX_SHAPES = {
    "UpSampleRatio_0.Conv_0.weight": (128, 32, 1, 1),
    "UpSampleRatio_20.Conv_0.weight": (128, 128, 1, 1),
    "UpSampleRatio_53.Conv_0.bias": (32,),
    "stage_0_cross_gating_block_0.ConvTranspose_0.weight": (64, 32, 2, 2),
    "stage_0_encoder_block_2.Conv_0.weight": (128, 192, 1, 1),
    "stage_1_encoder_block_0.Conv_1.weight": (32, 32, 4, 4),
    "stage_1_encoder_block_1.cross_gating_block.SplitHeadMultiAxisGating_x.Dense_1.bias": (256,),
    "stage_1_global_block_0.channel_attention_block_1_1.channel_mixing.Dense_0.bias": (128,),
    "stage_1_input_fuse_sam_2.in_project_y.weight": (128, 128),
    "stage_1_supervised_attention_module_2.Conv_2.weight": (128, 3, 3, 3),
    "stage_2_decoder_block_1.UNetEncoderBlock_0.channel_attention_block_11.conv2.bias": (64,),
    "stage_2_encoder_block_0.SplitHeadMultiAxisGmlpLayer_1.GridGmlpLayer.GridGatingUnit"
    ".Dense_0.weight": (256, 256),
    "stage_2_encoder_block_2.SplitHeadMultiAxisGmlpLayer_0.BlockGmlpLayer.BlockGatingUnit"
    ".intermediate_layernorm.bias": (128,),
    "stage_2_output_conv_0.weight": (3, 32, 3, 3),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These tensors are too small to share: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network() -> Maxim:
    torch.manual_seed(3)
    return Maxim().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network: Maxim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maxim") / "weights.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def restored(network: Maxim) -> Tensor:
    """What the network makes of ``picture(64, 64)``; every pass costs a good part of a second."""
    output: Tensor = network(picture(64, 64))
    return output


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_tensors_are_named_and_counted_as_in_the_original(network: Maxim) -> None:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(shapes) == 2750
    assert sum(parameter.numel() for parameter in network.parameters()) == 22_207_605
    assert {key: shapes.get(key) for key in FLAX_SHAPES} == FLAX_SHAPES


# The two axes, by plain loops.


def mixed_by_loops(x: np.ndarray, layer: TokenDense, axis: Axis) -> np.ndarray:
    """For each output pixel, sum over the pixels it sees, in float64."""
    n, height, width, _ = x.shape
    cells = layer.cells
    weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
    out = np.zeros_like(x)
    for b, i, j in np.ndindex(n, height, width):
        if axis == "block":  # all pixels of the block that (i, j) lies in
            top, left, step_i, step_j = i - i % cells, j - j % cells, 1, 1
            own = (i % cells) * cells + j % cells
        else:  # one pixel in every cell of the grid, at the same place in each
            step_i, step_j = height // cells, width // cells
            top, left = i % step_i, j % step_j
            own = (i // step_i) * cells + j // step_j
        out[b, i, j] = bias[own]
        for p, q in np.ndindex(cells, cells):
            out[b, i, j] += weight[own, p * cells + q] * x[b, top + p * step_i, left + q * step_j]
    return out


@pytest.mark.parametrize("axis", ["block", "grid"])
def test_mixing_of_positions_equals_plain_loops(axis: Axis) -> None:
    torch.manual_seed(1)
    layer = TokenDense(4, axis).requires_grad_(False)
    x = torch.randn(2, 8, 12, 3)
    expected = mixed_by_loops(x.double().numpy(), layer, axis)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    np.testing.assert_allclose(layer(x, offset=1.0), expected + 1, atol=1e-5)


@pytest.mark.parametrize("axis", ["block", "grid"])
def test_gating_unit_multiplies_by_one_plus_the_mixed_normalised_half(axis: Axis) -> None:
    torch.manual_seed(2)
    unit = GatingUnit(5, 4, axis).requires_grad_(False)
    u, v = torch.randn(1, 8, 8, 5), torch.randn(1, 8, 8, 5)
    centred = v.double().numpy() - v.double().numpy().mean(-1, keepdims=True)
    normalised = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    expected = u.double().numpy() * (mixed_by_loops(normalised, unit.Dense_0, axis) + 1)
    np.testing.assert_allclose(unit(u, v), expected, atol=1e-5)


def test_gate_sends_the_first_half_over_the_grid_and_the_second_through_blocks() -> None:
    torch.manual_seed(4)
    gate = MultiAxisGate(6, 4).requires_grad_(False)
    x = torch.randn(1, 8, 12, 6)
    normalised = F.layer_norm(x, (6,), eps=1e-6)
    hidden = F.gelu(
        F.linear(normalised, gate.in_project.weight, gate.in_project.bias), approximate="tanh"
    )
    u, v = hidden.double().numpy()[..., :6], hidden.double().numpy()[..., 6:]
    both = np.concatenate(
        (mixed_by_loops(u, gate.Dense_0, "grid"), mixed_by_loops(v, gate.Dense_1, "block")), -1
    )
    expected = F.linear(torch.tensor(both).float(), gate.out_project.weight, gate.out_project.bias)
    torch.testing.assert_close(gate(x), expected, atol=1e-5, rtol=1e-5)


# What was rewritten for speed, against what it replaces.


def test_fast_gelu_equals_the_tanh_form_and_spares_its_input() -> None:
    x = torch.linspace(-12, 12, 4001)
    before = x.clone()
    torch.testing.assert_close(gelu(x), F.gelu(x, approximate="tanh"), atol=2e-6, rtol=1e-6)
    assert torch.equal(x, before)


def test_gelu_passes_gradients_where_one_is_wanted() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    gelu(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    step = torch.tensor(1e-4, dtype=torch.float64)
    y = x.detach().double()
    slope = (F.gelu(y + step, approximate="tanh") - F.gelu(y - step, approximate="tanh")) / 2e-4
    torch.testing.assert_close(x.grad.double(), slope, atol=1e-6, rtol=1e-5)


def test_enlarging_equals_a_transposed_convolution() -> None:
    torch.manual_seed(6)
    layer = Enlarge(5, 7).requires_grad_(False)
    x = torch.randn(2, 5, 3, 4)
    expected = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    result = layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_resizing_equals_pillows_bilinear_followed_by_the_projection(scale: float) -> None:
    torch.manual_seed(7)
    layer = Resize(3, 2, scale).requires_grad_(False)
    x = torch.rand(1, 16, 24, 3)
    size = (round(24 * scale), round(16 * scale))
    planes = [
        np.asarray(Image.fromarray(x[0, ..., c].numpy()).resize(size, Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    expected = F.linear(
        torch.tensor(np.stack(planes, -1)), layer.Conv_0.weight.flatten(1), layer.Conv_0.bias
    )
    torch.testing.assert_close(layer(x)[0], expected, atol=1e-5, rtol=1e-5)


# The network as a teacher.


def test_any_size_is_padded_around_and_cropped_back(network: Maxim) -> None:
    x = picture(16, 65)
    # 48 rows are missing, more than a reflection of 16 can give; 63 columns are not.
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (24, 24), (0, 0)), mode="edge")
    padded = np.pad(padded, ((0, 0), (0, 0), (0, 0), (31, 32)), mode="reflect")
    whole = network(torch.tensor(padded))[..., 24:40, 31:96]
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(network(x), whole, atol=1e-5, rtol=0)


def test_result_is_the_same_twice_and_in_any_batch(network: Maxim, restored: Tensor) -> None:
    x = picture(64, 64)
    assert torch.equal(network(x), restored)
    other = picture(64, 64, seed=1)
    both = network(torch.cat((other, x)))
    torch.testing.assert_close(both[1:], restored, atol=1e-5, rtol=0)
    assert (both[0] - both[1]).abs().max() > 1e-2


def test_autocast_around_the_teacher_changes_nothing(network: Maxim, restored: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = network(picture(64, 64))
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, restored, atol=1e-5, rtol=0)


def test_too_small_a_picture_is_refused(network: Maxim) -> None:
    with pytest.raises(InputError, match="16 x 16"):
        network(picture(15, 64))


def test_tiles_of_a_local_operation_join_without_a_seam(
    network: Maxim, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def double(_self: Maxim, x: Tensor) -> Tensor:
        sizes.append((x.shape[-2], x.shape[-1]))
        return 2 * x

    monkeypatch.setattr(Maxim, "forward", double)
    x = picture(100, 301)
    torch.testing.assert_close(network.restore_tiled(x, tile=128, overlap=32), 2 * x)
    assert sizes == [(100, 128)] * 3


def test_tiles_blend_linearly_where_they_overlap(
    network: Maxim, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = iter((0.0, 1.0))
    monkeypatch.setattr(Maxim, "forward", lambda _self, x: torch.full_like(x, next(levels)))
    row = network.restore_tiled(picture(64, 108), tile=64, overlap=20)[0, 0, 30]
    assert (row[:44] == 0).all()
    assert (row[64:] == 1).all()
    # Between 44 and 63 the weights are k / 21 and (21 - k) / 21, k = 1 .. 20.
    torch.testing.assert_close(row[44:64], torch.arange(1, 21) / 21)


def test_a_picture_of_one_tile_equals_the_whole(network: Maxim, restored: Tensor) -> None:
    tiled = network.restore_tiled(picture(64, 64), tile=64, overlap=16)
    torch.testing.assert_close(tiled, restored)


@pytest.mark.parametrize(("tile", "overlap"), [(32, 8), (128, 0), (128, 65)])
def test_unusable_tiles_are_refused(network: Maxim, tile: int, overlap: int) -> None:
    with pytest.raises(InputError, match="tile"):
        network.restore_tiled(picture(64, 64), tile=tile, overlap=overlap)


def test_loaded_teacher_is_frozen_and_equal(weights: Path, restored: Tensor) -> None:
    teacher = build_teacher("maxim", weights)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert torch.equal(teacher(picture(64, 64)), restored)


def test_half_precision_storage_is_computed_in_float32(network: Maxim, tmp_path: Path) -> None:
    state = {key: value.half() for key, value in network.state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    teacher = load_teacher(tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in teacher.parameters()} == {torch.float32}


def test_weights_that_lack_a_tensor_are_refused_by_name(network: Maxim, tmp_path: Path) -> None:
    state = network.state_dict()
    del state["stage_1_global_block_0.input_proj.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match="stage_1_global_block_0"):
        load_teacher(tmp_path / "part.safetensors")


@pytest.mark.parametrize(("variant", "name"), [("gopro", "maxim-gopro"), ("sidd", "maxim-sidd")])
def test_absent_weights_name_the_command_that_brings_them(
    variant: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"whet data fetch {name}"):
        build_teacher("maxim", variant=variant)


def test_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="gopro, sidd"):
        build_teacher("maxim", variant="reds")


@pytest.mark.skipif(SHARED is None, reason="WHET_SHARED does not name the folder of weights")
def test_public_weights_reproduce_the_output_of_the_original() -> None:
    folder = Path(str(SHARED), "weights")
    teacher = load_teacher(folder / "maxim3s-deblurring-f16.safetensors")
    with np.load(folder / "maxim3s-deblurring-reference-128x192.npz") as reference:
        x, y = reference["x"], reference["y"]
    restored = teacher(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    # 1e-3 is what storing the weights in float16 costs; float32 storage gives 4.5e-6.
    np.testing.assert_allclose(restored, y, atol=1e-3, rtol=0)
