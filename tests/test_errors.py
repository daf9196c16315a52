"""Errors have kinds; doors go by them and never by words; libraries know no door."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import whet
from commandline import MakePicture, save
from commandline import whet as run_whet
from whet.errors import ImageError, Kind, MissingExtraError, WhetError
from whet.image import read

ROOT = Path(whet.__file__).parent

# What a web visitor, a script and a person at a terminal meet alike.
EVERYBODYS = ("image", "stills", "runtime", "graph", "files.py", "artifact.py", "metrics.py")
DOORS = ("cli", "web")


def sources(*names: str) -> Iterator[Path]:
    for name in names:
        path = ROOT / name
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def raised_texts(path: Path) -> Iterator[str]:
    """Yield the texts in calls of errors."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name.endswith("Error") or name == "error":
            yield from (
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


@pytest.mark.parametrize("name", EVERYBODYS)
def test_what_everybody_meets_names_no_option_of_the_command_line(name: str) -> None:
    option = re.compile(r"(?:^|[\s(])(?:--[a-z][\w-]*|-[a-z]\b)")
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in sources(name)
        for text in raised_texts(path)
        if option.search(text)
    ]
    assert found == []


def test_no_door_looks_into_a_message() -> None:
    """Whoever compares words with ``str(error)`` or a name for it decides by them."""
    looks = re.compile(
        r"""["'] in (?:str\((?:error|failure|problem)\)|sentence|message|detail)\b|"""
        r"""(?:str\(error\)|sentence|message|detail)\.(?:startswith|endswith|find|index)\("""
    )
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in sources(*DOORS)
        for hit in looks.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def kind_of(data: bytes, **options: int) -> Kind:
    with pytest.raises(WhetError) as caught:
        read(data, **options)
    return caught.value.kind


def test_a_picture_is_refused_by_kind(picture: MakePicture, tmp_path: Path) -> None:
    save(picture(32, 40), tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    assert kind_of(b"") is Kind.UNKNOWN
    assert kind_of(b"These are words, not pixels.") is Kind.UNKNOWN
    assert kind_of(whole[: len(whole) // 2]) is Kind.DAMAGED
    assert kind_of(whole, max_pixels=100) is Kind.TOO_LARGE
    assert MissingExtraError("torch", "train").kind is Kind.OTHER


def test_the_command_line_adds_its_option(picture: MakePicture, tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    save(picture(32, 40), source)
    outcome = run_whet("image", source, "-o", target, "--max-pixels", 100)
    assert outcome.code == 2
    assert "raise the limit with --max-pixels" in outcome.err
    report = tmp_path / "out" / "report.md"
    report.parent.mkdir()
    report.write_text("mine")
    outcome = run_whet("evaluate", "-m", "nano", "-o", report.parent)
    assert outcome.code == 2
    assert outcome.err.endswith("exists already; --overwrite replaces it\n")
    assert report.read_text() == "mine"


def test_an_error_keeps_its_kind_between_processes() -> None:
    error = ImageError("a.png: too large", Kind.TOO_LARGE)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.kind) == (str(error), error.kind)
