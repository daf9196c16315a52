"""The shape of the package: who may import whom, no cycles, no torch at the counter.

Imports are read from the source, including those inside functions; what really
gets loaded at start-up is observed in a fresh interpreter.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import whet

ROOT = Path(whet.__file__).parent

# A package may import those of later lines, never its own line or an earlier one.
# The root, "", holds the public functions alone: whoever imports it goes up.
LAYERS = (
    ("",),
    ("cli",),
    ("bench",),
    ("web", "evaluate"),
    ("live",),
    ("distill", "study", "stills", "video", "export", "studio"),
    ("data", "runtime"),
    ("degrade", "graph"),
    ("models", "image", "artifact"),
    ("fetch", "metrics", "intervals", "card", "conditions"),
    ("files", "tables", "operators"),
    ("errors", "version", "priority"),
)
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}

TORCH_FREE = {
    "",
    "artifact",
    "card",
    "conditions",
    "errors",
    "fetch",
    "files",
    "graph",
    "image",
    "intervals",
    "live",
    "metrics",
    "operators",
    "priority",
    "runtime",
    "stills",
    "tables",
    "studio",
    "version",
    "video",
}
TORCH_FAMILY = {"accelerate", "kornia", "torch", "torchmetrics", "torchvision"}
TORCH_MODULES = ("whet.runtime.torch_engine", "whet.studio.torch_network")
"""The modules at the counter that are PyTorch; they are loaded by name, never imported."""
STARTS_WITHOUT_TORCH = (
    "whet",
    "whet.conditions",
    "whet.image",
    "whet.artifact",
    "whet.metrics",
    "whet.runtime",
    "whet.stills.files",
    "whet.video.run",
    "whet.live.run",
    "whet.cli.main",
)

VAGUE = ("common", "helper", "helpers", "manager", "misc", "util", "utils")
LONGEST_FILE = 350


@dataclass(frozen=True)
class Import:
    """One imported module, and whether importing the importer also imports it."""

    target: str
    immediate: bool


def module_name(path: Path, root: Path) -> str:
    parts = ["whet", *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """Return the layer's name of a whet module; "" for the package root."""
    parts = module.split(".")
    if len(parts) == 1:
        return ""
    return "cli" if parts[1] == "__main__" else parts[1]


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(path: Path, root: Path, modules: set[str]) -> Iterator[Import]:
    module = module_name(path, root)
    parents = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]

    def visit(node: ast.AST, immediate: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, immediate) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield Import(inner if inner in modules else source, immediate)
        runs_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, immediate and not runs_later and not is_typing_only(node))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), immediate=True)


def read_package(root: Path) -> dict[str, set[Import]]:
    """Return the imports of every module under ``root``, which stands for the package whet."""
    paths = {module_name(path, root): path for path in sorted(root.rglob("*.py"))}
    return {name: set(imports_of(path, root, set(paths))) for name, path in paths.items()}


def is_ours(module: str) -> bool:
    return module.split(".")[0] == "whet"


def wrong_directions(package: Mapping[str, set[Import]]) -> list[str]:
    found = []
    for module, imports in package.items():
        here = package_of(module)
        for target in sorted({i.target for i in imports if is_ours(i.target)}):
            there = package_of(target)
            # A package without a layer fails a test of its own.
            if here == there or not {here, there} <= RANK.keys():
                continue
            if RANK[here] >= RANK[there]:
                found.append(f"{module} imports {target}")
    return found


def torch_at_the_counter(package: Mapping[str, set[Import]]) -> list[str]:
    found = []
    for module, imports in package.items():
        if package_of(module) not in TORCH_FREE or module in TORCH_MODULES:
            continue
        for target in sorted({i.target for i in imports}):
            if target.startswith(TORCH_MODULES):
                found.append(f"{module} imports {target}")
            foreign = target.split(".")[0] in TORCH_FAMILY
            workshop = is_ours(target) and package_of(target) not in TORCH_FREE
            if foreign or workshop:
                found.append(f"{module} imports {target}")
    return found


def cycles(package: Mapping[str, set[Import]]) -> list[str]:
    """Return the cycles among imports that run while modules are being loaded."""
    graph = {
        module: sorted({i.target for i in imports if i.immediate and i.target in package})
        for module, imports in package.items()
    }
    found: list[str] = []
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append(" > ".join([*path[path.index(module) :], module]))
        elif module not in done:
            for target in graph[module]:
                walk(target, [*path, module])
            done.add(module)

    for module in graph:
        walk(module, [])
    return found


def vague_names(root: Path) -> list[str]:
    found = [str(path) for path in root.rglob("*") if path.stem.lower() in VAGUE]
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.lower().endswith(VAGUE):
                found.append(f"{path}: class {node.name}")
    return found


def long_files(root: Path) -> list[str]:
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in root.rglob("*.py")}
    return [f"{path}: {count} lines" for path, count in counts.items() if count > LONGEST_FILE]


# whet itself


@pytest.fixture(scope="module")
def package() -> dict[str, set[Import]]:
    return read_package(ROOT)


def test_every_package_has_a_layer(package: dict[str, set[Import]]) -> None:
    assert {package_of(module) for module in package} - {""} <= RANK.keys()


def test_imports_point_one_way(package: dict[str, set[Import]]) -> None:
    assert wrong_directions(package) == []


def test_modules_do_not_import_in_circles(package: dict[str, set[Import]]) -> None:
    assert cycles(package) == []


def test_counter_never_imports_torch(package: dict[str, set[Import]]) -> None:
    assert torch_at_the_counter(package) == []


def test_names_say_what_they_hold() -> None:
    assert vague_names(ROOT) == []


def test_files_stay_readable() -> None:
    assert long_files(ROOT) == []


def exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("module", [name for name in STARTS_WITHOUT_TORCH if exists(name)])
def test_start_up_loads_no_torch(module: str) -> None:
    assert "torch" not in loaded_by(f"import {module}")


def test_start_up_observer_sees_torch() -> None:
    assert "torch" in loaded_by("import whet.models.checkpoints")


def loaded_by(statement: str) -> set[str]:
    """Return the top-level names in sys.modules after ``statement`` in a fresh interpreter."""
    code = f"{statement}; import sys; print('\\n'.join({{m.split('.')[0] for m in sys.modules}}))"
    # Arguments are our own constants.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


# The rules themselves: each finds what it is for


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    sources = {
        "__init__.py": "def load():\n    from whet.models import build\n",
        "errors.py": "from whet.image import read\n",
        "image.py": "import whet.errors\n",
        "metrics.py": "def f():\n    import torch.nn\n",
        "card.py": "from whet import __version__\n",
        "data/__init__.py": "from ..stills import files\n",
        "models/__init__.py": "from . import nets\n",
        "models/nets.py": "from whet.models import utils\n",
        "models/utils.py": "class NetManager: ...\nfrom whet import models\n",
        "distill/__init__.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from whet.export import onnx\n"
        ),
        "export/__init__.py": "",
        "export/onnx.py": "from whet import models\n" + "\n" * LONGEST_FILE,
    }
    for name, source in sources.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return tmp_path


def test_wrong_direction_is_found(broken: Path) -> None:
    assert wrong_directions(read_package(broken)) == [
        "whet.card imports whet",
        "whet.data imports whet.stills",
        "whet.distill imports whet.export.onnx",
        "whet.errors imports whet.image",
    ]


def test_cycles_are_found_and_deferred_imports_make_none(broken: Path) -> None:
    assert cycles(read_package(broken)) == [
        "whet.errors > whet.image > whet.errors",
        "whet.models > whet.models.nets > whet.models.utils > whet.models",
    ]


def test_torch_at_the_counter_is_found(broken: Path) -> None:
    assert torch_at_the_counter(read_package(broken)) == [
        "whet imports whet.models",
        "whet.metrics imports torch.nn",
    ]


def test_vague_names_and_long_files_are_found(broken: Path) -> None:
    utils = broken / "models" / "utils.py"
    assert vague_names(broken) == [str(utils), f"{utils}: class NetManager"]
    assert long_files(broken) == [f"{broken / 'export' / 'onnx.py'}: {LONGEST_FILE + 1} lines"]
