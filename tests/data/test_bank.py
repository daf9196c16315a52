"""Batches are pure functions of seed and step, and hold what they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from whet.data.bank import Batch, CropBank, MixedBank, PairBank, PhotoBank
from whet.data.bank_files import load_bank, make_bank
from whet.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(5)
    paths = []
    for index, (height, width) in enumerate([(150, 200), (120, 97), (20, 300)]):
        coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        pixels = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
        paths.append(tmp_path / f"photo{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def crop_bank(count: int = 5, side: int = 24, taught: tuple[int, ...] = ()) -> CropBank:
    sharp = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, side, side)
    teacher = sharp[list(taught)] + 200 if taught else None
    return CropBank(sharp, sharp + 100, teacher, taught)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.sharp, b.sharp) and torch.equal(a.degraded, b.degraded)


def test_photo_batches_follow_seed_and_step(photos: list[Path]) -> None:
    bank = PhotoBank(photos, {"defocus": 0.5, "clean": 0.5}, margin=8)
    first = bank.batch(1, 7, 4, 32)
    assert same(
        first, PhotoBank(photos, {"defocus": 0.5, "clean": 0.5}, margin=8).batch(1, 7, 4, 32)
    )
    assert not same(first, bank.batch(1, 8, 4, 32))
    assert not same(first, bank.batch(2, 7, 4, 32))
    assert not same(first, bank.batch(1, 7, 4, 32, rank=1))


def test_photo_batch_has_the_asked_shape_even_from_small_photographs(photos: list[Path]) -> None:
    batch = PhotoBank(photos, {"clean": 1.0}, margin=16).batch(0, 0, 6, 64)
    assert batch.sharp.shape == (6, 3, 64, 64)
    assert torch.equal(batch.sharp, batch.degraded)


def test_crops_prefer_detail(tmp_path: Path) -> None:
    pixels = np.full((256, 1024, 3), 128, np.uint8)
    pixels[96:160, 800:864] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    Image.fromarray(pixels).save(tmp_path / "flat.png")
    bank = PhotoBank([tmp_path / "flat.png"], {"clean": 1.0}, margin=0)
    batch = bank.batch(0, 0, 60, 64)
    with_detail = int((batch.sharp.std((1, 2, 3)) > 0.02).sum())
    assert with_detail > 30  # 2% of the picture, and most crops see it


def test_no_photographs_is_an_error() -> None:
    with pytest.raises(DataError, match="--photos"):
        PhotoBank([], {"clean": 1.0})


def test_every_crop_is_drawn_once_per_epoch() -> None:
    bank = crop_bank(count=6)
    seen: list[int] = []
    for step in range(4):  # 4 x 3 = two epochs of six
        seen += (bank.batch(9, step, 3, 24).sharp[:, 0, 0, 0] * 255).round().int().tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_degraded_sharp_and_teacher_stay_aligned() -> None:
    side = 24
    sharp = torch.randint(0, 100, (3, 3, side, side), dtype=torch.uint8)
    bank = CropBank(sharp, sharp + 50, sharp + 100, (0, 1, 2))
    batch = bank.batch(0, 3, 6, 16)
    assert batch.teacher is not None
    assert batch.taught is not None
    assert bool(batch.taught.all())
    torch.testing.assert_close(batch.degraded - batch.sharp, torch.full_like(batch.sharp, 50 / 255))
    torch.testing.assert_close(batch.teacher - batch.sharp, torch.full_like(batch.sharp, 100 / 255))


def test_taught_marks_just_the_crops_with_a_teacher() -> None:
    bank = crop_bank(count=5, taught=(1, 4))
    batch = bank.batch(0, 0, 5, 24)
    index = (batch.sharp[:, 0, 0, 0] * 255).round().int()
    assert batch.taught is not None
    assert torch.equal(batch.taught, (index == 1) | (index == 4))


def test_augmentation_reaches_all_eight_symmetries() -> None:
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[:, :, 0, 1] = 255
    bank = CropBank(image, image)
    places = {
        tuple((bank.batch(0, step, 1, 8).sharp[0, 0] > 0).nonzero()[0].tolist())
        for step in range(80)
    }
    assert len(places) == 8


def test_every_crop_is_a_window_of_its_picture_turned_or_mirrored() -> None:
    generator = torch.Generator().manual_seed(2)
    sides = [(9, 12), (11, 7), (6, 6)]
    images = [torch.randint(0, 256, (3, *s), generator=generator).to(torch.uint8) for s in sides]
    windows = set()
    for image in images:
        for top in range(image.shape[1] - 5):
            for left in range(image.shape[2] - 5):
                window = image[:, top : top + 6, left : left + 6]
                for quarter in range(4):
                    turned = window.rot90(quarter, (1, 2))
                    windows |= {tuple(t.flatten().tolist()) for t in (turned, turned.flip(2))}
    bank = CropBank(images, images, images[1:], (1, 2))
    seen = set()
    for step in range(60):
        batch = bank.batch(4, step, 3, 6)
        assert batch.teacher is not None
        assert torch.equal(batch.sharp, batch.degraded)
        assert torch.equal(batch.sharp, batch.teacher)
        seen |= {tuple((s * 255).round().int().flatten().tolist()) for s in batch.sharp}
    assert seen <= windows
    assert len(seen) > 100


def test_pairs_are_used_whole_and_unturned() -> None:
    sharp = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    batch = PairBank(sharp, sharp).batch(0, 0, 2, 16)
    found = {tuple((b * 255).round().to(torch.uint8).flatten().tolist()) for b in batch.sharp}
    assert found == {tuple(s.flatten().tolist()) for s in sharp}
    with pytest.raises(DataError):
        PairBank(sharp, sharp).batch(0, 0, 2, 8)


def test_mixed_bank_takes_the_shares_and_marks_the_untaught() -> None:
    mixed = MixedBank([(crop_bank(taught=(0, 1, 2, 3, 4)), 0.25), (crop_bank(), 0.75)])
    batch = mixed.batch(0, 0, 8, 24)
    assert batch.sharp.shape[0] == 8
    assert batch.taught is not None
    assert batch.taught.tolist() == [True] * 2 + [False] * 6


def brighter(image: Tensor) -> Tensor:
    return (image + 0.25).clamp(0, 1)


def test_a_bank_on_disk_continues_where_it_stopped(photos: list[Path], tmp_path: Path) -> None:
    mix = {"defocus": 1.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    make_bank(whole, photos, mix, shards=2, crop=32, teacher_name="brighter", teach=brighter)
    make_bank(parts, photos, mix, shards=1, crop=32, teacher_name="brighter", teach=brighter)
    kept = (parts / "shard-00000.safetensors").stat().st_mtime_ns
    make_bank(parts, photos, mix, shards=2, crop=32, teacher_name="brighter", teach=brighter)
    assert (parts / "shard-00000.safetensors").stat().st_mtime_ns == kept
    for path in whole.glob("shard-*"):
        assert path.read_bytes() == (parts / path.name).read_bytes()
    assert not list(parts.glob("*.part"))


def test_bank_holds_the_teachers_view_of_the_degraded_crop(
    photos: list[Path], tmp_path: Path
) -> None:
    make_bank(
        tmp_path / "b",
        photos,
        {"defocus": 1.0},
        shards=1,
        crop=32,
        teacher_name="t",
        teach=brighter,
    )
    bank = load_bank([tmp_path / "b"])
    batch = bank.batch(0, 0, 8, 32)
    assert bank.taught_count == len(bank) == 8
    assert batch.teacher is not None
    torch.testing.assert_close(batch.teacher, brighter(batch.degraded), atol=1 / 255, rtol=0)


def test_banks_of_other_sizes_with_and_without_a_teacher_are_read_as_one(
    photos: list[Path], tmp_path: Path
) -> None:
    make_bank(tmp_path / "a", photos, {"clean": 1.0}, shards=1, crop=32)
    make_bank(
        tmp_path / "b", photos, {"clean": 1.0}, shards=1, crop=48, teacher_name="t", teach=brighter
    )
    bank = load_bank([tmp_path / "a", tmp_path / "b"])
    assert (len(bank), bank.taught_count) == (16, 8)
    assert bank.batch(0, 0, 16, 32).sharp.shape == (16, 3, 32, 32)
    with pytest.raises(DataError, match="bank of larger crops"):
        bank.batch(0, 0, 16, 48)


def test_a_bank_made_otherwise_is_refused(photos: list[Path], tmp_path: Path) -> None:
    make_bank(tmp_path / "a", photos, {"clean": 1.0}, shards=1, crop=32)
    with pytest.raises(DataError, match="other settings"):
        make_bank(tmp_path / "a", photos, {"clean": 1.0}, shards=1, crop=64)


def test_damaged_and_missing_banks_are_named(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="whet data make"):
        load_bank([tmp_path])
    make_bank(tmp_path / "a", photos, {"clean": 1.0}, shards=1, crop=32)
    shard = tmp_path / "a" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged"):
        load_bank([tmp_path / "a"])
