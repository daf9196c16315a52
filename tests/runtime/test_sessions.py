"""Every runtime restores what PyTorch restores, for any picture, from any thread."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from whet import artifact, runtime
from whet.artifact import Card, read_model, write_model
from whet.errors import InputError, MissingExtraError, ModelError
from whet.graph.uint8_io import Tail, byte_graph, from_blocks, to_blocks
from whet.runtime import RUNTIMES, available, cpu_features, open_session, tiling

Image = NDArray[np.uint8]
MakePicture = Callable[..., Image]

HERE = available()


@pytest.fixture(scope="module", params=HERE)
def session(request: pytest.FixtureRequest, tiny_artifact: Path) -> runtime.Session:
    return open_session(tiny_artifact, runtime=request.param)


def by_hand(student: nn.Module, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
    """Return what the student makes of a picture, padded and blended here, in full precision."""
    peak = np.iinfo(image.dtype).max
    degraded = torch.from_numpy(image.astype(np.float64) / peak).permute(2, 0, 1)[None].float()
    height, width = image.shape[:2]
    padded = F.pad(degraded, (0, -width % 8, 0, -height % 8), mode="reflect")
    with torch.inference_mode():
        restored = student(padded).clamp(0, 1)[:, :, :height, :width]
    blended = degraded + strength * (restored - degraded)
    scaled: NDArray[Any] = blended[0].permute(1, 2, 0).double().numpy() * peak
    return scaled.clip(0, peak)


# Agreement


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (64, 96), (61, 130)])
def test_bytes_agree_with_pytorch(
    session: runtime.Session, student: nn.Module, picture: MakePicture, size: tuple[int, int]
) -> None:
    image = picture(*size)
    restored = session.restore(image)
    assert (restored.dtype, restored.shape) == (np.uint8, image.shape)
    wanted = by_hand(student, image)
    assert np.abs(wanted - image).mean() > 5, "a network that does nothing proves nothing"
    assert np.abs(restored - wanted).max() <= 0.51, "rounded to nearest, not merely close"


def test_sixteen_bits_keep_their_depth(
    session: runtime.Session, student: nn.Module, picture: MakePicture
) -> None:
    image = picture(40, 56).astype(np.uint16) * 257 + np.arange(56, dtype=np.uint16)[:, None] % 199
    restored = session.restore(image)
    assert (restored.dtype, restored.shape) == (np.uint16, image.shape)
    assert np.abs(restored - by_hand(student, image)).max() <= 2


@pytest.mark.parametrize("strength", [0.3, 0.5, 1.7])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_strength_scales_the_change_before_rounding(
    session: runtime.Session, student: nn.Module, picture: MakePicture, strength: float, kind: type
) -> None:
    image = picture(32, 48).astype(kind) * (257 if kind is np.uint16 else 1)
    wanted = by_hand(student, image, strength)
    tolerance = 0.51 if kind is np.uint8 else 3
    assert np.abs(session.restore(image, strength) - wanted).max() <= tolerance


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_strength_returns_the_picture_itself(
    session: runtime.Session, picture: MakePicture, kind: type
) -> None:
    image = picture(31, 50).astype(kind)
    restored = session.restore(image, strength=0)
    np.testing.assert_array_equal(restored, image)
    assert not np.shares_memory(restored, image)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (7, 9)])
def test_picture_smaller_than_a_block_is_restored(
    session: runtime.Session, picture: MakePicture, size: tuple[int, int]
) -> None:
    for image in (picture(*size), picture(*size).astype(np.uint16)):
        restored = session.restore(image)
        assert (restored.shape, restored.dtype) == (image.shape, image.dtype)


def test_tiled_equals_whole(
    session: runtime.Session, picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(150, 210)
    whole = session.restore(image).astype(int)
    monkeypatch.setattr(tiling, "TILE_PX", 96)
    assert np.abs(session.restore(image) - whole).max() <= 1


def test_picture_is_neither_changed_nor_shared(
    session: runtime.Session, picture: MakePicture
) -> None:
    image = picture(32, 48)
    before = image.copy()
    first = session.restore(image)
    kept = first.copy()
    session.restore(picture(32, 48, seed=1))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first, kept)


def test_views_and_read_only_pictures_are_taken(
    session: runtime.Session, picture: MakePicture
) -> None:
    image = picture(64, 96)
    view = image[::2, ::-1]
    np.testing.assert_array_equal(session.restore(view), session.restore(view.copy()))
    image.flags.writeable = False
    session.restore(image)


def test_threads_do_not_disturb_each_other(session: runtime.Session, picture: MakePicture) -> None:
    sizes = [(32, 48), (40, 40), (24, 64), (32, 48)]
    images = [picture(*sizes[i % 4], seed=i) for i in range(24)]
    wanted = [session.restore(image, 1 if i % 3 else 0.5) for i, image in enumerate(images)]
    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(session.restore, image, 1 if i % 3 else 0.5)
            for i, image in enumerate(images)
        ]
        for job, expected in zip(jobs, wanted, strict=True):
            np.testing.assert_array_equal(job.result(), expected)


@pytest.mark.parametrize("bad", ["float", "list", "grey", "alpha", "empty", "batch"])
def test_what_is_no_picture_is_refused(session: runtime.Session, bad: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    cases: dict[str, Any] = {
        "float": image.astype(np.float32),
        "list": image.tolist(),
        "grey": image[..., 0],
        "alpha": np.zeros((8, 8, 4), np.uint8),
        "empty": image[:0],
        "batch": image[None],
    }
    with pytest.raises(InputError, match="a picture"):
        session.restore(cases[bad])


@pytest.mark.parametrize("strength", [-0.1, 2.1, np.nan, np.inf])
def test_impossible_strength_is_refused(session: runtime.Session, strength: float) -> None:
    with pytest.raises(InputError, match="strength"):
        session.restore(np.zeros((8, 8, 3), np.uint8), strength)


# Opening


def test_auto_takes_the_first_runtime_that_is_installed(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_session(tiny_artifact).runtime == HERE[0]
    find = runtime.find_spec
    monkeypatch.setattr(runtime, "find_spec", lambda n: None if n == "openvino" else find(n))
    assert open_session(tiny_artifact).runtime == "onnxruntime"
    with pytest.raises(MissingExtraError, match="openvino is not installed"):
        open_session(tiny_artifact, runtime="openvino")


def test_missing_torch_names_the_extra(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = runtime.find_spec
    monkeypatch.setattr(runtime, "find_spec", lambda n: None if n == "torch" else find(n))
    with pytest.raises(MissingExtraError, match=r"whet-sharpen\[train\]"):
        open_session(tiny_artifact, runtime="torch")


def test_unknown_wishes_are_refused(tiny_artifact: Path) -> None:
    with pytest.raises(InputError, match="openvino, onnxruntime, torch"):
        open_session(tiny_artifact, runtime="tensorflow")
    with pytest.raises(InputError, match="precision"):
        open_session(tiny_artifact, precision="int4")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 threads"):
        open_session(tiny_artifact, threads=0)
    with pytest.raises(ModelError, match="float32, not int8"):
        open_session(tiny_artifact, precision="int8")


def test_int8_does_not_open_in_torch(tiny_int8: Path) -> None:
    with pytest.raises(ModelError, match="does not run int8"):
        open_session(tiny_int8, runtime="torch")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_one_thread_gives_the_same_picture(
    tiny_artifact: Path, picture: MakePicture, name: str
) -> None:
    if name not in HERE:
        pytest.skip(f"{name} is not installed")
    image = picture(48, 64)
    one = open_session(tiny_artifact, runtime=name, threads=1).restore(image).astype(int)
    assert np.abs(open_session(tiny_artifact, runtime=name).restore(image) - one).max() <= 1


@pytest.mark.parametrize("fast", [True, False])
def test_plain_name_opens_the_precision_this_processor_is_fast_in(
    tiny_artifact: Path,
    tiny_int8: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fast: bool,
) -> None:
    (tmp_path / "small.onnx").write_bytes(tiny_artifact.read_bytes())
    (tmp_path / "small-int8.onnx").write_bytes(tiny_int8.read_bytes())
    (tmp_path / "nano.onnx").write_bytes(tiny_artifact.read_bytes())
    monkeypatch.setattr(artifact, "_WEIGHTS", tmp_path)
    monkeypatch.setattr(runtime, "int8_is_fast", lambda: fast)

    def precision(*args: Any, **options: Any) -> str:
        return open_session(*args, **options).card.precision

    assert precision("small", "onnxruntime") == ("int8" if fast else "float32")
    assert precision("small", "onnxruntime", precision="int8") == "int8"
    assert precision("small", "onnxruntime", precision="float32") == "float32"
    assert precision("small-int8", "onnxruntime") == "int8"
    assert precision("nano", "onnxruntime") == "float32"
    assert precision("small", "torch") == "float32"


@pytest.mark.parametrize(
    ("machine", "flags", "fast"),
    [
        ("x86_64", "fpu sse4_2 avx avx2", True),
        ("x86_64", "fpu sse4_2 avx", False),
        ("AMD64", "", True),
        ("aarch64", "fp asimd asimddp", True),
        ("aarch64", "fp asimd", False),
        ("riscv64", "", False),
    ],
)
def test_int8_is_preferred_by_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, machine: str, flags: str, fast: bool
) -> None:
    monkeypatch.setattr(cpu_features.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu_features, "_linux_flags", lambda: set(flags.split()))
    cpu_features.int8_is_fast.cache_clear()
    try:
        assert cpu_features.int8_is_fast() is fast
    finally:
        cpu_features.int8_is_fast.cache_clear()


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_opening_and_restoring_imports_no_torch(tiny_artifact: Path, name: str) -> None:
    if name not in HERE:
        pytest.skip(f"{name} is not installed")
    code = (
        "import sys, numpy as np; from whet.runtime import open_session;"
        f"open_session({str(tiny_artifact)!r}, {name!r}).restore(np.zeros((9, 9, 3), np.uint8));"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_runtime_in_the_table_opens(tiny_artifact: Path) -> None:
    for name in HERE:
        opened = open_session(tiny_artifact, runtime=name)
        assert (opened.runtime, opened.card.name) == (name, "tiny")
        assert opened.card.precision in RUNTIMES[name].precisions


# The border of the graph


def test_blocks_are_what_spacetodepth_makes(picture: MakePicture) -> None:
    image = picture(16, 24)
    blocks = to_blocks(image, 4)
    assert blocks.shape == (1, 4, 6, 48)
    for row, column, dy, dx, colour in np.ndindex(4, 6, 4, 4, 3):
        pixel = image[4 * row + dy, 4 * column + dx, colour]
        assert blocks[0, row, column, (4 * dy + dx) * 3 + colour] == pixel
    np.testing.assert_array_equal(from_blocks(blocks, 4), image)
    np.testing.assert_array_equal(from_blocks(to_blocks(image, 1), 1), image)


def test_graph_of_another_form_runs_too(tmp_path: Path, picture: MakePicture) -> None:
    """No blocks, no sum at the end: what a file from elsewhere may look like."""
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[range(3), range(3), 1, 1] = 0.5
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["degraded", "k"], ["half"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["half"], ["restored"]),
        ],
        "g",
        [helper.make_tensor_value_info("degraded", 1, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("restored", 1, [1, 3, "h", "w"])],
        [numpy_helper.from_array(kernel, "k")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    card = Card(name="h", architecture="h", multiple=1, halo=1, kmac_per_px=0, parameters=81)
    write_model(tmp_path / "half.onnx", model, card)
    image = picture(21, 34)
    for name in HERE:
        session = open_session(tmp_path / "half.onnx", runtime=name)
        assert np.abs(session.restore(image) - image / 2).max() <= 0.51, name
        assert np.abs(session.restore(image, 0.5) - image * 0.75).max() <= 0.51, name


@pytest.mark.parametrize("tail", Tail)
@pytest.mark.parametrize("strength", [True, False])
def test_graph_between_bytes_is_valid_and_leaves_the_file_alone(
    tiny_artifact: Path, tail: Tail, strength: bool
) -> None:
    model, _ = read_model(tiny_artifact)
    before = model.SerializeToString(deterministic=True)
    between = byte_graph(model, tail, strength=strength)
    onnx.checker.check_model(between.model, full_check=True)
    assert between.block == 4
    kinds = {node.op_type for node in between.model.graph.node}
    assert "SpaceToDepth" not in kinds, "pixels are shuffled outside, as bytes"
    assert model.SerializeToString(deterministic=True) == before


# Single runtimes


class Compilations:
    """OpenVINO with a count of what it compiles, in an engine whose thresholds fit small pictures.

    A size is worth a network of its own after 16 pictures of 16 x 16.
    """

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from whet.runtime import openvino_engine

        monkeypatch.setattr(openvino_engine, "WORTH_PX", 16 * 16 * 16)
        self.engine = openvino_engine.open_engine(read_model(model)[0], None)
        self.kept = openvino_engine.KEPT
        self.count = 0
        networks = self.engine._bytes.plain
        compile_model = networks._compile

        def counted(shape: tuple[int, ...] | None) -> Any:
            self.count += 1
            return compile_model(shape)

        monkeypatch.setattr(networks, "_compile", counted)

    def use(self, *heights: int) -> int:
        """Restore a picture of each height, 16 wide; return how many networks that compiled."""
        before = self.count
        for height in heights:
            image = np.zeros((height, 16, 3), np.uint8)
            assert self.engine.restore_bytes(image, 1).shape == image.shape
        return self.count - before


@pytest.fixture
def compilations(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Compilations:
    if "openvino" not in HERE:
        pytest.skip("OpenVINO is not installed")
    return Compilations(tiny_artifact, monkeypatch)


def test_openvino_compiles_for_sizes_that_return(compilations: Compilations) -> None:
    assert compilations.use(8) == 1, "the first size, for itself"
    assert compilations.use(16) == 1, "another size: one network for all"
    assert compilations.use(*[16] * 14, 24) == 0
    assert compilations.use(16) == 1, "a size that keeps coming"
    assert compilations.use(16, 8, 16, 24, 8) == 0


@pytest.mark.parametrize("sizes", [5, 7, 12, 30])
def test_sizes_that_take_turns_are_not_compiled_again(
    compilations: Compilations, sizes: int
) -> None:
    turns = [8 * i for i in range(1, sizes + 1)]
    compilations.use(*turns * 32)
    assert compilations.count == compilations.kept + 1
    assert compilations.use(*turns * 10, *turns[::-1] * 10) == 0


def test_a_size_that_stays_takes_the_place_of_one_that_went(compilations: Compilations) -> None:
    compilations.use(*[8, 16, 24, 32] * 32)
    assert compilations.use(*[64] * 40) == 1
    assert compilations.use(*[64, 8] * 40) <= 1


def test_torch_in_bfloat16_keeps_within_one_step(
    tiny_artifact: Path, student: nn.Module, picture: MakePicture
) -> None:
    """What a GPU computes in, here on the processor: only convolutions lose bits, not the skip."""
    from whet.runtime.torch_engine import ArtifactModule

    image = picture(48, 64)
    degraded = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    module = ArtifactModule(read_model(tiny_artifact)[0], torch.bfloat16)
    with torch.inference_mode():
        restored = module(degraded)
        change = (student(degraded).clamp(0, 1) - restored).abs().max()
    assert restored.dtype == torch.float32
    # bfloat16 keeps 8 bits: a residual of up to 0.5 is known to 1/512 after one rounding.
    assert change * 255 <= 3


def test_operator_that_a_runtime_does_not_know_is_named(
    tmp_path: Path, tiny_artifact: Path
) -> None:
    model, card = read_model(tiny_artifact)
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Sigmoid"
    write_model(tmp_path / "a.onnx", model, card)
    with pytest.raises(ModelError, match="PyTorch does not run Sigmoid"):
        open_session(tmp_path / "a.onnx", runtime="torch")
