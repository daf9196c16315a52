"""From a checkpoint to model files: which student it is, and what is refused unwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from commandline import MakePicture, save_photos
from whet.artifact import read_card, verify
from whet.data.sources import Pair
from whet.degrade.pictures import HeldOut
from whet.degrade.registry import EVERYDAY
from whet.errors import InputError, ModelError
from whet.export import run
from whet.export.run import export_checkpoint
from whet.models import MODELS, build
from whet.models.checkpoints import load_student


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a fresh nano."""
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    save_file(build("nano").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, weights: Path, picture: MakePicture
) -> list[Path]:
    """A nano in both precisions, with a card that says where it comes from."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "card.json").write_text(
        json.dumps({"name": "mine", "hours": 2, "data": ["noise"], "scores": {"s": {"psnr": 3}}})
    )
    photos = save_photos(folder / "photos", picture, ["quay", "moor"], side=48)
    return export_checkpoint(
        weights,
        folder / "nano.onnx",
        int8=True,
        photos=photos,
        card_file=folder / "card.json",
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_is_recognised_by_its_weights(name: str, tmp_path: Path) -> None:
    student = build(name)
    torch.save({"model": student.state_dict()}, tmp_path / "founding.pth")
    found, loaded = load_student(tmp_path / "founding.pth")
    assert found == name
    assert not loaded.training
    state = student.state_dict()
    assert all(torch.equal(state[k], v) for k, v in loaded.state_dict().items())


def test_another_network_is_refused_with_the_names_that_would_do(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="fits none of dncnn, nano"):
        load_student(tmp_path / "other.safetensors")


def test_a_named_student_must_fit_and_exist(weights: Path) -> None:
    with pytest.raises(ModelError, match="missing"):
        load_student(weights, "small")
    with pytest.raises(InputError, match="choose one of: dncnn"):
        load_student(weights, "nope")


def test_both_files_are_written_and_know_each_other(written: list[Path]) -> None:
    assert [path.name for path in written] == ["nano.onnx", "nano-int8.onnx"]
    single, int8 = map(verify, written)
    assert (single.precision, int8.precision) == ("float32", "int8")
    assert int8.float_sha256 == single.weights_sha256


def test_the_card_says_what_its_file_says_and_what_was_measured(written: list[Path]) -> None:
    card = read_card(written[0])
    assert (card.name, card.hours, card.data) == ("mine", 2, ("noise",))
    assert card.scores == {"s": {"psnr": 3}}
    spec = MODELS["nano"]
    assert (card.architecture, card.multiple, card.halo) == ("nano", spec.multiple, spec.halo)
    assert card.parameters > 0
    assert card.parity is not None


def test_a_student_that_changes_nothing_loses_nothing_in_int8(written: list[Path]) -> None:
    assert read_card(written[1]).int8_drop_db == 0


def test_existing_files_are_left_alone(written: list[Path], weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "nano.onnx"
    target.with_name("nano-int8.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"nano-int8\.onnx exists already"):
        export_checkpoint(weights, target, int8=True, photos=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["nano-int8.onnx"]


CARDS = {
    "[1]": "no JSON object; it may say: name, version",
    "{": "no JSON that can be read",
    '{"parity": 0}': "may say: name, version, .* not 'parity'",
    '{"data": 5}': "unusable data",
    '{"data": "noise"}': "unusable data",
    '{"hours": "two"}': "unusable hours",
    '{"hours": NaN}': "unusable hours",
    '{"scores": {"s": 3}}': "unusable scores",
}


@pytest.mark.parametrize("text", CARDS)
def test_a_card_file_that_cannot_be_used_is_named(text: str, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=rf"card\.json .*{CARDS[text]}"):
        export_checkpoint(weights, tmp_path / "n.onnx", card_file=tmp_path / "card.json")
    assert not (tmp_path / "n.onnx").exists()


def test_a_folder_that_cannot_be_written_is_named(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "export", full)
    with pytest.raises(InputError, match=r"n\.onnx cannot be written: the disk is full"):
        export_checkpoint(weights, tmp_path / "n.onnx")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[tuple[str, str]]]:
    """Number of photographs -> (photograph, degradation) of every picture that int8 is made with.

    The first 24 calibrate, the others measure the loss.
    """
    seen: list[tuple[str, str]] = []

    def remember(path: Path, degradation: str) -> HeldOut:
        seen.append((path.name, degradation))
        sharp = np.zeros((600, 20, 3), np.uint8)
        return HeldOut(path.stem, degradation, sharp, sharp)

    def draw(count: int) -> list[tuple[str, str]]:
        found = [Pair(Path(str(i)), None, str(i), str(i)) for i in range(count)]
        monkeypatch.setattr(run, "list_pairs", lambda *_, **__: found)
        monkeypatch.setattr(run, "degraded_picture", remember)
        windows = run._pictures(Path())
        assert {degraded.shape for degraded, _ in windows} == {(512, 20, 3)}
        return seen

    return draw


@pytest.mark.parametrize("count", [6, 7, 8, 13, 100])
def test_no_picture_that_measures_int8_was_calibrated_on(
    count: int, drawn: Callable[[int], list[tuple[str, str]]]
) -> None:
    pictures = drawn(count)
    assert len(pictures) == 40
    assert not set(pictures[:24]) & set(pictures[24:])


def test_one_photograph_meets_every_degradation_but_none(
    drawn: Callable[[int], list[tuple[str, str]]],
) -> None:
    pictures = drawn(1)
    everyday = set(EVERYDAY) - {"clean"}
    assert {kind for _, kind in pictures[:24]} == everyday
    assert {kind for _, kind in pictures[24:]} == everyday
