"""What the graph of a model file may hold: operators, sizes, names.

A model file may come from a stranger, and a runtime does what its graph says: a kilobyte can ask
for gigabytes. So before any runtime sees it, :func:`admit` goes through the graph once. Only the
operators of :data:`OPERATORS` are taken, each tensor is made once and before it is used, the size
of every tensor follows from the picture's and stays within bounds, and so does the work. What is
refused here was not written by whet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from whet.errors import ModelError

if TYPE_CHECKING:
    import onnx

__all__ = ["OPERATORS", "admit", "in_short", "is_text", "shown"]

OPERATORS = frozenset({
    # What the students that come with whet are made of.
    "Add", "Clip", "Conv", "DepthToSpace", "Relu", "SpaceToDepth", "Sub",
    # What becomes of them in 8-bit integers.
    "DequantizeLinear", "QuantizeLinear",
    # What a network needs that looks at the whole picture first, and PyTorch's exporter besides.
    "AveragePool", "Cast", "Concat", "Constant", "Div", "Flatten", "Gather", "Gemm",
    "GlobalAveragePool", "Identity", "LeakyRelu", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg",
    "PRelu", "Pad", "Pow", "ReduceMax", "ReduceMean", "Reshape", "Resize", "Shape", "Sigmoid",
    "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Tanh", "Transpose", "Unsqueeze",
})  # fmt: skip
"""The operators that a graph may hold. A new one is one word here: its sizes are ONNX's to tell."""

MAX_NODES = 2000
MAX_NAME = 200
"""Letters of the name of a tensor."""

LARGE_PX = 1536
"""Side of the largest window that a session gives to a network; see ``whet.runtime.tiling``."""

MAX_LIVE_BYTES = 4 * 2**30
"""What a window of :data:`LARGE_PX` squared may hold at any time. The founding student, with 64
channels at full size, takes 1.2 GB."""

MAX_BYTES_ALONE = 64 * 2**20
"""The same for the smallest picture: whatever does not grow with the picture."""

MAX_KMAC_PER_PX = 10_000
"""Multiply-accumulates in thousands. Restormer, no real-time network, takes 2,136."""

# ONNX's number of a type -> bytes per element.
_BYTES: Mapping[int, int] = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}

_FLOAT = 1
_KNOWN_VALUES = 64  # a constant of so many may tell a shape
_MAX_JOINED = 1024
_PRODUCTS = ("Conv", "Gemm", "MatMul")

Tensor = tuple[int, tuple[int, ...]]


def is_text(text: str, most: int) -> bool:
    """Whether ``text`` is one line that a terminal shows as it is, of at most ``most`` letters."""
    return len(text) <= most and text.isprintable()


def shown(text: str, most: int = 200) -> str:
    """Return the first line of ``text`` as a message may quote it: printable, and cut short."""
    line = (text.strip().splitlines() or [""])[0]
    clean = "".join(letter if letter.isprintable() else "?" for letter in line[:most])
    return clean if len(line) <= most else f"{clean[: most - 4]} ..."


def in_short(value: object) -> str:
    """Return ``value`` as Python writes it, fit for a message."""
    return shown(repr(value), 60)


def admit(model: onnx.ModelProto, multiple: int) -> None:
    """Refuse a graph that whet would not have written.

    Args:
        model: with the one input and the one output of a model file.
        multiple: of which height and width are, in pixels.

    Raises:
        ModelError: an operator, a name, the wiring, a size or the work is out of bounds, or the
            output does not have the size of the input.
    """
    graph = model.graph
    if unknown := sorted({node.op_type for node in graph.node} - OPERATORS):
        raise ModelError(
            f"holds {in_short(unknown[0])}, an operator that whet does not run; export it again"
        )
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"holds more than {MAX_NODES} operators, so it is not run")
    _check_wiring(graph)
    _check_constants(graph)
    stub = _without_weights(model)
    most = max(1, LARGE_PX // multiple)
    # A window is square, or as long as the picture is narrow.
    for rows, columns in ((1, 1), (most, most), (1, most**2), (most**2, 1)):
        height, width = rows * multiple, columns * multiple
        tensors = _tensors(stub, height, width)
        alone = rows == columns == 1
        limit = MAX_BYTES_ALONE if alone else MAX_LIVE_BYTES
        if _live_bytes(graph, tensors) > limit:
            raise ModelError(
                f"takes more than {limit >> 20} MiB for {width} x {height} pixels; it is not run"
            )
        if not alone and _macs(graph, tensors) > 1000 * MAX_KMAC_PER_PX * height * width:
            raise ModelError(
                f"computes more than {MAX_KMAC_PER_PX} kMAC per pixel, so it is not run"
            )


def _check_wiring(graph: onnx.GraphProto) -> None:
    """Refuse names that cannot be shown, and tensors that are made twice or used too early."""
    given = [value.name for value in (*graph.input, *graph.initializer)]
    made = [name for node in graph.node for name in node.output if name]
    used = {name for node in graph.node for name in node.input if name}
    for name in (*given, *made):
        if not is_text(name, MAX_NAME):
            raise ModelError(f"has a tensor called {in_short(name)}; export it again")
    if len({*given, *made}) < len(given) + len(made):
        raise ModelError("makes a tensor twice, so it is not run; export it again")
    known = set(given)
    for node in graph.node:
        if early := [name for name in node.input if name and name not in known]:
            raise ModelError(
                f"uses {in_short(early[0])} before it is made, so it is not run; export it again"
            )
        known.update(node.output)
    if graph.input[0].name not in used or graph.output[0].name not in made:
        raise ModelError("does not make its output from its input; export it again")


def _check_constants(graph: onnx.GraphProto) -> None:
    """Refuse constants that grow: inferring sizes computes with them, whatever they come to."""
    counts = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Shape":
            count = 8
        elif all(name in counts for name in inputs):
            sizes = [counts[name] for name in inputs]
            count = sum(sizes) if node.op_type == "Concat" else max(sizes, default=0)
        else:
            continue
        if node.op_type == "Concat" and count > _MAX_JOINED:
            raise ModelError(f"joins constants to more than {_MAX_JOINED} values; it is not run")
        counts.update(dict.fromkeys(node.output, count))


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy to infer sizes with: weights have a shape only, and nothing is claimed."""
    import onnx

    stub = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = stub.graph
    graph.name = "sizes"
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.node.extend(model.graph.node)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _KNOWN_VALUES:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    graph.output[0].type.tensor_type.ClearField("shape")
    return stub


def _tensors(stub: onnx.ModelProto, height: int, width: int) -> dict[str, Tensor]:
    """Return element type and shape of every tensor for a picture of a size.

    Raises:
        ModelError: one cannot be told, is of another type, or the output is no such picture.
    """
    import onnx

    graph = stub.graph
    whole = (1, 3, height, width)
    given = graph.input[0].type.tensor_type.shape
    given.CopyFrom(onnx.TensorShapeProto())
    for side in whole:
        given.dim.add(dim_value=side)
    try:
        told = onnx.shape_inference.infer_shapes(
            stub, check_type=True, strict_mode=True, data_prop=True
        ).graph
    except Exception as error:  # it raises errors of several classes that share no narrower base
        raise ModelError(f"is no valid graph ({shown(str(error))}); export it again") from error
    tensors = {t.name: (t.data_type, tuple(t.dims)) for t in graph.initializer}
    for value in (*told.input, *told.value_info, *told.output):
        kind = value.type.tensor_type
        sides = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        tensors[value.name] = (kind.elem_type, tuple(sides))
    for name in (n for node in graph.node for n in node.output if n):
        element, shape = tensors.get(name, (0, (-1,)))
        if element not in _BYTES or min(shape, default=0) < 0:
            raise ModelError(f"leaves the size or type of {in_short(name)} open; it is not run")
    made = tensors[graph.output[0].name]
    if made != (_FLOAT, whole):
        raise ModelError(f"makes {made[1]} of a picture of {whole}, so it is not run")
    return tensors


def _live_bytes(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> int:
    """Return the most that is needed at once, each tensor kept until its last use."""
    last_use = {name: i for i, node in enumerate(graph.node) for name in node.input}
    given = (*graph.input, *graph.initializer)
    held = most = sum(_bytes(tensors[value.name]) for value in given)
    for index, node in enumerate(graph.node):
        held += sum(_bytes(tensors[name]) for name in node.output if name)
        most = max(most, held)
        gone = {n for n in (*node.input, *node.output) if n and last_use.get(n, index) == index}
        held -= sum(_bytes(tensors[name]) for name in gone)
    return most


def _bytes(tensor: Tensor) -> int:
    kind, shape = tensor
    return _BYTES.get(kind, 8) * math.prod(shape)


def _macs(graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> int:
    """Return the multiply-accumulates of all convolutions and matrix products."""
    total = 0
    for node in graph.node:
        if node.op_type in _PRODUCTS:
            _, weights = tensors[node.input[1]]
            _, result = tensors[node.output[0]]
            each = math.prod(weights[1:]) if node.op_type == "Conv" else max(weights, default=0)
            total += math.prod(result) * each
    return total
