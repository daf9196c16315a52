"""The shape of the house: small rooms, short functions, few holes in the types, and where to look.

What is counted is the package; ``tests/test_architecture.py`` says who may import whom.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import whet

ROOT = Path(whet.__file__).parent

LARGEST_FOLDER = 13
MEAN_SIBLINGS = 8.0
LONGEST_FUNCTION = 60
ANY_PER_THOUSAND_LINES = 11.5
"""A ratchet: it may fall. The goal is 1; most of the rest stands where bytes meet FFmpeg."""

LONG_ON_PURPOSE = {
    # Their length is that of their options or routes, one after the other.
    "__init__.py: sharpen_video",
    "bench/run.py: bench",
    "cli/image.py: image",
    "cli/live.py: live",
    "cli/serve.py: serve",
    "cli/study.py: new",
    "cli/video.py: video",
    "cli/workshop.py: evaluate",
    "evaluate/run.py: compare",
    "evaluate/score.py: score",
    "video/run.py: restore_video",
    "web/studio/routes.py: studio_routes",
    "web/study/routes.py: _taking_part",
    "web/videos/routes.py: video_routes",
}


def modules(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.py")) if path.name != "__init__.py"]


def rooms(root: Path) -> Counter[str]:
    """Return folder -> Python files in it."""
    return Counter(path.parent.relative_to(root).as_posix() for path in modules(root))


def mean_siblings(counts: Counter[str]) -> float:
    """Return how many files stand beside a file, on average."""
    return sum(n * (n - 1) for n in counts.values()) / counts.total()


def long_functions(root: Path) -> set[str]:
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                    found.add(f"{path.relative_to(root).as_posix()}: {node.name}")
    return found


def any_rate(root: Path) -> float:
    """Return how often ``Any`` is written in a thousand lines."""
    texts = [path.read_text(encoding="utf-8") for path in root.rglob("*.py")]
    names = (node for text in texts for node in ast.walk(ast.parse(text)))
    count = sum(isinstance(node, ast.Name) and node.id == "Any" for node in names)
    return 1000 * count / sum(text.count("\n") for text in texts)


def test_rooms_are_small() -> None:
    counts = rooms(ROOT)
    assert {room: n for room, n in counts.items() if n > LARGEST_FOLDER} == {}
    assert mean_siblings(counts) <= MEAN_SIBLINGS


def test_functions_are_short() -> None:
    assert long_functions(ROOT) - LONG_ON_PURPOSE == set()


def test_types_have_few_holes() -> None:
    assert any_rate(ROOT) <= ANY_PER_THOUSAND_LINES


def test_every_package_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_helpers_of_tests_have_names_of_their_own() -> None:
    """They are imported by name alone: the second of two would never be found."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py"))
    assert [name for name, n in names.items() if n > 1 and name != "conftest.py"] == []


def test_what_is_counted_is_found(tmp_path: Path) -> None:
    for name in ("a/one.py", "a/two.py", "a/three.py", "b/four.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n" * 10)
    (tmp_path / "a" / "__init__.py").write_text("")
    (tmp_path / "b" / "four.py").write_text("def f(x: Any):\n" + "    x\n" * LONGEST_FUNCTION)
    assert rooms(tmp_path) == {"a": 3, "b": 1}
    assert mean_siblings(rooms(tmp_path)) == pytest.approx(1.5)
    assert long_functions(tmp_path) == {"b/four.py: f"}
    assert any_rate(tmp_path) == pytest.approx(1000 / 91)
