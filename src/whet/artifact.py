"""The self-describing model file: one ``.onnx`` that carries its own card.

Workshop and counter meet only here. Graph: input ``degraded`` and output
``restored``, float32 (1, 3, height, width) RGB in [0, 1], height and width
multiples of :attr:`Card.multiple`, the output clamped. The card
(:class:`~whet.card.Card`) is one JSON object in the file's metadata under :data:`KEY`.

A model file may come from anywhere, so nothing in it is believed: a file that
is too large, truncated, not ONNX, refers to data outside itself, whose graph
:mod:`whet.operators` does not admit, that has no card, or whose weights are not
finite or do not hash to what the card says, is refused with
:class:`~whet.errors.ModelError`. The hash finds damage and mix-ups; it cannot
stop someone who also rewrites the card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whet.card import SCHEMA, Card, Precision
from whet.errors import ModelError
from whet.files import replacing
from whet.operators import admit, in_short

if TYPE_CHECKING:
    import onnx

__all__ = [
    "CODE",
    "INPUT",
    "KEY",
    "MAX_BYTES",
    "OUTPUT",
    "SCHEMA",
    "Card",
    "Precision",
    "read_card",
    "read_model",
    "resolve",
    "shipped",
    "verify",
    "write_card",
    "write_model",
]

KEY = "whet.card"
INPUT = "degraded"
OUTPUT = "restored"
CODE = "code"
"""Name of the tensor between look and restorer, where a model looks before it restores."""

MAX_BYTES = 16 * 2**20
"""Largest model file that is opened. The founding student, the heaviest, takes 2.3 MB."""

_WEIGHTS = Path(__file__).with_name("weights")
_INT8 = "-int8"


def read_model(path: Path) -> tuple[onnx.ModelProto, Card]:
    """Read and verify a model file.

    Returns:
        The graph, exactly as verified, and its card.

    Raises:
        ModelError: see the module's first paragraphs; the message names the file.
    """
    try:
        model = _parse(_read_bytes(path))
        text = next((p.value for p in model.metadata_props if p.key == KEY), None)
        if text is None:
            raise ModelError("it has no whet card; make model files with: whet export")
        card = Card.from_json(text)
        if _weights_sha256(model) != card.weights_sha256:
            raise ModelError("its weights are not those its card describes; fetch it again")
        _check_numbers(model)
        admit(model, card.multiple)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return model, card


def read_card(path: Path) -> Card:
    """Return the card of a model file after verifying the file. Raises as :func:`read_model`."""
    return read_model(path)[1]


def verify(path: Path) -> Card:
    """Verify a model file as :func:`read_model` does, and its graph by ONNX's own checker.

    Raises:
        ModelError: the file cannot be trusted.
    """
    import onnx

    model, card = read_model(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: not a valid graph ({first}); export it again") from error
    return card


def write_model(path: Path, model: onnx.ModelProto, card: Card) -> Card:
    """Write ``model`` with ``card`` in it, atomically.

    Returns:
        The card as written: its ``weights_sha256`` is that of ``model``.

    Raises:
        ModelError: the result would be refused by :func:`read_model`.
        InputError: it cannot be written.
    """
    import onnx

    card = replace(card, weights_sha256=_weights_sha256(model))
    Card.from_json(card.to_json())
    sealed = onnx.ModelProto()
    sealed.CopyFrom(model)
    del sealed.metadata_props[:]
    sealed.metadata_props.add(key=KEY, value=card.to_json())
    data = sealed.SerializeToString(deterministic=True)
    admit(_parse(data), card.multiple)
    with replacing(path, overwrite=True) as temporary:
        temporary.write_bytes(data)
    return card


def write_card(path: Path, card: Card) -> Card:
    """Replace the card of an existing model file, atomically, and return it as written.

    Raises:
        ModelError: the file cannot be trusted.
    """
    model, _ = read_model(path)
    return write_model(path, model, card)


def shipped() -> Mapping[str, Path]:
    """Return the model files in the package: name -> path. An int8 one is ``NAME-int8``."""
    return {path.stem: path for path in sorted(_WEIGHTS.glob("*.onnx"))}


def resolve(model: str | Path, precision: Precision | None = None) -> Path:
    """Return the file that ``model`` means.

    Args:
        model: the name of a shipped model (``small``, ``small-int8``), or the path of a file.
        precision: for a plain name, which of its two files to take. None takes the float one,
            or the only one there is.

    Raises:
        ModelError: there is no such file, or not in that precision.
    """
    files = shipped()
    name = str(model)
    if name.lower().removesuffix(_INT8) in {file.removesuffix(_INT8) for file in files}:
        name = name.lower()  # Small and small are one; a path keeps its letters
    if precision is None:
        candidates = [name, name + _INT8]
    else:
        candidates = [name + _INT8 if precision == "int8" else name]
    for candidate in candidates:
        if candidate in files:
            return files[candidate]
    if Path(name).is_file():
        return Path(name)
    if name in files or name + _INT8 in files:
        raise ModelError(f"{name} is not shipped in {precision}; leave the precision open")
    known = ", ".join(files) or "none"
    raise ModelError(f"no model {name!r}; give a shipped one ({known}) or the path of a .onnx file")


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelError("there is no such file; list models with: whet models") from error
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror}); check the path") from error
    if len(data) > MAX_BYTES:
        raise ModelError(f"larger than {MAX_BYTES >> 20} MiB, so not a model of whet")
    return data


def _parse(data: bytes) -> onnx.ModelProto:
    """Return the graph in ``data`` if it keeps the contract of this module."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError("not an ONNX file, or cut short; fetch it again") from error
    graph = model.graph
    if not model.ir_version or not graph.node:
        raise ModelError("not an ONNX file; fetch it again")
    if any(
        t.data_location == onnx.TensorProto.EXTERNAL or t.external_data for t in _tensors(graph)
    ):
        raise ModelError("keeps weights in another file; export it again as one file")
    plain = all(node.domain in ("", "ai.onnx") for node in graph.node)
    if model.functions or graph.sparse_initializer or not plain or _has_subgraph(graph):
        raise ModelError("holds more than plain operators, so it is not run; export it again")
    names = ([v.name for v in graph.input], [v.name for v in graph.output])
    if names != ([INPUT], [OUTPUT]):
        raise ModelError(f"has not one input {INPUT!r} and one output {OUTPUT!r}; export it again")
    for value in (graph.input[0], graph.output[0]):
        tensor = value.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        if tensor.elem_type != onnx.TensorProto.FLOAT or shape[1:2] != [3] or len(shape) != 4:
            raise ModelError(f"its {value.name!r} is not float32 (1, 3, height, width)")
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _has_subgraph(graph: onnx.GraphProto) -> bool:
    return any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)


def _weights_sha256(model: onnx.ModelProto) -> str:
    """Hash name, type, shape and values of every initialiser, in order of name."""
    from onnx import numpy_helper

    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda t: cast(str, t.name)):
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
            name = in_short(tensor.name)
            raise ModelError(f"its weight {name} is damaged; fetch it again") from error
        digest.update(f"{tensor.name}:{values.dtype.str}:{values.shape};".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _check_numbers(model: onnx.ModelProto) -> None:
    """Refuse weights that are not finite: a picture restored with them is black."""
    import numpy as np
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise ModelError(
                f"its weight {in_short(tensor.name)} holds no numbers; export it again"
            )
