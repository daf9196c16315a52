"""Checkpoints of old PyTorch are read without PyTorch, and without running what they say."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from whet.errors import ModelError
from whet.fetch.pickled import load_old_checkpoint
from whet.fetch.weights import FETCHABLE


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_tensors_are_those_that_pytorch_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {"alpha": torch.rand(1, 1475, 1, 1), "beta": torch.rand(1, 1475, 1, 1)}
    with zipfile.ZipFile(tmp_path / "dists.whl", "w") as wheel:
        wheel.writestr("DISTS_pytorch/weights.pt", saved(tensors))
    read = FETCHABLE["dists"].convert(tmp_path / "dists.whl")
    assert set(read) == {"alpha", "beta"}
    assert all(np.array_equal(read[name], tensor.numpy()) for name, tensor in tensors.items())
    assert sum(array.size for array in read.values()) == FETCHABLE["dists"].parameters


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


def test_a_checkpoint_that_wants_to_run_something_is_refused() -> None:
    for content in (pickle.dumps(Hostile()), 3 * pickle.dumps(0) + pickle.dumps(Hostile())):
        with pytest.raises(ModelError, match="eval; it was not read"):
            load_old_checkpoint(content)


def test_damaged_and_shared_tensors_are_refused() -> None:
    whole = saved({"alpha": torch.rand(30)})
    with pytest.raises(ModelError, match="ends before its values do"):
        load_old_checkpoint(whole[:-5])
    with pytest.raises(ModelError, match="damaged"):
        load_old_checkpoint(whole[:40])
    with pytest.raises(ModelError, match="part of another"):
        load_old_checkpoint(saved({"alpha": torch.rand(30)[5:]}))
