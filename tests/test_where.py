"""The newcomer's questions of docs/where.md: every answer is true, and most names give it away."""

from __future__ import annotations

import re
from pathlib import Path

import whet

GUIDE = Path(__file__).parents[1] / "docs" / "where.md"
ROOT = Path(whet.__file__).parent
ROW = re.compile(r"^\| (Where .+\?) \| `([\w/.]+)` \| `(.+)` \|$", re.MULTILINE)
STEM = 4


def rows() -> list[tuple[str, str, str]]:
    return [(m[1], m[2], m[3]) for m in ROW.finditer(GUIDE.read_text(encoding="utf-8"))]


def stems(text: str) -> set[str]:
    return {word[:STEM].lower() for word in re.findall(r"[A-Za-z0-9]{3,}", text)}


def test_every_answer_is_there() -> None:
    wrong = [
        (question, file)
        for question, file, name in rows()
        if not (ROOT / file).is_file() or name not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_names_of_folder_and_file_give_most_answers_away() -> None:
    """A question shares a word with the path of its answer, seen in a listing of the tree."""
    found = rows()
    assert len(found) >= 66
    told = [q for q, file, _ in found if stems(q) & stems(file.replace("_", " "))]
    assert len(told) >= 60, sorted({q for q, *_ in found} - set(told))
