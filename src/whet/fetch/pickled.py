"""Read a pickle of numpy arrays without running anything that it says.

A pickle is a program. This reader knows the three names that an array needs
and answers them with inert stand-ins of its own, so that not even numpy sees
the file's claims before they were checked; any other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ModelError

__all__ = ["load_arrays", "load_old_checkpoint"]

Array = NDArray[Any]

_PLAIN_DTYPES = ("f2", "f4", "f8", "i4", "i8", "u1")


def load_arrays(content: bytes) -> dict[str, Array]:
    """Return the arrays of pickled nested dictionaries; keys are their paths, joined by dots.

    Raises:
        ModelError: the pickle is damaged, names anything but arrays of plain
            numbers, or holds anything else than dictionaries of them.
    """
    try:
        tree = _ArrayUnpickler(io.BytesIO(content)).load()
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle fails in any way that it likes
        raise ModelError(f"the pickle is damaged: {error!r}") from error
    return dict(_walk(tree, ""))


def _walk(node: object, path: str) -> list[tuple[str, Array]]:
    if isinstance(node, _PickledArray) and node.array is not None:
        return [(path, node.array)]
    if not isinstance(node, Mapping):
        raise ModelError(f"the pickle holds a {type(node).__name__} at {path or 'its top'!r}")
    return [
        item
        for name, child in node.items()
        for item in _walk(child, f"{path}.{name}" if path else str(name))
    ]


class _PickledDtype:
    """Stands in for ``numpy.dtype``; takes a plain number type, ignores the rest."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _PLAIN_DTYPES:
            raise ModelError(f"the pickle holds an array of type {code!r}, not of plain numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


class _PickledArray:
    """Stands in for the empty array that a pickle creates first and fills then."""

    array: Array | None = None

    def __init__(self, *_: object) -> None:
        """The arguments (type, shape, type code) are placeholders in every real pickle."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if not isinstance(kind, _PickledDtype) or not isinstance(content, bytes):
            raise ModelError("the pickle holds an array of objects")
        if math.prod(shape) * kind.dtype.itemsize != len(content):
            raise ModelError("the pickle holds an array whose size and content disagree")
        flat = np.frombuffer(content, kind.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _PickledArray
        if (module, name) == ("numpy", "ndarray"):
            return object  # only ever an argument of the above
        if (module, name) == ("numpy", "dtype"):
            return _PickledDtype
        raise ModelError(f"the pickle wants to use {module}.{name}; it was not read")


def load_old_checkpoint(content: bytes) -> dict[str, Array]:
    """Return the float32 tensors of a dictionary saved by PyTorch before its version 1.6.

    Such a file is four pickles (a magic number, a version, sizes of types, the dictionary), a
    pickled list of storages, and then each storage: its length in eight bytes, and its values.

    Raises:
        ModelError: the file is damaged, or holds anything but whole contiguous float32 tensors.
    """
    stream = io.BytesIO(content)
    try:
        for _ in range(3):
            _StorageUnpickler(stream).load()
        tensors = _StorageUnpickler(stream).load()
        values = {key: _storage(stream) for key in _StorageUnpickler(stream).load()}
        return {name: values[t.storage].reshape(t.shape) for name, t in tensors.items()}
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle fails in any way that it likes
        raise ModelError(f"the checkpoint is damaged: {error!r}") from error


def _storage(stream: io.BytesIO) -> Array:
    count = int.from_bytes(stream.read(8), "little")
    values = stream.read(4 * count)
    if len(values) != 4 * count:
        raise ModelError("the checkpoint ends before its values do")
    return np.frombuffer(values, "<f4")


class _StoredTensor:
    """Stands in for PyTorch's function that makes a tensor of a storage."""

    def __init__(self, storage: str, offset: int, shape: tuple[int, ...], *_: object) -> None:
        if offset:
            raise ModelError("the checkpoint holds a tensor that is part of another")
        self.storage, self.shape = storage, shape


class _StorageUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known: Mapping[tuple[str, str], Any] = {
            ("torch._utils", "_rebuild_tensor_v2"): _StoredTensor,
            ("torch", "FloatStorage"): object,  # only ever an argument of the above
            ("collections", "OrderedDict"): dict,
        }
        if (module, name) not in known:
            raise ModelError(f"the pickle wants to use {module}.{name}; it was not read")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Return the key of a storage, ("storage", type, key, device, length, view)."""
        return pid[2]
