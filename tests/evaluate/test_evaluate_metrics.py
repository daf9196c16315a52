"""Metrics that need weights: asked for by name, said before anything is scored, in every table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from commandline import MakePicture, save, soften
from whet.errors import InputError, ModelError
from whet.evaluate import metrics
from whet.evaluate.results import Evaluation
from whet.evaluate.run import compare
from whet.files import file_sha256
from whet.models.features.lpips import LPIPS

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def fresh() -> None:
    metrics._network.cache_clear()


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LPIPS:
    """Leave LPIPS with made-up weights where ``whet data fetch`` would leave it."""
    torch.manual_seed(0)
    network = LPIPS().eval()
    for weights in network.channels:
        weights.data.uniform_()
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "lpips-alex.safetensors"
    path.parent.mkdir()
    save_file(network.state_dict(), path)
    path.with_name(f"{path.name}.sha256").write_text(file_sha256(path))
    return network


def test_lpips_is_scored_beside_the_rest_and_survives_the_json(
    tmp_path: Path, pairs: Path, fetched: LPIPS
) -> None:
    found = compare([], tmp_path / "out", pairs=[("pairs", pairs)], metrics=["lpips"])
    identity, unsharp, *_ = found.suites[0].rows
    assert list(identity.scores) == ["psnr", "ssim", "ssim_matlab", "lpips"]
    # Sharpening brings softened pictures closer: a negative change is a gain.
    change = unsharp.gains["lpips"].mean
    expected = np.subtract(unsharp.values["lpips"], identity.values["lpips"]).mean()
    assert change == pytest.approx(expected)
    assert Evaluation.from_json(found.to_json()).suites[0].rows[1].values == unsharp.values
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| LPIPS (AlexNet) | PSNR gain dB | SSIM gain | LPIPS change (lower is better) |" in text
    assert f"{identity.scores['lpips'].mean:.4f} (" in text


def test_the_value_is_the_networks_on_pictures_in_0_to_1(
    fetched: LPIPS, picture: MakePicture
) -> None:
    sharp = picture(48, 56, 3)
    soft = soften(sharp)
    first, second = (torch.tensor(p).permute(2, 0, 1)[None] / 255 for p in (soft, sharp))
    with torch.no_grad():
        expected = float(fetched(first, second))
    lpips = metrics.MEASURES["lpips"].function
    assert lpips(soft, sharp) == pytest.approx(expected, rel=1e-5)
    assert lpips(sharp, sharp) == 0


def test_in_tables_a_lower_lpips_is_coloured_good(
    tmp_path: Path, pairs: Path, fetched: LPIPS, picture: MakePicture
) -> None:
    for seed in range(2, 8):
        sharp = picture(48, 56, seed)
        save(sharp, pairs / "sharp" / f"more {seed}.x.png")
        save(soften(sharp), pairs / "blur" / f"more {seed}.x.png")
    found = compare([], tmp_path / "out", pairs=[("pairs", pairs)], metrics=["lpips"])
    gain = found.suites[0].rows[1].gains["lpips"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert gain.high < 0
    cell = page.split("<td>unsharp</td>")[1].split("</tr>")[0]
    assert cell.count('class="good"') == 3


@pytest.mark.usefixtures("fetched")
def test_an_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'vmaf'; choose from: psnr, .*, lpips, dists"):
        metrics.chosen(["vmaf"])


def test_missing_weights_are_said_before_anything_is_scored(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="whet data fetch lpips-alex"):
        compare([], tmp_path / "out", pairs=[("pairs", pairs)], metrics=["lpips"])
    assert not (tmp_path / "out").exists()
