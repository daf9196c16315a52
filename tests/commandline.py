"""Commands called as a shell calls them, but in this process: importing PyTorch takes seconds."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

MakePicture = Callable[..., NDArray[np.uint8]]


@dataclass(frozen=True)
class Outcome:
    """What a command leaves behind: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def whet(*words: object) -> Outcome:
    """Run ``whet WORDS...``. What would print a traceback is raised instead."""
    from whet.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(record=True) as warned,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        # Warnings as Python shows them to users.
        warnings.simplefilter("default", UserWarning)
        patch.setattr(sys, "argv", ["whet", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            code = end.code
    err.writelines(f"{w.category.__name__}: {w.message}\n" for w in warned if shown(w))
    return Outcome(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def shown(warning: warnings.WarningMessage) -> bool:
    """Return whether Python prints such a warning unless told otherwise."""
    hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    return not issubclass(warning.category, hidden)


def succeed(*words: object) -> str:
    """Run ``whet WORDS...``, which must succeed, and return what it prints as its result."""
    outcome = whet(*words)
    assert outcome.code == 0, outcome.err
    return outcome.out


def save(pixels: NDArray[np.uint8], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def load(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def soften(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of five neighbours in a row: a blur to the side."""
    shifted = [np.roll(pixels.astype(np.float64), shift, axis=1) for shift in range(-2, 3)]
    return np.rint(np.mean(shifted, axis=0)).astype(np.uint8)


def save_photos(folder: Path, picture: MakePicture, names: Sequence[str], side: int = 72) -> Path:
    """Write one photograph-like PNG per name; unlike names are unlike scenes."""
    for seed, name in enumerate(names):
        save(picture(side, side + 8, seed), folder / f"{name}.png")
    return folder


def save_gopro(root: Path, picture: MakePicture, side: int = 72) -> Path:
    """Write GoPro_Large's layout in small: two sequences to train on, one to test on."""
    seed = 0
    for sequence in ("train/GOPR0001", "train/GOPR0002", "test/GOPR0003"):
        for frame in ("000001", "000002"):
            sharp = picture(side, side + 24, seed)
            save(sharp, root / sequence / "sharp" / f"{frame}.png")
            save(soften(sharp), root / sequence / "blur" / f"{frame}.png")
            seed += 1
    return root
