"""Restormer: official names and sizes, the paper's formulas by plain loops, windows, any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.errors import InputError, ModelError
from whet.models import build_teacher
from whet.models.teachers.restormer import (
    OFFICIAL,
    Layout,
    Restormer,
    infer_layout,
    load_teacher,
)
from whet.models.teachers.restormer_blocks import GatedFeedForward, TransposedAttention

Array = NDArray[np.float64]
Shape = tuple[int, ...]

TINY = Layout(dim=8, blocks=(1, 1, 1, 1), refinement_blocks=1, heads=(1, 2, 2, 4))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These tensors are too small to share: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# An independent list of what an official checkpoint holds: written from the
# published key names, not from the module.


def block_shapes(prefix: str, width: int, heads: int, biased: bool) -> Iterator[tuple[str, Shape]]:
    hidden = int(width * 2.66)
    for norm in ("norm1", "norm2"):
        yield f"{prefix}.{norm}.body.weight", (width,)
        if biased:
            yield f"{prefix}.{norm}.body.bias", (width,)
    yield f"{prefix}.attn.temperature", (heads, 1, 1)
    yield f"{prefix}.attn.qkv.weight", (3 * width, width, 1, 1)
    yield f"{prefix}.attn.qkv_dwconv.weight", (3 * width, 1, 3, 3)
    yield f"{prefix}.attn.project_out.weight", (width, width, 1, 1)
    yield f"{prefix}.ffn.project_in.weight", (2 * hidden, width, 1, 1)
    yield f"{prefix}.ffn.dwconv.weight", (2 * hidden, 1, 3, 3)
    yield f"{prefix}.ffn.project_out.weight", (width, hidden, 1, 1)


def official_shapes(
    norm: str = "WithBias",
    dual_pixel: bool = False,
    dim: int = 48,
    blocks: Shape = (4, 6, 6, 8),
    refinement: int = 4,
    heads: Shape = (1, 2, 4, 8),
) -> dict[str, Shape]:
    sections = [
        ("encoder_level1", blocks[0], dim, heads[0]),
        ("encoder_level2", blocks[1], 2 * dim, heads[1]),
        ("encoder_level3", blocks[2], 4 * dim, heads[2]),
        ("latent", blocks[3], 8 * dim, heads[3]),
        ("decoder_level3", blocks[2], 4 * dim, heads[2]),
        ("decoder_level2", blocks[1], 2 * dim, heads[1]),
        ("decoder_level1", blocks[0], 2 * dim, heads[0]),
        ("refinement", refinement, 2 * dim, heads[0]),
    ]
    shapes: dict[str, Shape] = {
        "patch_embed.proj.weight": (dim, 6 if dual_pixel else 3, 3, 3),
        "down1_2.body.0.weight": (dim // 2, dim, 3, 3),
        "down2_3.body.0.weight": (dim, 2 * dim, 3, 3),
        "down3_4.body.0.weight": (2 * dim, 4 * dim, 3, 3),
        "up4_3.body.0.weight": (16 * dim, 8 * dim, 3, 3),
        "up3_2.body.0.weight": (8 * dim, 4 * dim, 3, 3),
        "up2_1.body.0.weight": (4 * dim, 2 * dim, 3, 3),
        "reduce_chan_level3.weight": (4 * dim, 8 * dim, 1, 1),
        "reduce_chan_level2.weight": (2 * dim, 4 * dim, 1, 1),
        "output.weight": (3, 2 * dim, 3, 3),
    }
    if dual_pixel:
        shapes["skip_conv.weight"] = (2 * dim, dim, 1, 1)
    for name, count, width, head_count in sections:
        for index in range(count):
            shapes.update(block_shapes(f"{name}.{index}", width, head_count, norm == "WithBias"))
    return shapes


TINY_SHAPES = {"dim": 8, "blocks": (1, 1, 1, 1), "refinement": 1, "heads": (1, 2, 2, 4)}


def synthetic(shapes: dict[str, Shape], scale: float = 0.05) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {key: torch.randn(shape, generator=generator) * scale for key, shape in shapes.items()}


def tiny_file(tmp_path: Path, wrapper: str = "params", **changes: object) -> Path:
    path = tmp_path / "restormer.pth"
    shapes = official_shapes(**{**TINY_SHAPES, **changes})  # type: ignore[arg-type]
    torch.save({wrapper: synthetic(shapes, scale=0.2)}, path)
    return path


@pytest.mark.parametrize(
    ("norm", "dual_pixel", "parameters"),
    [
        ("WithBias", False, 26_126_644),
        ("BiasFree", False, 26_111_668),
        ("WithBias", True, 26_132_548),
    ],
)
def test_parameters_agree_with_the_official_checkpoints(
    norm: str, dual_pixel: bool, parameters: int
) -> None:
    with torch.device("meta"):
        model = Restormer(Layout(norm=norm, dual_pixel=dual_pixel))  # type: ignore[arg-type]
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert shapes == official_shapes(norm, dual_pixel)
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters
    assert sum(p.numel() for p in model.parameters()) == parameters


def assert_holds(model: nn.Module, state: dict[str, Tensor]) -> None:
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


def test_official_sized_checkpoint_loads_strictly(tmp_path: Path) -> None:
    # Ramps with a start of their own: distinct, and quicker to make than noise.
    state = {
        key: torch.linspace(index, index + 1, math.prod(shape)).reshape(shape)
        for index, (key, shape) in enumerate(official_shapes().items())
    }
    torch.save({"params": state}, tmp_path / "motion_deblurring.pth")
    model = load_teacher(tmp_path / "motion_deblurring.pth", task="motion-deblurring")
    assert model.layout == Layout()
    assert_holds(model, state)


@pytest.mark.parametrize("wrapper", ["params", "params_ema"])
@pytest.mark.parametrize("norm", ["WithBias", "BiasFree"])
def test_both_wrappers_and_norms_load_strictly(tmp_path: Path, wrapper: str, norm: str) -> None:
    model = load_teacher(tiny_file(tmp_path, wrapper, norm=norm))
    assert_holds(model, synthetic(official_shapes(norm=norm, **TINY_SHAPES), scale=0.2))  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["WithBias", "BiasFree"])
@pytest.mark.parametrize("dual_pixel", [False, True])
def test_layout_is_inferred(norm: str, dual_pixel: bool) -> None:
    shapes = official_shapes(norm, dual_pixel, 16, (1, 2, 3, 4), 2, (1, 1, 2, 4))
    layout = infer_layout({key: torch.empty(s) for key, s in shapes.items()}, "file")
    assert layout == Layout(16, (1, 2, 3, 4), 2, (1, 1, 2, 4), 2.66, norm, dual_pixel)  # type: ignore[arg-type]


def test_teacher_is_frozen_and_in_eval_mode(tmp_path: Path) -> None:
    teacher = build_teacher("restormer", str(tiny_file(tmp_path)))
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())


# The formulas, by loops


def pointwise(weight: Tensor, x: Array) -> Array:
    """1x1 convolution of (C, H, W)."""
    matrix = weight.double().numpy()[:, :, 0, 0]
    out = np.zeros((len(matrix), *x.shape[1:]))
    for o in range(len(matrix)):
        for i in range(x.shape[0]):
            out[o] += matrix[o, i] * x[i]
    return out


def depthwise(weight: Tensor, x: Array) -> Array:
    """3x3 depthwise convolution of (C, H, W) with zeros around it."""
    kernel = weight.double().numpy()[:, 0]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(x)
    for c in range(x.shape[0]):
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                out[c, row, column] = np.sum(
                    kernel[c] * padded[c, row : row + 3, column : column + 3]
                )
    return out


def mdta(qkv: Array, temperature: Tensor) -> Array:
    """Attention between channels, before the last projection; (3C, H, W) -> (C, H, W)."""
    heads = len(temperature)
    width = len(qkv) // 3
    size = width // heads
    out = np.zeros((width, *qkv.shape[1:]))
    for head in range(heads):
        for i in range(head * size, (head + 1) * size):
            query = qkv[i].ravel()
            logits = []
            for j in range(head * size, (head + 1) * size):
                key = qkv[width + j].ravel()
                cosine = query @ key / (np.linalg.norm(query) * np.linalg.norm(key))
                logits.append(cosine * float(temperature[head]))
            weights = np.exp(logits) / np.sum(np.exp(logits))
            for j in range(size):
                out[i] += weights[j] * qkv[2 * width + head * size + j]
    return out


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@torch.no_grad()
def test_attention_equals_plain_loops() -> None:
    attention = TransposedAttention(width=6, heads=3)
    randomise(attention)
    x = torch.rand(1, 6, 5, 7, generator=torch.Generator().manual_seed(3))
    qkv = depthwise(attention.qkv_dwconv.weight, pointwise(attention.qkv.weight, x[0].numpy()))
    expected = pointwise(attention.project_out.weight, mdta(qkv, attention.temperature))
    np.testing.assert_allclose(attention(x)[0].numpy(), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_feed_forward_equals_plain_loops() -> None:
    feed_forward = GatedFeedForward(width=4, hidden=int(4 * 2.66))
    randomise(feed_forward)
    x = torch.rand(1, 4, 6, 5, generator=torch.Generator().manual_seed(4))
    hidden = depthwise(
        feed_forward.dwconv.weight, pointwise(feed_forward.project_in.weight, x[0].numpy())
    )
    gate, signal = hidden[:10], hidden[10:]
    gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    expected = pointwise(feed_forward.project_out.weight, gelu(gate) * signal)
    np.testing.assert_allclose(feed_forward(x)[0].numpy(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["WithBias", "BiasFree"])
@torch.no_grad()
def test_norm_equals_its_formula(norm: str) -> None:
    model = Restormer(Layout(8, (1,) * 4, 1, (1,) * 4, norm=norm))  # type: ignore[arg-type]
    body = randomise(model.encoder_level1[0].norm1)  # type: ignore[arg-type]
    x = torch.rand(2, 8, 3, 4, generator=torch.Generator().manual_seed(5)) * 3 + 1
    found = body(x).numpy()
    weight = model.state_dict()["encoder_level1.0.norm1.body.weight"].numpy()
    for n, row, column in np.ndindex(2, 3, 4):
        pixel = x[n, :, row, column].double().numpy()
        centre = pixel.mean() if norm == "WithBias" else 0.0
        expected = (pixel - centre) / np.sqrt(pixel.var() + 1e-5) * weight
        if norm == "WithBias":
            expected += model.state_dict()["encoder_level1.0.norm1.body.bias"].numpy()
        np.testing.assert_allclose(found[n, :, row, column], expected, rtol=1e-5, atol=1e-5)


def waves(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """Weights from a formula, so that another implementation can be given the same."""
    state = {}
    for index, (key, shape) in enumerate(sorted(shapes.items())):
        size = math.prod(shape)
        wave = torch.sin(torch.arange(size, dtype=torch.float64) * 1.3 + index).reshape(shape)
        state[key] = wave * math.sqrt(2 * shape[0] / size) if len(shape) == 4 else 1 + wave / 2
    return state


@pytest.mark.parametrize(
    ("norm", "dual_pixel", "expected"),
    [
        ("WithBias", False, (-0.10771597, 0.30074466, -0.19261711, -0.06552729)),
        ("WithBias", True, (-0.35672911, 0.03718870, -0.15252378, 0.94125017)),
        ("BiasFree", False, (-0.11456202, 0.48608447, 0.12493010, 0.13533287)),
        ("BiasFree", True, (0.09277028, -0.03361060, 0.28023334, -0.51570077)),
    ],
)
@torch.no_grad()
def test_network_gives_the_numbers_of_the_published_code(
    tmp_path: Path, norm: str, dual_pixel: bool, expected: tuple[float, ...]
) -> None:
    # The numbers came from the authors' own network (as packaged in
    # spandrel_extra_arches 0.2.0), run in double precision on the same weights.
    shapes = official_shapes(norm, dual_pixel, 8, (2, 1, 1, 2), 2, (1, 2, 2, 4))
    torch.save({"params": waves(shapes)}, tmp_path / "w.pth")
    x = torch.linspace(0, 1, (6 if dual_pixel else 3) * 16 * 24, dtype=torch.float64)
    x = (x * 7).remainder(1).reshape(1, -1, 16, 24)
    model = load_teacher(tmp_path / "w.pth").double()
    model.load_state_dict(waves(shapes))  # again: loading rounded them to float32
    y = model(x)[0]
    found = [y[0, 0, 0].item(), y[1, 7, 11].item(), y[2, 15, 23].item(), y[0, 9, 2].item()]
    assert found == pytest.approx(expected, abs=2e-8)


@torch.no_grad()
def test_silent_output_layer_returns_the_input() -> None:
    model = Restormer(TINY).eval()
    model.output.weight.zero_()
    x = torch.rand(1, 3, 24, 16)
    assert torch.equal(model(x), x)


@torch.no_grad()
def test_dual_pixel_maps_two_views_to_one_picture(tmp_path: Path) -> None:
    model = load_teacher(tiny_file(tmp_path, dual_pixel=True))
    x = torch.rand(1, 6, 18, 21)
    assert model(x).shape == (1, 3, 18, 21)
    before = model(x)
    model.skip_conv.weight.zero_()
    assert not torch.allclose(model(x), before)
    model.output.weight.zero_()
    assert torch.equal(model(x), torch.zeros(1, 3, 18, 21))


# Sizes


@torch.no_grad()
def test_odd_size_equals_the_mirrored_picture_cropped(tmp_path: Path) -> None:
    model = load_teacher(tiny_file(tmp_path))
    x = torch.rand(2, 3, 21, 34)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 3), (0, 6)), mode="reflect")
    expected = model(torch.from_numpy(padded))[..., :21, :34]
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (1, 1), (1, 9), (2, 3), (5, 4)])
@torch.no_grad()
def test_any_size_keeps_its_shape(tmp_path: Path, height: int, width: int) -> None:
    restored = load_teacher(tiny_file(tmp_path))(torch.rand(1, 3, height, width))
    assert restored.shape == (1, 3, height, width)
    assert restored.isfinite().all()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 13])
def test_small_sides_mirror_as_numpy_does(size: int) -> None:
    from whet.models.teachers.restormer import _reflect

    row = torch.rand(1, 1, 1, size)
    expected = np.pad(row.numpy(), ((0, 0),) * 3 + ((0, -size % 8),), mode="reflect")
    assert np.array_equal(_reflect(row, dim=-1).numpy(), expected)


@torch.no_grad()
def test_pictures_of_a_batch_do_not_mix(tmp_path: Path) -> None:
    # In double precision: random weights magnify the rounding of float32.
    model = load_teacher(tiny_file(tmp_path), tlc=True, base_size=16).double()
    x = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    alone = torch.cat([model(picture[None]) for picture in x])
    torch.testing.assert_close(model(x), alone, atol=1e-9, rtol=0)


def test_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(InputError, match="takes 3 channels, not 6"):
        Restormer(TINY)(torch.rand(1, 6, 16, 16))


# Windows (TLC)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (27, 30), (16, 32)])
@torch.no_grad()
def test_windows_change_nothing_where_the_picture_fits(
    tmp_path: Path, height: int, width: int
) -> None:
    path = tiny_file(tmp_path)
    x = torch.rand(1, 3, height, width)
    plain, local = load_teacher(path), load_teacher(path, tlc=True, base_size=32)
    assert torch.equal(local(x), plain(x))


@torch.no_grad()
def test_windows_change_larger_pictures(tmp_path: Path) -> None:
    path = tiny_file(tmp_path)
    x = torch.rand(1, 3, 48, 32)
    plain, local = load_teacher(path), load_teacher(path, tlc=True, base_size=32)
    assert not torch.allclose(local(x), plain(x), atol=1e-4)
    assert torch.equal(load_teacher(path, base_size=32)(x), plain(x))


@torch.no_grad()
def test_windows_equal_overlapping_loops() -> None:
    attention = TransposedAttention(width=4, heads=2, window=4)
    randomise(attention)
    x = torch.rand(1, 4, 9, 6, generator=torch.Generator().manual_seed(6))
    qkv = depthwise(attention.qkv_dwconv.weight, pointwise(attention.qkv.weight, x[0].numpy()))
    total, visits = np.zeros((4, 9, 6)), np.zeros((9, 6))
    # 9 rows take 3 windows of 4, 6 columns take 2; spread evenly, the last one flush.
    for top in (0, 3, 5):
        for left in (0, 2):
            part = np.s_[:, top : top + 4, left : left + 4]
            total[part] += mdta(qkv[part], attention.temperature)
            visits[part[1:]] += 1
    expected = pointwise(attention.project_out.weight, total / visits)
    np.testing.assert_allclose(attention(x)[0].numpy(), expected, atol=1e-5, rtol=1e-5)


def test_windows_shrink_with_the_levels() -> None:
    model = Restormer(TINY, window=384)
    sides = {
        name.split(".")[0]: module.window
        for name, module in model.named_modules()
        if isinstance(module, TransposedAttention)
    }
    assert sides == {
        "encoder_level1": 384,
        "encoder_level2": 192,
        "encoder_level3": 96,
        "latent": 48,
        "decoder_level3": 96,
        "decoder_level2": 192,
        "decoder_level1": 384,
        "refinement": 384,
    }


@pytest.mark.parametrize("side", [0, -8, 4, 100])
def test_impossible_window_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(InputError, match="positive multiple of 8"):
        load_teacher(tiny_file(tmp_path), tlc=True, base_size=side)


# Refusals


def test_absent_weights_say_where_to_get_them() -> None:
    with pytest.raises(ModelError, match=r"real_denoising\.pth from https://github\.com/swz30"):
        load_teacher(None, task="real-denoising")
    with pytest.raises(ModelError, match=r"motion_deblurring\.pth"):
        build_teacher("restormer")


def test_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=", ".join(OFFICIAL)):
        load_teacher(tiny_file(tmp_path), task="dehazing")


@pytest.mark.parametrize(
    ("task", "norm", "dual_pixel"),
    [
        ("motion-deblurring", "BiasFree", False),
        ("real-denoising", "WithBias", False),
        ("dual-pixel-defocus-deblurring", "WithBias", False),
    ],
)
def test_weights_for_another_task_are_refused(
    tmp_path: Path, task: str, norm: str, dual_pixel: bool
) -> None:
    path = tiny_file(tmp_path, norm=norm, dual_pixel=dual_pixel)
    with pytest.raises(ModelError, match=f"not weights for {task}"):
        load_teacher(path, task=task)


@pytest.mark.parametrize("change", ["missing", "unexpected", "mis-shaped"])
def test_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, change: str) -> None:
    state = synthetic(official_shapes(**TINY_SHAPES))  # type: ignore[arg-type]
    if change == "missing":
        del state["output.weight"]
    elif change == "unexpected":
        state["output.bias"] = torch.zeros(3)
    else:
        state["latent.0.ffn.dwconv.weight"] = torch.zeros(1, 1, 3, 3)
    torch.save({"params": state}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=f"1 {change}"):
        load_teacher(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("patch_embed.proj.weight", torch.zeros(8, 1, 3, 3), "grey"),
        ("patch_embed.proj.weight", torch.zeros(()), "not weights of a Restormer"),
        ("latent.0.attn.temperature", torch.zeros(7, 1, 1), "do not split"),
        ("latent.0.attn.temperature", torch.zeros(0, 1, 1), "do not split"),
    ],
)
def test_nonsense_sizes_are_refused(tmp_path: Path, key: str, tensor: Tensor, message: str) -> None:
    state = synthetic(official_shapes(**TINY_SHAPES))  # type: ignore[arg-type]
    torch.save({**state, key: tensor}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=message):
        load_teacher(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 3).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="not weights of a Restormer"):
        load_teacher(tmp_path / "w.pth")
