"""Pictures that several tests of evaluation score."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import MakePicture, save, soften


@pytest.fixture
def pairs(tmp_path: Path, picture: MakePicture) -> Path:
    for seed, name in enumerate(("kite", "mast")):
        sharp = picture(48, 56, seed)
        save(sharp, tmp_path / "pairs" / "sharp" / f"{name}.png")
        save(soften(sharp), tmp_path / "pairs" / "blur" / f"{name}.png")
    return tmp_path / "pairs"
