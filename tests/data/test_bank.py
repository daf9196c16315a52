"""Batches are pure functions of seed and step, and hold what they claim."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from whet.conditions import KINDS
from whet.data.bank import CropBank, PairBank
from whet.data.bank_files import load_bank, make_bank
from whet.data.batch import UNTOLD, Batch, Conditions
from whet.data.mixed_bank import MixedBank
from whet.data.pages import gradient, page
from whet.data.photo_bank import PhotoBank
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
                    for colours in permutations(range(3)):
                        shuffled = turned[list(colours)]
                        both = (shuffled, shuffled.flip(2))
                        windows |= {tuple(t.flatten().tolist()) for t in both}
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


def test_colours_change_places_in_all_six_ways_and_together() -> None:
    image = torch.arange(3, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8) * 50
    bank = CropBank(image, image + 5, image + 9, (0,))
    orders = set()
    for step in range(60):
        batch = bank.batch(0, step, 1, 8)
        assert batch.teacher is not None
        torch.testing.assert_close(batch.degraded - batch.sharp, torch.full((1, 3, 8, 8), 5 / 255))
        torch.testing.assert_close(batch.teacher - batch.sharp, torch.full((1, 3, 8, 8), 9 / 255))
        orders.add(tuple((batch.sharp[0, :, 0, 0] * 255).round().int().tolist()))
    assert len(orders) == 6


def test_pairs_are_used_whole_and_unturned() -> None:
    sharp = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    batch = PairBank(sharp, sharp).batch(0, 0, 2, 16)
    found = {tuple((b * 255).round().to(torch.uint8).flatten().tolist()) for b in batch.sharp}
    assert found == {tuple(s.flatten().tolist()) for s in sharp}
    with pytest.raises(DataError):
        PairBank(sharp, sharp).batch(0, 0, 2, 8)


def test_mixed_bank_marks_the_untaught_and_the_untold() -> None:
    kinds = Conditions(torch.full((5,), 7), torch.full((5, 4), 0.25))
    sharp = torch.zeros(5, 3, 24, 24, dtype=torch.uint8)
    mixed = MixedBank(
        [
            (crop_bank(taught=(0, 1, 2, 3, 4)), 0.25),
            (CropBank(sharp, sharp, conditions=kinds), 0.75),
        ]
    )
    batch = mixed.batch(0, 0, 40, 24)
    assert batch.taught is not None
    assert batch.conditions is not None
    count = int(batch.taught.sum())
    assert batch.taught.tolist() == [True] * count + [False] * (40 - count)
    assert batch.conditions.kinds.tolist() == [UNTOLD] * count + [7] * (40 - count)
    assert bool(batch.conditions.measures[:count].isnan().all())
    assert bool((batch.conditions.measures[count:] == 0.25).all())


def test_a_small_batch_without_a_taught_crop_still_says_so() -> None:
    mixed = MixedBank([(crop_bank(taught=(0, 1, 2, 3, 4)), 0.2), (crop_bank(), 0.8)])
    batches = [mixed.batch(0, step, 1, 24) for step in range(20)]
    assert all(b.teacher is not None and b.taught is not None for b in batches)
    assert {bool(b.taught) for b in batches} == {True, False}


@pytest.mark.parametrize("size", [1, 3, 8, 16])
def test_shares_hold_over_steps_whatever_the_batch(size: int) -> None:
    """Also after a stage has changed the size of a batch in the middle of a run."""
    shares = [0.125, 0.6, 0.25, 0.02, 0.005]
    banks = [crop_bank_of(value) for value in range(5)]
    mixed = MixedBank(list(zip(banks, shares, strict=True)))
    for start in (0, 977):
        drawn = np.zeros(5)
        for step in range(start, start + 2400 // size):
            levels = (mixed.batch(1, step, size, 8).sharp[:, 0, 0, 0] * 255).round().int()
            drawn += np.bincount(levels.numpy(), minlength=5)
        assert np.abs(drawn - np.array(shares) * drawn.sum()).max() <= 3
        assert drawn.min() > 0


def crop_bank_of(value: int) -> CropBank:
    image = torch.full((4, 3, 8, 8), value, dtype=torch.uint8)
    return CropBank(image, image)


def test_every_crop_of_a_source_comes_about_equally_often() -> None:
    mixed = MixedBank([(crop_bank(count=10), 0.3), (crop_bank(count=5), 0.7)])
    # 300 of 1000 crops come from ten: thirty each, where chance alone would vary by five.
    counts = np.zeros(256, int)
    for step in range(200):
        batch = mixed.batch(3, step, 5, 24)
        levels = (batch.sharp[:, 0, 0, 0] * 255).round().int().numpy()
        counts += np.bincount(levels, minlength=256)
    assert all(24 <= counts[level] <= 36 for level in range(5, 10))


def test_photographs_are_degraded_by_their_shares_and_tell_how(photos: list[Path]) -> None:
    mix = {"clean": 0.5, "jpeg": 0.375, "text": 0.125, "object": 0.0}
    bank = PhotoBank(photos, mix, margin=8)
    counts = dict.fromkeys(("clean", "jpeg", "lens", "zoom"), 0)
    for step in range(20):
        batch = bank.batch(0, step, 4, 16)
        assert batch.conditions is not None
        for row, kind in enumerate(batch.conditions.kinds.tolist()):
            counts[KINDS[kind]] += 1
            same_image = torch.equal(batch.degraded[row], batch.sharp[row])
            assert same_image == (KINDS[kind] == "clean")
    assert counts["clean"] == pytest.approx(40, abs=2)
    assert counts["jpeg"] == pytest.approx(30, abs=2)
    assert counts["lens"] + counts["zoom"] == pytest.approx(10, abs=2)


def test_blocks_of_files_fall_anywhere(photos: list[Path]) -> None:
    """The phase of JPEG's blocks, as the column where neighbours differ most from their likes."""
    bank = PhotoBank(photos, {"jpeg": 1.0}, margin=8)
    phases = set()
    for step in range(12):
        batch = bank.batch(0, step, 4, 64)
        error = (batch.degraded - batch.sharp).diff(dim=-1).square().mean((1, 2))
        for row in error:
            phases.add(int(torch.stack([row[k::8][:7].mean() for k in range(8)]).argmax()))
    assert len(phases) >= 5


def test_pages_and_colours_are_drawn_by_seed() -> None:
    for draw in (page, gradient):
        first, again, other = (draw(np.random.default_rng(s), 96) for s in (1, 1, 2))
        assert first.shape == (96, 96, 3)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    contrast = [np.ptp(page(np.random.default_rng(s), 128).astype(int)) for s in range(20)]
    assert min(contrast) > 100
    smooth = [gradient(np.random.default_rng(s), 64).astype(int) for s in range(10)]
    assert all(np.abs(np.diff(g, axis=a)).max() <= 4 for g in smooth for a in (0, 1))


def test_a_bank_tells_what_happened_and_one_of_before_does_not(
    photos: list[Path], tmp_path: Path
) -> None:
    make_bank(tmp_path / "new", photos, {"lens": 1.0}, shards=1, crop=32)
    make_bank(tmp_path / "old", photos, {"lens": 1.0}, shards=1, crop=32)
    path = tmp_path / "old" / "shard-00000.safetensors"
    tensors = load_file(path)
    save_file({k: tensors[k] for k in ("degraded", "sharp")}, path)
    batch = load_bank([tmp_path / "old", tmp_path / "new"]).batch(0, 0, 16, 32)
    assert batch.conditions is not None
    known = batch.conditions.kinds == KINDS.index("lens")
    assert int(known.sum()) == 8
    assert bool((batch.conditions.kinds[~known] == UNTOLD).all())
    assert not bool(batch.conditions.measures[known].isnan().any())
    assert bool(batch.conditions.measures[~known].isnan().all())


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
