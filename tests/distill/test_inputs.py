"""What the user names becomes what is trained on and what is held out, and never both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from commandline import MakePicture, load, save, save_gopro, save_photos
from whet.cli.workshop import bank_shares
from whet.conditions import KINDS
from whet.data.bank import CropBank, PairBank
from whet.data.bank_files import make_bank
from whet.data.mixed_bank import MixedBank
from whet.data.photo_bank import PhotoBank
from whet.data.sources import list_pairs
from whet.degrade import pictures as pictures_module
from whet.degrade.pictures import HeldOut, degraded_picture
from whet.distill.inputs import TrainingInputs, held_out_pictures, needs_teacher, training_bank
from whet.distill.recipes import RECIPES, Stage, override
from whet.distill.validate import PSNR_CEILING_DB, restore_bytes, validate
from whet.errors import DataError, InputError

PHOTOGRAPHS = replace(RECIPES["quick"], mix={"bicubic-x2": 0.5, "shake-srgb": 0.4, "clean": 0.1})
PAIRS = replace(RECIPES["quick"], teacher="")
SQUEEZED = replace(PAIRS, resize_px=16, stages=(Stage(0.0, 16, 2),))
SCENES = ["quay", "moor", "barn", "gorge", "mill"]


@pytest.fixture
def photos(tmp_path: Path, picture: MakePicture) -> Path:
    return save_photos(tmp_path / "photos", picture, SCENES, side=40)


@pytest.fixture
def gopro(tmp_path: Path, picture: MakePicture) -> Path:
    return save_gopro(tmp_path / "GoPro_Large", picture, side=24)


@pytest.fixture
def bank(tmp_path: Path, photos: Path) -> Path:
    paths = sorted(photos.iterdir())[:2]
    make_bank(tmp_path / "bank", paths, {"clean": 1.0}, shards=1, crop=16, teach=lambda x: x)
    return tmp_path / "bank"


# Training


def test_photographs_are_degraded_as_they_are_drawn(photos: Path) -> None:
    bank = training_bank(PHOTOGRAPHS, TrainingInputs(photos), "cpu")
    assert isinstance(bank, PhotoBank)
    batch = bank.batch(0, 0, 4, 16)
    assert not torch.equal(batch.degraded, batch.sharp)


def test_scenes_are_held_out_of_the_photographs(photos: Path) -> None:
    bank = training_bank(PHOTOGRAPHS, TrainingInputs(photos), "cpu")
    held_out = held_out_pictures(PHOTOGRAPHS, TrainingInputs(photos))
    assert isinstance(bank, PhotoBank)
    assert len(bank) + len(held_out) == len(SCENES)
    assert held_out


def test_all_photographs_are_trained_on_when_others_are_held_out(
    photos: Path, tmp_path: Path, picture: MakePicture
) -> None:
    others = save_photos(tmp_path / "others", picture, ["weir", "dune"], side=40)
    inputs = TrainingInputs(photos, validation=others)
    bank = training_bank(PHOTOGRAPHS, inputs, "cpu")
    assert isinstance(bank, PhotoBank)
    assert len(bank) == len(SCENES)
    assert {p.name for p in held_out_pictures(PHOTOGRAPHS, inputs)} == {"weir", "dune"}


def test_pairs_are_cropped_at_full_resolution(gopro: Path) -> None:
    bank = training_bank(PAIRS, TrainingInputs(pairs=(("gopro", gopro),)), "cpu")
    assert type(bank) is CropBank
    # Two training sequences of two frames, one of them held out.
    assert len(bank) == 2
    assert bank.batch(0, 0, 2, 24).sharp.shape == (2, 3, 24, 24)


def test_pairs_are_squeezed_whole_where_the_recipe_says_so(gopro: Path) -> None:
    bank = training_bank(SQUEEZED, TrainingInputs(pairs=(("gopro", gopro),)), "cpu")
    assert isinstance(bank, PairBank)
    batch = bank.batch(0, 0, 2, 16)
    squeezed = []
    for path in gopro.glob("train/*/sharp/*.png"):
        with Image.open(path) as whole:
            squeezed.append(np.array(whole.resize((16, 16), Image.Resampling.BILINEAR)))
    for image in batch.sharp:
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        assert any(np.array_equal(pixels, other) for other in squeezed)


def test_only_the_first_pairs_are_used_where_the_recipe_says_so(gopro: Path) -> None:
    bank = training_bank(
        replace(PAIRS, pair_limit=1), TrainingInputs(pairs=(("gopro", gopro),)), "cpu"
    )
    assert isinstance(bank, CropBank)
    assert len(bank) == 1


def test_small_degraded_pictures_are_enlarged_to_their_sharp_partners(
    tmp_path: Path, picture: MakePicture
) -> None:
    for part, name in (("train", "0001"), ("valid", "0801")):
        sharp = picture(48, 64, int(name))
        small = Image.fromarray(sharp).resize((32, 24), Image.Resampling.BICUBIC)
        save(sharp, tmp_path / f"DIV2K_{part}_HR" / f"{name}.png")
        save(np.array(small), tmp_path / f"DIV2K_{part}_LR_bicubic" / "X2" / f"{name}x2.png")
    inputs = TrainingInputs(pairs=(("div2k", tmp_path),))
    batch = training_bank(PAIRS, inputs, "cpu").batch(0, 0, 1, 48)
    assert batch.degraded.shape == batch.sharp.shape == (1, 3, 48, 48)
    (held_out,) = held_out_pictures(PAIRS, inputs)
    # Pillow enlarges with the same kernel, but rounds in between.
    expected = np.array(small.resize((64, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(held_out.degraded - expected).max() <= 3


def test_a_bank_and_photographs_share_every_batch(photos: Path, bank: Path) -> None:
    mixed = training_bank(PHOTOGRAPHS, TrainingInputs(photos, banks=(bank,)), "cpu")
    assert isinstance(mixed, MixedBank)
    batch = mixed.batch(0, 0, 20, 16)
    assert batch.taught is not None
    assert batch.taught.sum() == pytest.approx(10, abs=1)


def test_banks_take_the_shares_that_they_are_given(
    photos: Path, bank: Path, tmp_path: Path
) -> None:
    paths = sorted(photos.iterdir())[:2]
    for name in ("jpeg", "bicubic-x3"):
        make_bank(tmp_path / name, paths, {name: 1.0}, shards=1, crop=16)
    banks = (tmp_path / "jpeg", bank, tmp_path / "bicubic-x3")
    shares = {banks[0]: 0.5, banks[2]: 0.2}
    inputs = TrainingInputs(photos, banks=banks, shares=shares)
    mixed = training_bank(PHOTOGRAPHS, inputs, "cpu")
    batch = mixed.batch(0, 0, 100, 16)
    assert batch.conditions is not None
    kinds = [KINDS[i] for i in batch.conditions.kinds.tolist()]
    assert kinds.count("jpeg") == pytest.approx(50, abs=2)
    assert kinds.count("bicubic-x3") == pytest.approx(20, abs=2)
    assert batch.taught is not None
    assert int(batch.taught.sum()) == pytest.approx(15, abs=2)


def test_shares_that_leave_nothing_are_refused(photos: Path, bank: Path) -> None:
    with pytest.raises(InputError, match="leave nothing for"):
        TrainingInputs(photos, banks=(bank,), shares={bank: 1.0})
    with pytest.raises(InputError, match="above 0"):
        TrainingInputs(banks=(bank,), shares={bank: 0.0})
    # Alone, shares are proportions.
    TrainingInputs(banks=(bank,), shares={bank: 2.0})


@pytest.mark.parametrize(
    ("option", "folder", "share"),
    [("bank", "bank", None), ("bank=.25", "bank", 0.25), ("a=b=2", "a=b", 2.0)],
)
def test_a_share_stands_behind_the_folder(option: str, folder: str, share: float | None) -> None:
    folders, shares = bank_shares([option])
    assert folders == (Path(folder),)
    assert shares == ({} if share is None else {Path(folder): share})


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "crop=256").mkdir()
    assert bank_shares([str(tmp_path / "crop=256")]) == ((tmp_path / "crop=256",), {})
    with pytest.raises(InputError, match="is a number"):
        bank_shares(["bank=much"])


def test_a_bank_alone_is_a_bank_alone(bank: Path) -> None:
    only = training_bank(PHOTOGRAPHS, TrainingInputs(banks=(bank,)), "cpu")
    assert isinstance(only, CropBank)
    assert held_out_pictures(PHOTOGRAPHS, TrainingInputs(banks=(bank,))) == []


# Validation


def test_held_out_photographs_take_turns_at_the_degradations(photos: Path) -> None:
    others = TrainingInputs(banks=(Path("bank"),), validation=photos)
    pictures = held_out_pictures(PHOTOGRAPHS, others)
    assert len(pictures) == len(SCENES)
    assert [p.suite for p in pictures] == ["bicubic-x2", "shake-srgb"] * 2 + ["bicubic-x2"]
    for shown in pictures:
        assert np.array_equal(shown.sharp, load(photos / f"{shown.name}.png"))
        assert not np.array_equal(shown.degraded, shown.sharp)


def test_a_photograph_is_degraded_by_its_name_alone(photos: Path, tmp_path: Path) -> None:
    first = degraded_picture(photos / "quay.png", "shake-srgb")
    again = degraded_picture(photos / "quay.png", "shake-srgb")
    assert np.array_equal(first.degraded, again.degraded)
    renamed = save(load(photos / "quay.png"), tmp_path / "other.png")
    assert not np.array_equal(degraded_picture(renamed, "shake-srgb").degraded, first.degraded)


def test_held_out_pairs_are_of_other_sequences_than_those_trained_on(gopro: Path) -> None:
    pictures = held_out_pictures(PAIRS, TrainingInputs(pairs=(("gopro", gopro),)))
    trained = {pair.scene for pair in list_pairs("gopro", gopro, "train")}
    sequences = {p.name.split("/")[0] for p in pictures}
    assert sequences
    assert not sequences & trained
    assert {p.suite for p in pictures} == {"gopro"}


def test_no_test_picture_is_opened_before_or_in_a_run(
    gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Selection sees what is validated on, and that is never of a test split."""
    opened: list[Path] = []
    read = pictures_module.read

    def noted(path: Path) -> object:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(pictures_module, "read", noted)
    for kind in ("gopro", "pairs"):  # the same folders, read as either layout
        named = TrainingInputs(pairs=((kind, gopro),), pictures=50)
        training_bank(PAIRS, named, "cpu")
        held_out_pictures(PAIRS, named)
    assert opened
    assert {path.relative_to(gopro).parts[0] for path in opened} == {"train"}


def test_several_sets_of_pairs_are_trained_and_validated_on_together(
    gopro: Path, tmp_path: Path, picture: MakePicture
) -> None:
    for scene in ("lane", "pier", "well"):
        for frame in range(2):
            sharp = picture(32, 40, frame)
            save(sharp, tmp_path / "own" / scene / "sharp" / f"{frame}.png")
            save(sharp, tmp_path / "own" / scene / "blur" / f"{frame}.png")
    both = TrainingInputs(pairs=(("gopro", gopro), ("pairs", tmp_path / "own")))
    alone = TrainingInputs(pairs=(("gopro", gopro),))
    together = training_bank(PAIRS, both, "cpu")
    assert len(together) == len(training_bank(PAIRS, alone, "cpu")) + 4  # type: ignore[arg-type]
    assert {p.suite for p in held_out_pictures(PAIRS, both)} == {"gopro", "pairs"}
    two = training_bank(replace(PAIRS, pair_limit=2), both, "cpu")
    assert len(two) == 2  # type: ignore[arg-type]


def test_squeezed_pairs_say_so(gopro: Path) -> None:
    pictures = held_out_pictures(SQUEEZED, TrainingInputs(pairs=(("gopro", gopro),)))
    assert {p.suite for p in pictures} == {"gopro squeezed to 16 px"}
    assert {p.sharp.shape for p in pictures} == {(16, 16, 3)}


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (3, 3), (50, 5)])
def test_no_more_pictures_than_asked_for(photos: Path, count: int, expected: int) -> None:
    inputs = TrainingInputs(banks=(Path("bank"),), validation=photos, pictures=count)
    assert len(held_out_pictures(PHOTOGRAPHS, inputs)) == expected


# What does not fit together


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="--photos DIR, --pairs DIR or --bank DIR"):
        TrainingInputs(validation=Path("photos"))


@pytest.mark.parametrize("other", ["photos", "validation", "banks"])
def test_pairs_beside_something_else_are_refused(other: str) -> None:
    beside = {other: (Path("x"),) if other == "banks" else Path("x")}
    with pytest.raises(InputError, match="leave --photos, --validation and --bank out"):
        TrainingInputs(pairs=(("pairs", Path("p")),), **beside)  # type: ignore[arg-type]


def test_photographs_are_not_held_out_of_themselves(photos: Path) -> None:
    with pytest.raises(InputError, match="leave --validation out"):
        TrainingInputs(photos, validation=photos.parent / "." / photos.name)


def test_a_recipe_without_degradations_takes_no_photographs(photos: Path, bank: Path) -> None:
    recipe = RECIPES["quick"]
    with pytest.raises(InputError, match=r"--set mix\.NAME=1"):
        training_bank(recipe, TrainingInputs(photos), "cpu")
    with pytest.raises(InputError, match=r"--set mix\.NAME=1"):
        held_out_pictures(recipe, TrainingInputs(banks=(bank,), validation=photos))


def test_a_recipe_that_squeezes_takes_pairs_alone(bank: Path) -> None:
    with pytest.raises(InputError, match="name a folder of them with --pairs"):
        training_bank(RECIPES["founding"], TrainingInputs(banks=(bank,)), "cpu")


def test_sharp_pictures_alone_are_no_pairs(tmp_path: Path, picture: MakePicture) -> None:
    for part, name in (("train", "0001"), ("valid", "0801")):
        save(picture(16, 16), tmp_path / f"DIV2K_{part}_HR" / f"{name}.png")
    with pytest.raises(InputError, match="train on it with --photos"):
        training_bank(PAIRS, TrainingInputs(pairs=(("div2k", tmp_path),)), "cpu")


def test_a_folder_without_the_banks_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write one with `whet data make`"):
        training_bank(PAIRS, TrainingInputs(banks=(tmp_path,)), "cpu")


def test_a_teacher_runs_only_for_losses_that_need_it_and_where_no_bank_holds_its_outputs(
    tmp_path: Path,
) -> None:
    for name, teacher in (("taught", "maxim-gopro"), ("plain", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bank.json").write_text(json.dumps({"teacher": teacher}))
    photographs, plain = TrainingInputs(Path("photos")), TrainingInputs(banks=(tmp_path / "plain",))
    bank = TrainingInputs(banks=(tmp_path / "plain", tmp_path / "taught"))
    with_teacher = replace(RECIPES["quick"], teacher="maxim")
    assert needs_teacher(with_teacher, photographs)
    assert needs_teacher(with_teacher, plain)
    assert not needs_teacher(with_teacher, bank)
    assert not needs_teacher(replace(RECIPES["quick"], losses={"pixel": 1.0}), photographs)
    with pytest.raises(InputError, match="--set teacher=maxim"):
        needs_teacher(RECIPES["quick"], photographs)


# Settings


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("log_every=0", "from 1 up"),
        ("seed=-1", "from 0 up"),
        ("learning_rate=nan", "from 0 up"),
        ("mix.object=-1", "from 0 up"),
        ("ema=1", "below 1"),
        ("batch=0", "1 or more"),
        ("crop=36", "multiples of 8"),
        ("precision=int4", "auto, float32, bf16"),
        ("teacher=nobody", "maxim, restormer, spandrel"),
        ("mix.fog=1", "clean, shake-srgb"),
        ("losses.fog=1", "pixel, charbonnier"),
        ("stage=1", "crop, batch, stages, losses.NAME"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(setting: str, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        override(RECIPES["nano"], dict([setting.split("=")]))


def test_at_least_one_loss_is_left() -> None:
    with pytest.raises(InputError, match=r"--set losses\.pixel=1"):
        override(RECIPES["quick"], {f"losses.{name}": "0" for name in RECIPES["quick"].losses})


def test_squeezed_pairs_are_used_whole() -> None:
    with pytest.raises(InputError, match="--set crop=N --set resize_px=N"):
        override(RECIPES["founding"], {"crop": "64"})
    recipe = override(RECIPES["founding"], {"crop": "64", "resize_px": "64"})
    assert recipe.stages == (Stage(0.0, 64, 2),)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_passes_the_checks_itself(name: str) -> None:
    assert override(RECIPES[name], {}) == RECIPES[name]


# Scores while training


class Blocks(nn.Conv2d):
    """Takes multiples of 8 and eval mode only, and adds twenty levels."""

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert degraded.shape[-1] % 8 == degraded.shape[-2] % 8 == 0
        return degraded + 20 / 255


def brighter(image: np.ndarray) -> np.ndarray:
    return np.minimum(image.astype(int) + 20, 255).astype(np.uint8)


def test_validation_restores_any_size_and_leaves_the_mode_as_it_was(picture: MakePicture) -> None:
    network = Blocks(3, 3, 1).train()
    image = picture(21, 13)
    scores = validate(network, [HeldOut("one", "suite", image, image)], 8)
    assert network.training
    assert scores.psnr_db == pytest.approx(peak_signal_noise_ratio(image, brighter(image)))
    assert scores.identity_psnr_db == PSNR_CEILING_DB


@pytest.mark.parametrize(("height", "width"), [(21, 13), (8, 16), (3, 2), (1, 1)])
def test_pictures_of_any_size_are_restored(height: int, width: int, picture: MakePicture) -> None:
    image = np.resize(picture(32, 32), (height, width, 3))
    assert np.array_equal(restore_bytes(Blocks(3, 3, 1).eval(), image, 8), brighter(image))


def test_gains_are_means_per_suite(picture: MakePicture) -> None:
    class Darker(nn.Conv2d):
        def forward(self, degraded: torch.Tensor) -> torch.Tensor:
            return degraded - 10 / 255

    sharp = np.full((16, 16, 3), 100, np.uint8)
    pictures = [
        HeldOut("a", "bright", sharp + np.uint8(20), sharp),
        HeldOut("b", "bright", sharp + np.uint8(10), sharp),
        HeldOut("c", "dark", sharp - np.uint8(10), sharp),
    ]
    scores = validate(Darker(3, 3, 1), pictures, 1)
    off_by_20, off_by_10 = (20 * np.log10(255 / off) for off in (20, 10))
    to_identical = PSNR_CEILING_DB - off_by_10
    assert scores.gain_db["bright"] == pytest.approx((off_by_10 - off_by_20 + to_identical) / 2)
    assert scores.gain_db["dark"] == pytest.approx(off_by_20 - off_by_10)
