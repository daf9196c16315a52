"""Model files: what is written comes back, and nothing damaged or strange is opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from whet import artifact
from whet.artifact import KEY, Card, read_card, read_model, resolve, verify, write_card
from whet.errors import InputError, ModelError

CARD = Card(name="a", architecture="nano", multiple=8, halo=40, kmac_per_px=2.5, parameters=123)


@pytest.fixture
def copy(tiny_artifact: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.onnx"
    path.write_bytes(tiny_artifact.read_bytes())
    return path


def edit(path: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


def card_text(model: onnx.ModelProto) -> onnx.StringStringEntryProto:
    return next(p for p in model.metadata_props if p.key == KEY)


def rewrite_card(path: Path, **fields: object) -> None:
    def change(model: onnx.ModelProto) -> None:
        entry = card_text(model)
        entry.value = json.dumps({**json.loads(entry.value), **fields})

    edit(path, change)


# Cards


def test_card_survives_json() -> None:
    card = replace(
        CARD,
        data=("GoPro", "Größe"),
        scores={"gopro": {"psnr": 27.5, "gain_low": 0.5}},
        parity=1e-7,
        precision="int8",
        int8_drop_db=0.03,
    )
    assert Card.from_json(card.to_json()) == card


def test_card_in_a_file_is_the_card_that_was_written(copy: Path) -> None:
    written = write_card(copy, replace(read_card(copy), version="7", hours=1.5))
    assert read_card(copy) == written
    assert (written.version, written.hours) == ("7", 1.5)


def test_card_of_the_exported_file_holds_what_export_measured(tiny_artifact: Path) -> None:
    card = read_card(tiny_artifact)
    assert (card.multiple, card.halo, card.version) == (8, 32, "1.2")
    assert card.data == ("noise",)
    assert card.scores == {"noise": {"psnr": 30.25}}
    assert card.parity is not None
    assert 0 <= card.parity <= 1 / 255


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multiple", 0),
        ("multiple", 10**9),
        ("multiple", "8"),
        ("halo", -1),
        ("halo", True),
        ("precision", "int4"),
        ("kmac_per_px", "fast"),
        ("hours", float("nan")),
        ("data", "GoPro"),
        ("data", [1]),
        ("scores", {"gopro": 3}),
        ("scores", {"gopro": {"psnr": "high"}}),
        ("name", None),
    ],
)
def test_card_with_an_impossible_field_is_refused(field: str, value: object) -> None:
    raw = {**json.loads(CARD.to_json()), field: value}
    with pytest.raises(ModelError, match=field):
        Card.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema":1}', "[" * 100_000])
def test_text_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        Card.from_json(text)


@pytest.mark.parametrize("schema", [None, 0, 2, "1"])
def test_card_of_another_schema_is_refused_and_names_the_remedy(copy: Path, schema: object) -> None:
    rewrite_card(copy, schema=schema)
    with pytest.raises(ModelError, match="upgrade whet"):
        read_card(copy)


# Files


def test_shipped_files_are_sound() -> None:
    for name, path in artifact.shipped().items():
        card = verify(path)
        assert name == (card.name if card.precision == "float32" else f"{card.name}-int8")


def test_sound_file_verifies(tiny_artifact: Path, tiny_int8: Path) -> None:
    assert verify(tiny_artifact).precision == "float32"
    assert verify(tiny_int8).precision == "int8"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx"):
        read_card(tmp_path / "nowhere.onnx")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(64), b"{}", bytes(1000), b"\xff" * 1000]
)
def test_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_card(path)


def test_file_cut_anywhere_is_refused(copy: Path) -> None:
    whole = copy.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 41).astype(int):
        copy.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_card(copy)


def test_file_without_a_card_is_refused(copy: Path) -> None:
    edit(copy, lambda model: model.ClearField("metadata_props"))
    with pytest.raises(ModelError, match="no whet card"):
        read_card(copy)


def test_changed_weight_is_found(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] += 1e-6
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    edit(copy, change)
    with pytest.raises(ModelError, match="weights are not those"):
        read_card(copy)


def test_exchanged_weights_are_found(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        by_shape: dict[tuple[int, ...], onnx.TensorProto] = {}
        for tensor in model.graph.initializer:
            other = by_shape.setdefault(tuple(tensor.dims), tensor)
            if other is not tensor:
                tensor.name, other.name = other.name, tensor.name
                return
        raise AssertionError("no two weights of one shape")

    edit(copy, change)
    with pytest.raises(ModelError, match="weights are not those"):
        read_card(copy)


def test_truncated_weight_is_found(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.raw_data = tensor.raw_data[:-4]

    edit(copy, change)
    with pytest.raises(ModelError, match="damaged"):
        read_card(copy)


def test_weights_outside_the_file_are_refused_and_never_read(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    edit(copy, change)
    with pytest.raises(ModelError, match="another file"):
        read_card(copy)


def test_weights_outside_the_file_are_found_in_constants_too(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = helper.make_tensor("c", onnx.TensorProto.FLOAT, [1], [0.0])
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))

    edit(copy, change)
    with pytest.raises(ModelError, match="another file"):
        read_card(copy)


def test_operator_of_another_domain_is_refused(copy: Path) -> None:
    edit(copy, lambda m: setattr(m.graph.node[0], "domain", "com.example"))
    with pytest.raises(ModelError, match="plain operators"):
        read_card(copy)


def test_control_flow_is_refused(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        empty = helper.make_graph([], "empty", [], [])
        model.graph.node.append(
            helper.make_node("If", ["c"], [], then_branch=empty, else_branch=empty)
        )

    edit(copy, change)
    with pytest.raises(ModelError, match="plain operators"):
        read_card(copy)


def test_graph_of_another_interface_is_refused(copy: Path) -> None:
    edit(copy, lambda m: setattr(m.graph.input[0], "name", "image"))
    with pytest.raises(ModelError, match="one input"):
        read_card(copy)


def test_graph_that_onnx_rejects_does_not_verify(copy: Path) -> None:
    edit(copy, lambda m: setattr(m.graph.node[0], "op_type", "NoSuchOperator"))
    with pytest.raises(ModelError, match="NoSuchOperator"):
        verify(copy)


def test_oversized_file_is_refused_without_parsing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "MAX_BYTES", copy.stat().st_size - 1)
    with pytest.raises(ModelError, match="larger than"):
        read_card(copy)


def test_failed_write_leaves_the_old_file_and_no_litter(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.read_bytes()

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(InputError, match="disk full"):
        write_card(copy, replace(read_card(copy), version="2"))
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]


def test_card_that_could_not_be_read_back_is_not_written(copy: Path) -> None:
    before = copy.read_bytes()
    with pytest.raises(ModelError, match="multiple"):
        write_card(copy, replace(read_card(copy), multiple=0))
    assert copy.read_bytes() == before


def test_same_model_and_card_give_the_same_bytes(copy: Path) -> None:
    before = copy.read_bytes()
    model, card = read_model(copy)
    artifact.write_model(copy, model, card)
    assert copy.read_bytes() == before


# Names


@pytest.fixture
def weights(tmp_path: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("small", "small-int8", "nano-int8"):
        (tmp_path / f"{name}.onnx").write_bytes(tiny_artifact.read_bytes())
    monkeypatch.setattr(artifact, "_WEIGHTS", tmp_path)
    return tmp_path


def test_names_resolve_to_shipped_files(weights: Path) -> None:
    assert set(artifact.shipped()) == {"small", "small-int8", "nano-int8"}
    assert resolve("small") == weights / "small.onnx"
    assert resolve("small-int8") == weights / "small-int8.onnx"
    assert resolve("small", "int8") == weights / "small-int8.onnx"
    assert resolve("nano") == weights / "nano-int8.onnx"


def test_paths_resolve_to_themselves(weights: Path, copy: Path) -> None:
    assert resolve(copy) == copy
    assert resolve(str(copy)) == copy


def test_unknown_name_lists_what_there_is(weights: Path) -> None:
    with pytest.raises(ModelError, match="nano-int8, small-int8, small"):
        resolve("large")


def test_precision_that_is_not_shipped_is_said_so(weights: Path) -> None:
    with pytest.raises(ModelError, match="not shipped in float32"):
        resolve("nano", "float32")
