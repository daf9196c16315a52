"""Data sets are listed completely, split by scene, and refused with every fault named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whet.data import sources
from whet.data.named import pairs_named
from whet.data.scenes import photograph_scene, sequence_scene, validation
from whet.data.sources import SOURCES, check, list_pairs, split_to_score
from whet.errors import DataError, InputError


def picture(path: Path, size: tuple[int, int] = (24, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    """A GoPro_Large of 6 train and 2 test sequences with 3 frames each."""
    root = tmp_path / "GoPro_Large"
    sequences = [f"train/GOPR0{i}_11_00" for i in range(6)] + ["test/GOPR7_11_00", "test/GOPR8"]
    for sequence in sequences:
        for kind in ("blur", "blur_gamma", "sharp"):
            for frame in range(3):
                picture(root / sequence / kind / f"{frame:06}.png")
    return root


def test_gopro_holds_validation_scenes_out_of_train_and_keeps_test_apart(gopro: Path) -> None:
    scenes = {
        split: {pair.scene for pair in list_pairs("gopro", gopro, split)}
        for split in ("train", "val", "test")
    }
    assert len(scenes["train"] | scenes["val"]) == 6
    assert scenes["val"]
    assert not scenes["train"] & scenes["val"]
    assert scenes["test"] == {"GOPR7_11_00", "GOPR8"}


def test_gopro_train_and_val_together_are_the_published_training_set(gopro: Path) -> None:
    pairs = list_pairs("gopro", gopro, "train+val")
    assert len(pairs) == 18
    assert [pair.name for pair in pairs] == sorted(pair.name for pair in pairs)
    assert len(list_pairs("gopro", gopro, "all")) == 24


def test_gopro_pairs_each_frame_with_its_own_blur(gopro: Path) -> None:
    for kind, folder in (("gopro", "blur"), ("gopro-gamma", "blur_gamma")):
        for pair in list_pairs(kind, gopro, "test"):
            assert pair.degraded is not None
            assert pair.degraded.parts[-2:] == (folder, pair.sharp.name)
            assert pair.degraded.parent.parent == pair.sharp.parent.parent


def test_gopro_is_found_from_the_folder_above_as_well(gopro: Path) -> None:
    assert list_pairs("gopro", gopro.parent, "test") == list_pairs("gopro", gopro, "test")


def test_gopro_check_reports_the_published_counts(gopro: Path) -> None:
    report = check("gopro", gopro)
    assert [problem.detail for problem in report.problems] == [
        "test has 6 pairs, the published set 1,111",
        "train has 18 pairs, the published set 2,103",
    ]
    assert report.files_read == 48


def test_gopro_complete_counts_are_no_problem(gopro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SOURCES["gopro"].expected == {"train": 2103, "test": 1111}
    small = replace(SOURCES["gopro"], expected={"train": 18, "test": 6})
    monkeypatch.setattr(sources, "SOURCES", {"gopro": small})
    assert check("gopro", gopro).ok


def test_a_sequence_in_train_and_test_is_refused(gopro: Path) -> None:
    for kind in ("blur", "sharp"):
        picture(gopro / "test" / "GOPR00_11_00" / kind / "000009.png")
    with pytest.raises(DataError, match=r"GOPR00_11_00: the sequence lies in train and in test"):
        list_pairs("gopro", gopro, "train")


@pytest.mark.parametrize("degraded", ["blur", "degraded", "input", "lq", "Blur"])
@pytest.mark.parametrize("sharp", ["sharp", "gt", "target"])
def test_paired_folders_go_by_any_usual_name(tmp_path: Path, degraded: str, sharp: str) -> None:
    picture(tmp_path / degraded / "a_01.jpg")
    picture(tmp_path / sharp / "a_01.png")
    (pair,) = list_pairs("pairs", tmp_path, "all")
    assert (pair.name, pair.scene) == ("a_01", "a")
    assert pair.degraded == tmp_path / degraded / "a_01.jpg"


def test_paired_folders_may_lie_in_sequences_or_hold_them(tmp_path: Path) -> None:
    for kind in ("blur", "sharp"):
        picture(tmp_path / "above" / "one" / kind / "1.png")
        picture(tmp_path / "below" / kind / "two" / "1.png")
    pairs = list_pairs("pairs", tmp_path, "all")
    assert [(pair.name, pair.scene) for pair in pairs] == [
        ("above/one/1", "above/one"),
        ("below/two/1", "below/two"),
    ]


def test_folders_named_after_splits_are_obeyed(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for kind in ("input", "target"):
            picture(tmp_path / "pairs" / split / kind / f"{split}.png")
        picture(tmp_path / "photos" / split / f"{split}.png")
    for kind in ("pairs", "photos"):
        for split, stem in (("train", "train"), ("val", "valid"), ("test", "test")):
            (pair,) = list_pairs(kind, tmp_path / kind, split)
            assert pair.sharp.stem == stem


def test_numbered_frames_of_one_flat_folder_are_one_scene(tmp_path: Path) -> None:
    for frame in range(4):
        for kind in ("blur", "sharp"):
            picture(tmp_path / kind / f"{frame:04}.png")
    assert len({pair.scene for pair in list_pairs("pairs", tmp_path, "train")}) == 1
    with pytest.raises(DataError, match="no pictures for the split 'val'"):
        list_pairs("pairs", tmp_path, "val")


def test_div2k_pairs_hr_with_the_suffixed_lr_of_half_the_size(tmp_path: Path) -> None:
    for number in ("0001", "0002"):
        picture(tmp_path / "DIV2K_train_HR" / f"{number}.png", (24, 16))
        picture(tmp_path / "DIV2K_train_LR_bicubic" / "X2" / f"{number}x2.png", (12, 8))
    picture(tmp_path / "DIV2K_valid_HR" / "0801.png")
    first, second = list_pairs("div2k", tmp_path, "train")
    assert first.degraded == tmp_path / "DIV2K_train_LR_bicubic" / "X2" / "0001x2.png"
    assert (first.scale, first.scene, second.scene) == (2, "0001", "0002")
    (held_out,) = list_pairs("div2k", tmp_path, "val")
    assert (held_out.name, held_out.degraded, held_out.scale) == ("0801", None, 1)


def test_div2k_without_lr_is_degraded_on_the_fly(tmp_path: Path) -> None:
    picture(tmp_path / "DIV2K_train_HR" / "0001.png")
    picture(tmp_path / "DIV2K_train_HR" / "0002.png")
    assert {pair.degraded for pair in list_pairs("div2k-x3", tmp_path, "all")} == {None}


def test_div2k_lr_of_the_wrong_scale_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "DIV2K_train_HR" / "0001.png", (24, 16))
    picture(tmp_path / "DIV2K_train_LR_bicubic" / "X3" / "0001x3.png", (12, 8))
    with pytest.raises(DataError, match=r"12 x 8 pixels, its sharp partner 24 x 16, not 3 x"):
        list_pairs("div2k-x3", tmp_path, "train")


def test_photographs_keep_variants_of_one_shot_together(tmp_path: Path) -> None:
    for name in ("beach.jpg", "beach-1.jpg", "Beach (2).png", "beach_edited.webp", "hill.jpg"):
        picture(tmp_path / "holiday" / name)
    pairs = list_pairs("photos", tmp_path, "all")
    assert {pair.scene for pair in pairs} == {"holiday/beach", "holiday/hill"}
    assert all(pair.degraded is None for pair in pairs)


def test_photographs_of_one_stem_keep_different_names(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "a.png")
    assert [pair.name for pair in list_pairs("photos", tmp_path, "all")] == ["a.jpg", "a.png"]


@pytest.mark.parametrize(
    ("stem", "scene"),
    [
        ("DSC_0001", "dsc_0001"),
        ("IMG_1234_BURST002", "img_1234"),
        ("IMG_20250101_101502", "img_20250101_1015"),
        ("wall-1920x1080", "wall"),
        ("icon@2x", "icon"),
        ("tower-2", "tower"),
        ("7", "7"),
    ],
)
def test_photograph_scene(stem: str, scene: str) -> None:
    assert photograph_scene(stem) == scene


def test_sequence_scene_drops_the_frame_number() -> None:
    assert sequence_scene("train000_00000007") == "train000"
    assert sequence_scene("GOPR0384_11_00-000014") == "gopr0384_11_00"
    assert sequence_scene("000014") == ""


@given(st.sets(st.text(min_size=1), min_size=2, max_size=60), st.sets(st.text(), max_size=30))
def test_adding_scenes_moves_none_from_training_into_validation(
    scenes: set[str], added: set[str]
) -> None:
    before, after = validation(scenes), validation(scenes | added)
    moved = after & (scenes - before)
    # Only where every scene but the one that must train was held out can that one move.
    assert not moved or len(before) == len(scenes) - 1
    assert 0 < len(before) < len(scenes)


def test_about_a_tenth_of_many_scenes_is_held_out() -> None:
    assert 70 < len(validation(f"scene {i}" for i in range(1000))) < 130


def test_the_split_is_the_same_in_another_process(tmp_path: Path) -> None:
    names = [f"IMG_{i:04}" for i in range(60)]
    code = f"from whet.data.scenes import validation; print(sorted(validation({names!r})))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == str(sorted(validation(names)))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Four sound pairs and one of every fault."""
    for i in range(4):
        for kind in ("blur", "sharp"):
            picture(tmp_path / kind / f"ok{i}_0.png")
    for name in ("short", "empty", "text", "small"):
        for kind in ("blur", "sharp"):
            picture(tmp_path / kind / f"{name}_0.png", (64, 48))
    picture(tmp_path / "blur" / "widow_0.png")
    picture(tmp_path / "sharp" / "orphan_0.png")
    short = tmp_path / "blur" / "short_0.png"
    short.write_bytes(short.read_bytes()[:-3000])
    (tmp_path / "sharp" / "empty_0.png").write_bytes(b"")
    (tmp_path / "sharp" / "text_0.png").write_text("<html>404</html>")
    picture(tmp_path / "blur" / "small_0.png", (32, 24))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "sharp" / "notes.txt").write_text("mine")
    return tmp_path


FAULTS = {
    ("missing", "widow_0.png"),
    ("missing", "orphan_0.png"),
    ("unreadable", "short_0.png"),
    ("unreadable", "empty_0.png"),
    ("unreadable", "text_0.png"),
    ("unequal", "small_0.png"),
}


def test_check_names_every_fault_in_one_report(broken: Path) -> None:
    report = check("pairs", broken)
    assert {(problem.kind, problem.path.name) for problem in report.problems} == FAULTS
    assert not report.ok
    assert sum(report.pairs.values()) == 4
    text = str(report)
    assert all(name in text for _, name in FAULTS)
    assert text.endswith("6 problems")


def test_check_counts_files_that_are_no_pictures(broken: Path) -> None:
    assert [path.name for path in check("pairs", broken).ignored] == ["notes.txt"]


def test_check_survives_json(broken: Path) -> None:
    report = json.loads(json.dumps(check("pairs", broken).to_json()))
    assert report["schema"] == "whet-data-check/1"
    assert {(p["kind"], Path(p["path"]).name) for p in report["problems"]} == FAULTS


def test_check_tells_its_progress(broken: Path) -> None:
    seen: list[tuple[int, int]] = []
    check("pairs", broken, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]


def test_list_pairs_refuses_a_broken_set_and_names_all_it_saw(broken: Path) -> None:
    with pytest.raises(DataError) as caught:
        list_pairs("pairs", broken, "all")
    # The cut-off file has a sound header: only check, which decodes, can know.
    for kind, name in FAULTS - {("unreadable", "short_0.png")}:
        assert name in str(caught.value), kind
    assert "skip_broken=True" in str(caught.value)


def test_list_pairs_skips_broken_files_only_when_told_and_says_so(broken: Path) -> None:
    with pytest.warns(UserWarning, match=r"skipped 5: .*widow_0\.png"):
        pairs = list_pairs("pairs", broken, "all", skip_broken=True)
    assert {pair.name for pair in pairs} == {f"ok{i}_0" for i in range(4)} | {"short_0"}


def test_skipping_a_broken_file_moves_no_other_between_splits(tmp_path: Path) -> None:
    for i in range(30):
        picture(tmp_path / f"IMG_{i:04}.png")
    before = {pair.name for pair in list_pairs("photos", tmp_path, "val")}
    (tmp_path / f"{min(before)}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 1"):
        after = {
            pair.name for pair in list_pairs("photos", tmp_path, "val+train", skip_broken=True)
        }
    assert len(after) == 29
    if len(before) > 1:
        with pytest.warns(UserWarning, match="skipped 1"):
            kept = list_pairs("photos", tmp_path, "val", skip_broken=True)
        assert {pair.name for pair in kept} == before - {min(before)}


def test_rotated_photographs_have_the_size_that_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("blur", "sharp"):
        picture(tmp_path / kind / "a.png")
    Image.new("RGB", (16, 24)).save(tmp_path / "blur" / "b.jpg", exif=exif)
    picture(tmp_path / "sharp" / "b.png", (24, 16))
    assert len(list_pairs("pairs", tmp_path, "all")) == 2
    assert check("pairs", tmp_path).ok


def test_two_sharp_files_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    picture(tmp_path / "blur" / "a.png")
    picture(tmp_path / "sharp" / "a.png")
    picture(tmp_path / "sharp" / "a.jpg")
    with pytest.raises(DataError, match="same name without suffix"):
        list_pairs("pairs", tmp_path, "all")


def test_a_folder_with_only_blurred_pictures_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "seq" / "blur" / "a.png")
    with pytest.raises(DataError, match="holds no folder sharp, gt or target"):
        list_pairs("pairs", tmp_path, "all")


def test_names_and_folders_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one of: gopro"):
        list_pairs("imagenet", tmp_path)
    with pytest.raises(InputError, match="no split is called 'dev'"):
        list_pairs("photos", tmp_path, "train+dev")
    with pytest.raises(DataError, match="is no folder"):
        check("photos", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no gopro data; expected .*sequence"):
        check("gopro", tmp_path)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    assert len(list_pairs("photos", tmp_path, "all")) == 1


def test_what_is_scored_is_the_split_that_papers_report(gopro: Path, tmp_path: Path) -> None:
    assert split_to_score("gopro", gopro) == "test"
    assert split_to_score("gopro", gopro, "train") == "train"
    picture(tmp_path / "div2k" / "DIV2K_train_HR" / "0001.png")
    with pytest.raises(DataError, match="training pictures only"):
        split_to_score("div2k", tmp_path / "div2k")
    picture(tmp_path / "div2k" / "DIV2K_valid_HR" / "0801.png")
    assert split_to_score("div2k", tmp_path / "div2k") == "val"
    for kind in ("blur", "sharp"):
        picture(tmp_path / "own" / kind / "1.png")
    assert split_to_score("pairs", tmp_path / "own") == "all"
    with pytest.raises(InputError, match="no split is called 'tests'"):
        split_to_score("gopro", gopro, "tests")


def test_a_set_is_named_by_kind_and_folder() -> None:
    assert pairs_named("gopro:data/GOPRO") == ("gopro", Path("data/GOPRO"))
    assert pairs_named("data/own") == ("pairs", Path("data/own"))
    assert pairs_named("C:own") == ("pairs", Path("C:own"))
