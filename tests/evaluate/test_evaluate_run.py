"""Models beside what a user would pick instead, on what the user names."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from commandline import MakePicture, save, save_photos
from whet.errors import DataError, InputError
from whet.evaluate.report.sheets import FOLDER
from whet.evaluate.restorers import opened, taught
from whet.evaluate.run import REPORT_FILES, compare
from whet.models import TEACHERS
from whet.runtime import open_session


@pytest.fixture
def photos(tmp_path: Path, picture: MakePicture) -> Path:
    return save_photos(tmp_path / "photos", picture, ["quay", "moor", "barn"], side=48)


def names(evaluation: object) -> list[str]:
    return [suite.name for suite in evaluation.suites]  # type: ignore[attr-defined]


def test_all_reports_are_written_with_identity_first(
    tmp_path: Path, photos: Path, pairs: Path, tiny_artifact: Path
) -> None:
    out = tmp_path / "new" / "report"
    evaluation = compare(
        [str(tiny_artifact)],
        out,
        suites=["bicubic-x2"],
        photos=photos,
        pairs=[("pairs", pairs)],
        limit=2,
    )
    assert sorted(path.name for path in out.iterdir()) == sorted((*REPORT_FILES, FOLDER))
    assert names(evaluation) == ["pairs", "bicubic-x2"]
    for suite in evaluation.suites:
        assert [row.restorer for row in suite.rows] == [
            "identity",
            "tiny",
            "unsharp",
            "cas",
            "best-mask",
        ]
        assert len(suite.pictures) == 2
    written = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(evaluation.to_json()))


def test_all_suites_can_be_asked_for_beside_pairs(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.evaluate.suites import catalogue

    monkeypatch.setattr(catalogue, "SUITES", {"sharp": catalogue.SUITES["sharp"]})
    found = compare([], tmp_path / "out", suites=["all"], pairs=[("pairs", pairs)], limit=1)
    assert names(found) == ["pairs", "sharp"]


def test_a_shipped_name_is_that_file_and_not_the_one_this_machine_prefers(
    monkeypatch: pytest.MonkeyPatch, picture: MakePicture
) -> None:
    from whet.evaluate import restorers

    asked: list[str] = []
    monkeypatch.setattr(
        restorers, "open_session", lambda path: asked.append(Path(path).name) or open_session(path)
    )
    both = [opened(name)(picture(48, 56, 1)) for name in ("nano", "nano-int8")]
    assert asked == ["nano.onnx", "nano-int8.onnx"]
    assert not np.array_equal(*both)


def test_an_unknown_baseline_names_those_there_are(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(InputError, match="'usm'; choose from: identity, unsharp, cas, best-mask"):
        compare([], tmp_path / "out", pairs=[("pairs", pairs)], baselines=["usm"])


def test_squashed_pictures_are_scored_as_such(tmp_path: Path, pairs: Path) -> None:
    out = tmp_path / "out"
    evaluation = compare([], out, pairs=[("pairs", pairs)], resize=(24, 16))
    assert names(evaluation) == ["pairs, RESIZED to 24 x 16"]
    assert {(p.width, p.height) for p in evaluation.suites[0].pictures} == {(24, 16)}
    assert "RESIZED to 24 x 16" in (out / "report.md").read_text(encoding="utf-8")
    whole = compare([], tmp_path / "whole", pairs=[("pairs", pairs)])
    # Squashing hides softness: doing nothing looks better than it is.
    identity = [found.suites[0].rows[0].scores["ssim"].mean for found in (evaluation, whole)]
    assert identity[0] > identity[1]


def test_a_window_of_squashed_pictures_is_refused(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(InputError, match="exclude each other"):
        compare([], tmp_path / "out", pairs=[("pairs", pairs)], window=(8, 8), resize=(8, 8))


def test_pairs_alone_bring_no_synthetic_suites(
    tmp_path: Path, pairs: Path, tiny_artifact: Path
) -> None:
    evaluation = compare([str(tiny_artifact)], tmp_path / "out", pairs=[("pairs", pairs)])
    assert names(evaluation) == ["pairs"]


def test_photographs_beside_pairs_are_not_left_out(
    tmp_path: Path, photos: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whet.evaluate.suites import catalogue

    monkeypatch.setattr(catalogue, "FAMILIES", {"standard": ("sharp", "bicubic-x3")})
    evaluation = compare([], tmp_path / "out", photos=photos, pairs=[("pairs", pairs)])
    assert names(evaluation) == ["pairs", "sharp", "bicubic-x3"]


def test_the_first_model_chooses_the_pictures_to_show(
    tmp_path: Path, pairs: Path, tiny_artifact: Path
) -> None:
    shutil.copy(tiny_artifact, tmp_path / "second.onnx")
    models = [str(tmp_path / "second.onnx"), str(tiny_artifact)]
    evaluation = compare(models, tmp_path / "out", pairs=[("pairs", pairs)])
    (suite,) = evaluation.suites
    assert {triplet.lead for triplet in suite.triplets} == {"second"}


@pytest.mark.parametrize("name", ["identity", "unsharp", "cas", "best-mask", "twin"])
def test_two_rows_never_share_a_name(
    name: str, tmp_path: Path, pairs: Path, tiny_artifact: Path
) -> None:
    models = [tmp_path / "a" / f"{name}.onnx", tmp_path / "b" / f"{name}.onnx"]
    for model in models:
        model.parent.mkdir()
        shutil.copy(tiny_artifact, model)
    used = models if name == "twin" else models[:1]
    with pytest.raises(InputError, match=f"another row is called '{name}' too"):
        compare(list(map(str, used)), tmp_path / "out", pairs=[("pairs", pairs)])
    assert not (tmp_path / "out").exists()


def test_an_existing_report_is_kept_or_replaced_as_told(
    tmp_path: Path, pairs: Path, tiny_artifact: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.md").write_text("mine")
    words = {"pairs": [("pairs", pairs)], "baselines": ()}
    with pytest.raises(InputError, match=r"report\.md exists already"):
        compare([str(tiny_artifact)], out, **words)  # type: ignore[arg-type]
    assert [path.name for path in out.iterdir()] == ["report.md"]
    compare([str(tiny_artifact)], out, **words, overwrite=True)  # type: ignore[arg-type]
    assert "| tiny |" in (out / "report.md").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_named_before_scoring(
    tmp_path: Path, pairs: Path, tiny_artifact: Path
) -> None:
    (tmp_path / "file").touch()
    scored: list[str] = []
    with pytest.raises(InputError, match="cannot be a folder of reports"):
        compare(
            [str(tiny_artifact)],
            tmp_path / "file" / "report",
            pairs=[("pairs", pairs)],
            progress=lambda name, done, total: scored.append(name),
        )
    assert scored == []


def test_missing_partners_stop_the_scoring(tmp_path: Path, pairs: Path) -> None:
    (pairs / "blur" / "kite.png").unlink()
    with pytest.raises(DataError, match=r"kite\.png: no picture kite in"):
        compare([], tmp_path / "out", pairs=[("pairs", pairs)])
    assert not (tmp_path / "out").exists()


def test_an_opened_model_restores_as_its_session_does(
    tiny_artifact: Path, picture: MakePicture
) -> None:
    image = picture(33, 21)
    assert np.array_equal(
        opened(str(tiny_artifact))(image), open_session(tiny_artifact).restore(image)
    )


def test_a_teacher_is_one_more_row(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Brighter(nn.Module):
        """Adds a fifth, beyond white too."""

        def forward(self, degraded: Tensor) -> Tensor:
            assert degraded.dtype == torch.float32
            return degraded + 0.2

    module = types.ModuleType("brighter_teacher")
    module.load_teacher = lambda weights: Brighter()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brighter_teacher", module)
    monkeypatch.setitem(TEACHERS, "brighter", "brighter_teacher")  # type: ignore[arg-type]
    image = np.full((4, 6, 3), 230, np.uint8)
    image[0] = 20
    restored = taught("brighter", None)(image)
    assert np.array_equal(restored[0], np.full((6, 3), 71))
    assert np.array_equal(restored[1:], np.full((3, 6, 3), 255))
    evaluation = compare([], tmp_path / "out", pairs=[("pairs", pairs)], teacher="brighter")
    rows = [row.restorer for row in evaluation.suites[0].rows]
    assert rows == ["identity", "unsharp", "cas", "brighter", "best-mask"]


def test_pairs_are_scored_on_their_test_split_and_named_by_it(
    tmp_path: Path, picture: MakePicture
) -> None:
    for split, sequence in (("train", "A"), ("train", "B"), ("test", "C")):
        for kind in ("blur", "sharp"):
            save(picture(40, 48, 1), tmp_path / "GOPRO" / split / sequence / kind / "1.png")
    named = [("gopro", tmp_path / "GOPRO")]
    found = compare([], tmp_path / "out", pairs=named)
    assert names(found) == ["GOPRO, test"]
    assert [picture.scene for picture in found.suites[0].pictures] == ["C"]
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## GOPRO, test" in text
    assert "one scene" in text
    asked = compare([], tmp_path / "train", pairs=named, split="train+val")
    assert names(asked) == ["GOPRO, train+val"]
    assert {picture.scene for picture in asked.suites[0].pictures} == {"A", "B"}


def test_categories_head_the_report(tmp_path: Path, picture: MakePicture) -> None:
    folder = save_photos(
        tmp_path / "photos", picture, ["text_10", "text_11", "game_10", "game_11"], 48
    )
    with pytest.raises(InputError, match="leave --photos out"):
        compare([], tmp_path / "out", photos=folder, categories=folder)
    found = compare([], tmp_path / "out", suites=["soft-0.9", "jpeg-30"], categories=folder)
    table = (tmp_path / "out" / "report.md").read_text(encoding="utf-8").split("## by category")[1]
    lines = [line for line in table.split("##")[0].splitlines() if line.startswith("| game")]
    assert [line.split(" | ")[1] for line in lines] == ["unsharp", "cas", "best-mask"]
    assert all(line.split(" | ")[2] == "2" for line in lines)
    gains = [
        after - before
        for suite in found.suites
        for before, after, p in zip(
            suite.rows[0].values["psnr"], suite.rows[1].values["psnr"], suite.pictures, strict=True
        )
        if p.group == "game"
    ]
    assert f"| game | unsharp | 2 | {np.mean(gains):+.2f} (".replace("-", "\u2212") in table
    assert "<h2>By category</h2>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
