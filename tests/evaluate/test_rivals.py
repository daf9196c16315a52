"""Networks of other people: what they take is found out, what they get is the small picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from commandline import MakePicture, save_photos
from whet.errors import InputError, ModelError
from whet.evaluate.restorers import restorers
from whet.evaluate.rivals import open_rival
from whet.evaluate.run import compare
from whet.evaluate.suites.opening import open_suite
from whet.files import file_sha256


def network(
    path: Path,
    *,
    scale: float = 2,
    last: bool = False,
    peak: int = 1,
    height: object = "h",
    channels: int = 3,
    negated: bool = False,
) -> Path:
    """Write a network that enlarges by repeating pixels, clipped to its own range."""
    sides = [1, height, "w", channels] if last else [1, channels, height, "w"]
    scales = [1.0, scale, scale, 1.0] if last else [1.0, 1.0, scale, scale]
    constants = [
        helper.make_tensor("scales", TensorProto.FLOAT, [4], scales),
        helper.make_tensor("low", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("high", TensorProto.FLOAT, [], [float(peak)]),
    ]
    nodes = [
        helper.make_node(
            "Neg" if negated else "Round" if peak == 255 else "Identity", ["in"], ["x"]
        ),
        helper.make_node(
            "Resize",
            ["x", "", "scales"],
            ["large"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Clip", ["large", "low", "high"], ["out"]),
    ]
    values = [helper.make_tensor_value_info("in", TensorProto.FLOAT, sides)]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * 4)]
    graph = helper.make_graph(nodes, "rival", values, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("peak", [1, 255])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_layout_range_and_scale_are_found(
    last: bool, peak: int, scale: int, tmp_path: Path, picture: MakePicture
) -> None:
    path = network(tmp_path / "other.onnx", scale=scale, last=last, peak=peak)
    name, rival = open_rival(str(path))
    assert (name, rival.channels_last, rival.peak, rival.scale) == ("other", last, peak, scale)
    image = picture(13, 21, 1)
    assert (rival(image) == image.repeat(scale, 0).repeat(scale, 1)).all()
    assert rival.origin.sha256 == file_sha256(path)


def test_a_rival_is_given_the_picture_before_it_was_enlarged(
    tmp_path: Path, picture: MakePicture
) -> None:
    photos = save_photos(tmp_path / "photos", picture, ["quay", "moor"], side=41)
    path = network(tmp_path / "double.onnx")
    found = compare(
        [],
        tmp_path / "out",
        suites=["bicubic-x2", "bicubic-x3"],
        photos=photos,
        rivals=[f"{path}=2"],
        command="whet evaluate --rival double.onnx=2",
    )
    rows = [[row.restorer for row in suite.rows] for suite in found.suites]
    assert rows == [
        ["identity", "unsharp", "cas", "double", "best-mask"],
        ["identity", "unsharp", "cas", "best-mask"],
    ]
    item = next(iter(open_suite("bicubic-x2", photos)))
    assert item.small is not None
    assert item.small.shape == (21, 25, 3)
    # Away from borders Pillow shrinks with the same kernel.
    inner = Image.fromarray(item.sharp[:40, :48]).resize((24, 20), Image.Resampling.BICUBIC)
    difference = np.asarray(inner).astype(int)[4:-4, 4:-4] - item.small[4:16, 4:20]
    assert np.abs(difference).mean() < 0.5
    error = item.small.repeat(2, 0).repeat(2, 1)[:41, :49] - item.sharp.astype(float)
    expected = 10 * np.log10(255**2 / np.square(error).mean())
    row = next(row for row in found.suites[0].rows if row.restorer == "double")
    assert row.values["psnr"][0] == pytest.approx(expected, abs=1e-6)
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"| double | double.onnx | {file_sha256(path)[:16]} | float32 | onnxruntime |" in text
    assert "    whet evaluate --rival double.onnx=2" in text
    whole = found.together()
    assert whole is not None
    assert [row.restorer for row in whole.rows] == rows[1]


def test_a_rival_without_small_pictures_is_refused_before_scoring(
    tmp_path: Path, pairs: Path
) -> None:
    path = network(tmp_path / "double.onnx")
    with pytest.raises(InputError, match="double enlarges by 2, and no suite was shrunk"):
        compare([], tmp_path / "out", pairs=[("pairs", pairs)], rivals=[str(path)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"height": 48}, "dynamic sides"),
        ({"channels": 1}, r"a rival takes \(1, 3, H, W\)"),
        ({"scale": 1.5}, r"returns \(48, 72, 3\)"),
        ({"negated": True}, "returns no picture"),
    ],
)
def test_what_is_no_rival_is_refused(
    words: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = network(tmp_path / "odd.onnx", **words)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        open_rival(str(path))


def test_missing_broken_and_misnamed_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_rival(str(tmp_path / "none.onnx=2"))
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be run"):
        open_rival(str(tmp_path / "broken.onnx"))
    network(tmp_path / "double.onnx")
    with pytest.raises(InputError, match="enlarges by 2, not 3"):
        open_rival(f"{tmp_path / 'double.onnx'}=3")
    network(tmp_path / "unsharp.onnx")
    with pytest.raises(InputError, match="another row is called 'unsharp' too"):
        restorers([], ["unsharp"], rivals=[str(tmp_path / "unsharp.onnx")])
