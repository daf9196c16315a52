"""What is promised to who imports whet, and nothing else."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import whet
from whet.version import __version__

GUIDE = Path(__file__).parents[1] / "docs" / "python.md"

PROMISED = {
    "load": ("model", "runtime", "threads"),
    "restore": ("image", "model", "strength"),
    "sharpen": ("image", "model", "strength"),
    "sharpen_video": (
        "source",
        "target",
        "model",
        "strength",
        "codec",
        "crf",
        "preset",
        "resume",
        "overwrite",
        "progress",
    ),
}
"""Function -> its parameters; more may follow as keywords, none may go or change its place."""

SESSION = ("card", "restore", "runtime")

ERRORS = {
    "DataError": "InputError",
    "ExportError": "WhetError",
    "ImageError": "InputError",
    "InputError": "WhetError",
    "MediaError": "InputError",
    "MissingExtraError": "WhetError",
    "ModelError": "WhetError",
    "WhetError": "Exception",
}

KINDS = {
    "BUSY", "DAMAGED", "EXISTS", "INTERLACED", "OTHER", "SALVAGEABLE", "SOUND", "SUBTITLES",
    "TOO_LARGE", "UNKNOWN", "UNSUPPORTED",
}  # fmt: skip


def test_nothing_else_is_promised() -> None:
    assert set(whet.__all__) == {*PROMISED, "Session", "errors", "__version__"}
    assert whet.__version__ == __version__


@pytest.mark.parametrize("name", PROMISED)
def test_parameters_stay(name: str) -> None:
    parameters = inspect.signature(getattr(whet, name)).parameters
    assert tuple(parameters)[: len(PROMISED[name])] == PROMISED[name]
    later = list(parameters.values())[len(PROMISED[name]) :]
    assert all(p.default is not p.empty and p.kind is p.KEYWORD_ONLY for p in later)


def test_a_session_has_what_is_promised(tiny_artifact: Path) -> None:
    session = whet.load(tiny_artifact)
    assert all(hasattr(session, name) for name in SESSION)
    assert {name for name in vars(whet.Session) if not name.startswith("_")} == set(SESSION)


def test_errors_and_kinds_stay() -> None:
    for name, base in ERRORS.items():
        assert getattr(whet.errors, name).__bases__[0].__name__ == base
    assert set(whet.errors.Kind.__members__) == KINDS


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sharpness'"):
        _ = whet.sharpness  # type: ignore[attr-defined]


def test_the_guide_uses_only_what_is_promised() -> None:
    used = set()
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("whet"):
                assert node.module in ("whet", "whet.errors"), node.module
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used |= {node.attr} if node.value.id == "whet" else set()
    assert used
    assert used <= set(whet.__all__)


def test_the_face_loads_no_runtime() -> None:
    code = "import whet, sys; print(sorted({'onnx', 'av', 'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
