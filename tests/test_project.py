"""What stands around the code: documents, build, licences, and what must not be in any file."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.errors import install_command

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "whet"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*.md")])

# Name of the original work -> who holds its copyright. A docstring that points to
# NOTICE speaks of one of these.
ORIGINS = {"MAXIM": "Google LLC"}

# Joined here, so that this file does not contain what it looks for.
FORBIDDEN = (
    *("/".join(("", folder, "")) for folder in ("work", "root", "home", "Users")),
    "_".join(("bash", "jobs")),
    "/".join(("..", "shared")),
    *(".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))),
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


def tracked() -> list[Path]:
    """Return the files under version control; skip where there is no checkout."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [name for name in listing.stdout.split("\0") if name]
    if listing.returncode or not names:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names]


def docstrings() -> Iterable[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds):
                yield ast.get_docstring(node) or ""


def forbidden_mentions(paths: Iterable[Path]) -> list[str]:
    """Return ``file: word``; binary files are searched too, as models may carry paths."""
    found = []
    for path in paths:
        if path.name.startswith("LICENSE") or not path.is_file():
            continue
        content = path.read_bytes()
        found += [f"{path}: {word}" for word in FORBIDDEN if word.encode() in content]
    return found


# Documents


def test_changelog_and_citation_carry_the_version() -> None:
    newest = re.search(r"^## \[([^\]]+)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == whet.version.__version__
    assert f"\nversion: {whet.version.__version__}\n" in text("CITATION.cff")


def test_every_extra_that_is_named_exists() -> None:
    sources = [p.read_text(encoding="utf-8") for p in [*DOCUMENTS, *PACKAGE.rglob("*.py")]]
    installs = re.findall(r"(?:\bwhet-sharpen|'\.|\s\.)\[([a-z, ]+)\]", "\n".join(sources))
    # Errors name their extra in code; the command they print is put together later.
    raised = re.findall(r"MissingExtraError\([^()]*\"([a-z]+)\"\)", "\n".join(sources))
    named = {extra.strip() for group in installs for extra in group.split(",")} | set(raised)
    assert {"dev", "train"} <= named
    assert named <= project()["project"]["optional-dependencies"].keys()


# The index has a project of another owner under the plain name: a command that names it
# would install that. Quotes and options may stand in between.
PLAIN_NAME = re.compile(
    r"""(?:pip3?|pipx|uv)\b[^\n;&|`#]*?\b(?:install|add|run|download)\b[^\n;&|`#]*?"""
    r"""[ \t"']whet(?![\w./-])"""
)


def plain_installs(paths: Iterable[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        found += [f"{path.name}: {hit[0]}" for hit in PLAIN_NAME.finditer(lines)]
    return found


def test_nothing_installs_another_owners_project() -> None:
    assert project()["project"]["name"] == "whet-sharpen"
    assert plain_installs(path for path in tracked() if path != Path(__file__)) == []
    for extra in project()["project"]["optional-dependencies"]:
        assert PLAIN_NAME.search(install_command(extra)) is None
        assert re.fullmatch(rf"pip install 'whet-sharpen\[{extra}\]'", install_command(extra))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pip install whet", True),
        ("pip install 'whet[web]'", True),
        ('python -m pip install -U "whet>=0.1"', True),
        ("uv pip install whet[web]", True),
        ("pip install -q numpy whet==0.1", True),
        ("pip install whet-sharpen", False),
        ("pip install 'whet-sharpen[web]'", False),
        ("pip install ./whet-0.1.whl", False),
        ("pip install . && whet demo", False),
        ("pip install -e '.[train]' && .venv/bin/whet demo", False),
    ],
)
def test_the_plain_name_is_found_in_any_install_command(
    line: str, wrong: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text(f"first\n{line}\nlast whet\n")
    assert bool(plain_installs([tmp_path / "a.md"])) is wrong


def test_every_path_that_is_named_exists() -> None:
    pattern = r"`((?:src|tests|scripts|docs|\.ci)/[\w./-]*)`"
    named = [
        (document.name, path)
        for document in DOCUMENTS
        for path in re.findall(pattern, document.read_text(encoding="utf-8"))
        if "NAME" not in path
    ]
    assert named
    assert [(document, path) for document, path in named if not (ROOT / path).exists()] == []


def test_every_link_leads_somewhere() -> None:
    links = [
        (document, target)
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
        if "://" not in target and not target.startswith("mailto:")
    ]
    assert links
    dead = [(d.name, target) for d, target in links if not (d.parent / target).exists()]
    assert dead == []


def test_the_index_names_every_document() -> None:
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", text("docs/README.md")))
    assert named == {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}


def test_every_script_has_its_line() -> None:
    described = re.findall(r"^- `([\w.]+)`: \S", text("scripts/README.md"), re.MULTILINE)
    assert sorted(described) == sorted(p.name for p in ROOT.glob("scripts/*.py"))


# The build


def test_build_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    if shutil.which("bash") is None or not script.exists():
        pytest.skip("needs bash and a checkout")
    block = re.search(
        r"^<!-- test-command -->\n```\w*\n(.+?)\n```$", text("README.md"), re.M | re.S
    )
    assert block is not None, "README.md has no fenced block below <!-- test-command -->"
    shown = subprocess.run(
        ["bash", str(script), "--show"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == block[1] + "\n"
    assert len(shown.stdout.splitlines()) == 1
    assert "-c constraints.txt -e '.[dev]'" in block[1]
    assert block[1].endswith("pytest")


def test_hooks_fetch_nothing() -> None:
    repositories = re.findall(r"^\s*- repo: (\S+)", text(".pre-commit-config.yaml"), re.MULTILINE)
    assert set(repositories) == {"local"}


# What the package carries

SHIPPED = sorted(PACKAGE.glob("weights/*.onnx"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_model_says_what_it_is(path: Path) -> None:
    from whet.artifact import verify

    card = verify(path)
    suffix = "-int8" if card.precision == "int8" else ""
    assert path.stem == card.name + suffix
    for field in ("recipe", "data", "licences", "hardware", "hours", "scores", "known_failures"):
        assert getattr(card, field), f"the card of {path.name} does not state its {field}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_model_reaches_the_wheel(path: Path) -> None:
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    # hatchling takes every file of a listed package except what git ignores.
    assert wheel == {"packages": ["src/whet"]}
    assert path in tracked(), f"{path.name} is not under version control"


def test_demo_pictures_come_with_their_licences() -> None:
    folder = PACKAGE / "demo_data"
    if not folder.is_dir():
        pytest.skip("this copy carries no demo pictures")
    licences = (folder / "LICENSES.md").read_text(encoding="utf-8")
    assert re.search(r"CC0|CC[ -]BY|public domain", licences, re.IGNORECASE)
    rows = re.findall(r"^\| `?([^|`\s]+)`? \|", licences, re.MULTILINE)
    pictures = [p for p in folder.rglob("*") if p.suffix in (".webp", ".png", ".jpg", ".npz")]
    assert pictures
    assert [p for p in pictures if not any(p.match(row) for row in rows)] == []


def test_notice_names_every_origin() -> None:
    texts = list(docstrings())
    referring = [doc for doc in texts if "NOTICE" in doc]
    assert referring
    unknown = [doc for doc in referring if not any(origin in doc for origin in ORIGINS)]
    assert unknown == [], "add the origin to ORIGINS, here, and to NOTICE"
    notice = text("NOTICE")
    for origin, holder in ORIGINS.items():
        if any(origin in doc for doc in texts):
            assert origin in notice
            assert holder in notice


# What must be in no file


def test_no_file_mentions_where_it_was_made() -> None:
    assert forbidden_mentions(tracked()) == []


def test_a_forbidden_mention_is_found_in_any_kind_of_file(tmp_path: Path) -> None:
    for word in FORBIDDEN:
        (tmp_path / "notes.txt").write_text(f"see {word}")
        (tmp_path / "model.onnx").write_bytes(b"\x00\xff" + word.encode() + b"\x00")
        (tmp_path / "LICENSE").write_text(word)
        found = forbidden_mentions(sorted(tmp_path.iterdir()))
        assert [line.rpartition(": ")[2] for line in found] == [word, word]
