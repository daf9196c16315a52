"""Model files from strangers: what asks for too much, or is no restoration, is refused at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from commandline import whet
from whet.artifact import INPUT, KEY, OUTPUT, Card, read_model
from whet.errors import ModelError
from whet.operators import OPERATORS, shown
from whet.runtime import available, open_session

CARD = Card(name="a", architecture="x", multiple=8, halo=8, kmac_per_px=1, parameters=1)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def model_file(
    path: Path, nodes: list[onnx.NodeProto], card: dict[str, Any] | None = None, **constants: Any
) -> Path:
    """Write a file whose card and hash fit its graph, past everything that whet checks."""
    from whet.artifact import _weights_sha256

    shape: list[str | int | None] = [1, 3, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    said = json.loads(CARD.to_json()) | {"weights_sha256": _weights_sha256(model)} | (card or {})
    model.metadata_props.add(key=KEY, value=json.dumps(said))
    path.write_bytes(model.SerializeToString())
    return path


KERNEL = np.zeros((3, 3, 1, 1), np.float32)
KERNEL[range(3), range(3)] = 1
LONG = np.array([2**28], np.int64)
HUGE = np.float32(1e30)

WRONG: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "a constant without bound": (
        [node("ConstantOfShape", "n", "c"), node("Add", f"{INPUT} c", OUTPUT)],
        {"n": LONG},
        "'ConstantOfShape', an operator",
    ),
    "a long range": (
        [node("Range", "z n o", "r"), node("Identity", INPUT, OUTPUT)],
        {"z": np.int64(0), "n": np.int64(2**30), "o": np.int64(1)},
        "'Range', an operator",
    ),
    "expanding": (
        [node("Expand", f"{INPUT} n", OUTPUT)],
        {"n": np.array([1, 3, 2**15, 2**15])},
        "'Expand', an operator",
    ),
    "tiling": (
        [node("Tile", f"{INPUT} n", OUTPUT)],
        {"n": np.array([1, 1, 999, 999])},
        "'Tile', an operator",
    ),
    "doubling over and over": (
        [
            node("Concat", "c c", "c0", axis=0),
            *(node("Concat", f"c{i} c{i}", f"c{i + 1}", axis=0) for i in range(30)),
            node("ReduceMax", "c30", "m", keepdims=0),
            node("Add", f"{INPUT} m", OUTPUT),
        ],
        {"c": np.zeros(8, np.float32)},
        "joins constants",
    ),
    "padding without end": (
        [node("Pad", f"{INPUT} p", "w"), node("Slice", "w s e a", OUTPUT)],
        {
            "p": np.array([0, 0, 0, 0, 0, 0, 20_000, 20_000]),
            "s": np.array([0, 0]),
            "e": np.array([8, 8]),
            "a": np.array([2, 3]),
        },
        "more than 64 MiB",
    ),
    "channels without end": (
        [node("Conv", f"{INPUT} k", "w"), node("Conv", "w l", OUTPUT)],
        {"k": np.ones((900, 3, 1, 1), np.float32), "l": np.ones((3, 900, 1, 1), np.float32)},
        "more than 4096 MiB",
    ),
    "work without end": (
        [
            node("Conv", f"{INPUT} k", "v0", pads=[7] * 4),
            *(node("Conv", f"v{i} l", f"v{i + 1}", pads=[7] * 4) for i in range(60)),
            node("Conv", "v60 m", OUTPUT, pads=[7] * 4),
        ],
        {
            "k": np.ones((48, 3, 15, 15), np.float32),
            "l": np.ones((48, 48, 15, 15), np.float32),
            "m": np.ones((3, 48, 15, 15), np.float32),
        },
        "kMAC per pixel",
    ),
    "a product of lines": (
        [
            node("Transpose", INPUT, "t", perm=[0, 1, 3, 2]),
            node("MatMul", f"t {INPUT}", "p"),
            node("MatMul", f"{INPUT} p", OUTPUT),
        ],
        {},
        "more than 4096 MiB|kMAC",
    ),
    "a circle": (
        [node("Add", f"{INPUT} b", "a"), node("Relu", "a", "b"), node("Relu", "b", OUTPUT)],
        {},
        "before it is made",
    ),
    "a tensor made twice": (
        [node("Relu", INPUT, "a"), node("Relu", "a", "a"), node("Relu", "a", OUTPUT)],
        {},
        "twice",
    ),
    "a constant in place of the picture": (
        [node("Relu", INPUT, OUTPUT)],
        {INPUT: np.zeros((1, 3, 8, 8), np.float32)},
        "twice",
    ),
    "an output of nothing": ([node("Relu", INPUT, "a")], {}, "does not make its output"),
    "a picture half the size": (
        [node("AveragePool", INPUT, OUTPUT, kernel_shape=[2, 2], strides=[2, 2])],
        {},
        "so it is not run",
    ),
    "an output that does not depend on the size": (
        [node("Relu", INPUT, "a"), node("Reshape", "a n", OUTPUT)],
        {"n": np.array([1, 3, 8, 8])},
        "no valid graph|so it is not run",
    ),
    "blocks that the multiple does not hold": (
        [
            node("SpaceToDepth", INPUT, "a", blocksize=16),
            node("DepthToSpace", "a", OUTPUT, blocksize=16),
        ],
        {},
        "so it is not run|no valid graph",
    ),
    "text for numbers": ([node("Cast", INPUT, OUTPUT, to=TensorProto.STRING)], {}, "graph|type"),
    "a weight that is no number": (
        [node("Conv", f"{INPUT} k", OUTPUT)],
        {"k": KERNEL * np.nan},
        "holds no numbers",
    ),
    "an escape in a name": (
        [node("Relu", INPUT, "a\x1b[2J"), node("Relu", "a\x1b[2J", OUTPUT)],
        {},
        r"called 'a\\x1b",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_graph_that_whet_would_not_write_is_refused(case: str, tmp_path: Path) -> None:
    nodes, constants, message = WRONG[case]
    path = model_file(tmp_path / "a.onnx", nodes, **constants)
    with pytest.raises(ModelError, match=message) as refused:
        read_model(path)
    assert str(refused.value).isprintable()


NO_NUMBERS = [
    node("Sub", f"{INPUT} o", "n"),
    node("Sqrt", "n", "q"),
    node("Clip", "q z o", OUTPUT),
]


@pytest.mark.parametrize("runtime", [name for name in available() if name != "torch"])
def test_a_model_that_makes_no_numbers_is_refused_before_a_picture_is_black(
    tmp_path: Path, runtime: str
) -> None:
    limits = {"o": np.float32(1), "z": np.float32(0)}
    cases: list[tuple[str, list[onnx.NodeProto], dict[str, Any]]] = [
        ("root", [*NO_NUMBERS[:2], node("Identity", "q", OUTPUT)], {"o": np.float32(1)}),
        (
            "overflow",
            [node("Mul", f"{INPUT} h", "a"), node("Mul", "a h", "b"), node("Sub", "b b", OUTPUT)],
            {"h": HUGE},
        ),
        ("twice as bright", [node("Add", f"{INPUT} o", OUTPUT)], {"o": limits["o"]}),
    ]
    for name, nodes, constants in cases:
        path = model_file(tmp_path / f"{name}.onnx", nodes, **constants)
        with pytest.raises(ModelError, match="no numbers"):
            open_session(path, runtime=runtime)


def test_what_a_runtime_stumbles_over_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    nodes = [node("Gather", f"{INPUT} i", OUTPUT, axis=1)]
    path = model_file(tmp_path / "a.onnx", nodes, i=np.array([0, 1, 99]))
    with pytest.raises(ModelError, match=r"a\.onnx: onnxruntime cannot run it"):
        open_session(path, runtime="onnxruntime")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "n" * 100_000},
        {"name": "nano\x1b]0;owned\x07"},
        {"name": "na\u202eno"},
        {"recipe": "line\nline"},
        {"recipe": "r" * 3000},
        {"data": ["d"] * 101},
        {"known_failures": ["\x1b[31mred"]},
        {"scores": {"\x1b[2J": {"psnr": 1}}},
        {"scores": {"s": {str(i): 1 for i in range(101)}}},
        {"hours": 10**400},
        {"halo": 10**9},
    ],
)
def test_card_that_a_terminal_must_not_show_is_refused(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    path = model_file(tmp_path / "a.onnx", [node("Relu", INPUT, OUTPUT)], fields)
    with pytest.raises(ModelError, match="card") as refused:
        read_model(path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400 + len(str(path))


def test_commands_refuse_what_the_library_refuses(tmp_path: Path) -> None:
    wild = model_file(tmp_path / "a.onnx", *WRONG["a circle"][:1])
    for words in (
        ("image", tmp_path / "p.png", "--model", wild),
        ("models", wild),
        ("serve", "--model", wild, "--port", 0),
        ("live", "--camera", tmp_path / "p.mp4", "--to", tmp_path / "o.mp4", "--model", wild),
    ):
        outcome = whet(*words)
        assert outcome.code == 2, words
        assert "Traceback" not in outcome.err


def test_a_look_at_the_whole_picture_is_admitted(tmp_path: Path) -> None:
    """A code from a small view of the picture, enlarged again and multiplied in."""
    nodes = [
        node("SpaceToDepth", INPUT, "blocks", blocksize=4),
        node("AveragePool", "blocks", "small", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "small", "mean"),
        node("Conv", "mean k", "code"),
        node("Softmax", "code", "shares", axis=1),
        node("Tanh", "small", "bent"),
        node("Mul", "bent shares", "map"),
        node("Resize", "map nothing scales", "large", mode="linear"),
        node("Add", "large blocks", "sum"),
        node("Clip", "sum z o", "bounded"),
        node("DepthToSpace", "bounded", OUTPUT, blocksize=4),
    ]
    path = model_file(
        tmp_path / "a.onnx",
        nodes,
        k=np.full((48, 48, 1, 1), 0.01, np.float32),
        nothing=np.zeros(0, np.float32),
        scales=np.array([1, 1, 2, 2], np.float32),
        z=np.float32(0),
        o=np.float32(1),
    )
    read_model(path)
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for runtime in available():
        if runtime != "torch":
            assert open_session(path, runtime=runtime).restore(image).shape == image.shape


def test_quoted_text_is_one_printable_line() -> None:
    assert shown("a\x1b[2Jb\nc") == "a?[2Jb"
    assert len(shown("x" * 10_000)) == 200
    assert {"Conv", "Resize", "AveragePool", "Softmax"} <= OPERATORS
