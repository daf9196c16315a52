"""The documents say what each format keeps, and nothing vanishes without a word."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import pytest

from whet.image import Picture, write
from whet.image.codecs import FORMATS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "formats_table", ROOT / "scripts" / "formats_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_documents_is_what_happens(script: ModuleType) -> None:
    pytest.importorskip("pillow_heif")
    assert script.table() in (ROOT / "docs" / "formats.md").read_text("utf-8")


def test_what_vanishes_without_a_word_fails_the_table(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(picture: Picture, target: BinaryIO, format: str) -> tuple[str, ...]:
        write(picture, target, format)
        return ()

    monkeypatch.setattr(script, "write", silent)
    with pytest.raises(AssertionError, match="lost without a word from JPEG to PNG"):
        script.fate(script.THINGS["IPTC"], "JPEG", "PNG")


def test_every_format_that_is_written_is_in_the_table(script: ModuleType) -> None:
    suffixes = {entry.suffixes[0] for entry in FORMATS.values() if entry.encode}
    assert set(script.FORMATS.values()) == suffixes
