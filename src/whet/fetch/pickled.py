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

__all__ = ["load_arrays"]

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
