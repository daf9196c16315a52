"""Checkpoints are untrusted: what loads, what is refused, and what the refusal says."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from whet.errors import ModelError
from whet.models.checkpoints import load_state, load_strict


def saved(tmp_path: Path, content: Any, name: str = "weights.pth", **options: Any) -> Path:
    path = tmp_path / name
    torch.save(content, path, **options)
    return path


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


def test_plain_state_dict_comes_back_unchanged(tmp_path: Path, state: dict[str, Tensor]) -> None:
    assert_same(load_state(saved(tmp_path, OrderedDict(state))), state)


def test_legacy_pickle_format_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = saved(tmp_path, state, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    assert_same(load_state(path), state)


def test_safetensors_is_recognised_by_content(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "misnamed.pth"
    path.write_bytes(safetensors_bytes(state))
    assert_same(load_state(path), state)


@pytest.mark.parametrize(
    "wrapper", ["params", "params_ema", "state_dict", "model", "model_state_dict"]
)
def test_wrapper_is_opened(tmp_path: Path, state: dict[str, Tensor], wrapper: str) -> None:
    assert_same(load_state(saved(tmp_path, {wrapper: state, "epoch": 3})), state)


def test_averaged_weights_win_over_raw_ones(tmp_path: Path) -> None:
    content = {"params": {"w": torch.zeros(2)}, "params_ema": {"w": torch.ones(2)}}
    assert load_state(saved(tmp_path, content))["w"].tolist() == [1, 1]


def test_nested_wrappers_and_prefixes_are_removed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrapped = {f"module._orig_mod.{key}": tensor for key, tensor in state.items()}
    assert_same(load_state(saved(tmp_path, {"state_dict": {"params": wrapped}})), state)


def test_prefix_of_only_some_keys_stays(tmp_path: Path) -> None:
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert load_state(saved(tmp_path, mixed)).keys() == mixed.keys()


def test_parameters_come_back_without_gradient(tmp_path: Path) -> None:
    loaded = load_state(saved(tmp_path, {"w": nn.Parameter(torch.ones(2))}))
    assert not loaded["w"].requires_grad


# Refusals


class Intruder:
    """Unpickled without care, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_the_intruder_is_dangerous(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    pickle.loads(pickle.dumps(Intruder(target)))
    assert target.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "touched"
    content = {"w": torch.zeros(1), "x": Intruder(target)}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"not opened; re-save only the weights"):
        load_state(path)
    assert not target.exists()


def test_hostile_raw_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Intruder(target), protocol=2))
    with pytest.raises(ModelError):
        load_state(path)
    assert not target.exists()


def test_whole_module_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.state_dict\(\)"):
        load_state(saved(tmp_path, nn.Linear(2, 2)))


def test_mapping_that_contains_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["params"] = loop
    with pytest.raises(ModelError, match="not a named tensor"):
        load_state(saved(tmp_path, loop))


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_file_is_refused(
    tmp_path: Path, state: dict[str, Tensor], kind: str, fraction: float
) -> None:
    if kind == "safetensors":
        content = safetensors_bytes(state)
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=kind == "zip")
        content = buffer.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(content[: max(1, int(len(content) * fraction))])
    with pytest.raises(ModelError):
        load_state(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!doctype html><title>Sign in</title>", "not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a checkpoint"),
        (b"PK\x03\x04" + bytes(64), "damaged"),
        (b"\xff" * 8 + b"{" + b"}" * 64, "damaged safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a checkpoint"),
    ],
)
def test_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_state(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(ModelError, match="no such weights file"):
            load_state(path)


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], torch.zeros(1), {"params": {}}])
def test_file_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        load_state(saved(tmp_path, content))


def test_entry_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'epoch' is a int"):
        load_state(saved(tmp_path, {"w": torch.zeros(1), "epoch": 3}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_that_is_not_finite_is_refused(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    bad = torch.zeros(5, dtype=dtype)
    bad[3] = value
    with pytest.raises(ModelError, match="b holds values that are not finite"):
        load_state(saved(tmp_path, {"a": torch.ones(1), "b": bad}))


def test_small_file_that_claims_a_huge_tensor_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"w": torch.zeros(1).expand(2**42)})
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match="more than the file holds"):
        load_state(path)


def test_sparse_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a plain dense tensor"):
        load_state(saved(tmp_path, {"w": torch.eye(3).to_sparse()}))


def test_digest_is_compared_before_parsing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = saved(tmp_path, state)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert_same(load_state(path, sha256=digest.upper()), state)
    path.write_bytes(b"not even a checkpoint")
    with pytest.raises(ModelError, match=f"expected {digest}"):
        load_state(path, sha256=digest)


# Strict loading


def test_strict_loading_copies_converts_and_renames() -> None:
    module = nn.Linear(2, 3)
    state = {
        "net.weight": torch.ones(3, 2, dtype=torch.float16),
        "net.bias": torch.full((3,), 0.5, dtype=torch.float64),
    }
    load_strict(module, state, "file", rename=lambda key: key.removeprefix("net."))
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, torch.ones(3, 2))
    assert module.bias.tolist() == [0.5, 0.5, 0.5]


def test_mismatch_lists_every_kind_and_changes_nothing() -> None:
    module = nn.Linear(2, 3)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    state = {"weight": torch.zeros(3, 5), "extra": torch.zeros(1)}
    with pytest.raises(ModelError) as caught:
        load_strict(module, state, "some.pth")
    message = str(caught.value)
    assert "some.pth does not fit Linear" in message
    assert "1 missing (bias)" in message
    assert "1 unexpected (extra)" in message
    assert "weight is (3, 5) instead of (3, 2)" in message
    assert_same(module.state_dict(), before)


def test_long_lists_of_keys_are_cut() -> None:
    state = {f"key{i}": torch.zeros(1) for i in range(40)}
    with pytest.raises(ModelError, match=r"40 unexpected \(key0, key1, key2, \.\.\.\)"):
        load_strict(nn.Identity(), state, "some.pth")


def test_rename_that_merges_two_keys_is_refused() -> None:
    state = {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match="map to one name"):
        load_strict(nn.Identity(), state, "some.pth", rename=lambda key: "weight")
