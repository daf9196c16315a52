"""Networks of the user's own, as files that whet runs, and a cache that is the test's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

NETWORK = """
import time
from pathlib import Path
import torch

class Network(torch.nn.Module):
    '''Brightens by half of what a 3 x 3 mean takes away; counts its calls in a file.'''
    def __init__(self):
        super().__init__()
        self.mean = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    def forward(self, x):
        with Path({log!r}).open("a") as log:
            log.write(f"{{tuple(x.shape)}}\\n")
        time.sleep({seconds})
        y = x + 0.5 * (x - self.mean(x))
        {more}
        return y

def build():
    return Network()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("WHET_CACHE", str(folder))
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., str]:
    """A function (more="", seconds=0) -> what to give to ``--model``."""

    def write(more: str = "", seconds: float = 0) -> str:
        file = tmp_path / "own.py"
        log = str(tmp_path / "calls.txt")
        file.write_text(NETWORK.format(log=log, seconds=seconds, more=more))
        return f"{file}:build"

    return write


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], int]:
    """A function that counts how often the network ran, in any process."""

    def count() -> int:
        log = tmp_path / "calls.txt"
        return len(log.read_text().splitlines()) if log.exists() else 0

    return count
