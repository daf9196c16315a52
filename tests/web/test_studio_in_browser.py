"""A heavy network on the restore page: followed by tiles, stopped, begun again, taken home."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
from PIL import Image
from playwright.sync_api import expect
from restore_page import SOON, Visit, download, pick

from photographs import photograph_like
from whet.studio import open_studio
from whet.web.studio import queue, routes

NETWORK = """
import time, torch
class Network(torch.nn.Module):
    def forward(self, x):
        time.sleep(1)
        return x * 0.9
def build():
    return Network()
"""


@pytest.fixture(scope="module")
def home(serving: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHET_CACHE", str(folder / "cache"))
        ours = f"{folder / 'own.py'}:build"
        patch.setattr(queue, "open_studio", lambda *_: open_studio(ours))
        for module in (queue, routes):
            patch.setattr(module, "heavy_names", lambda: ("maxim",))
        yield serving()


def test_tiles_are_followed_stopped_and_begun_again(
    home: str, visit: Visit, tmp_path: Path
) -> None:
    image = photograph_like(256, 1024)
    Image.fromarray(image).save(tmp_path / "photo.png")
    page = visit(home)
    pick(page, tmp_path / "photo.png")
    page.get_by_role("radio", name=re.compile("maxim")).check(**SOON)
    facts = page.locator("#facts")
    expect(facts).to_have_text(re.compile(r"tile [12] of 5, .* left"), **SOON)
    # The finished part is shown over the untouched picture.
    expect(page.locator(".layer.after img")).to_be_attached(**SOON)
    page.get_by_role("button", name="Stop").click()
    expect(facts).to_have_text(re.compile("stopped"), **SOON)
    page.get_by_role("button", name="Restore this picture").click()
    expect(facts).to_have_text(re.compile("restored$"), **SOON)
    assert download(page, tmp_path / "result.png") == "photo-whet.png"
    restored = np.asarray(Image.open(tmp_path / "result.png")).astype(float)
    assert np.abs(restored - image * 0.9).max() <= 1
