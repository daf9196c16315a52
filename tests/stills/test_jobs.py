"""Every picture gets a name of its own, and no file is replaced that nobody meant."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_stills import Sharpen, photo, put

from whet.errors import ImageError
from whet.image import read
from whet.image.metadata import Cicp
from whet.stills.files import restore_file, restore_files
from whet.stills.jobs import plan


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def planned(*sources: Path, target: Path | str | None = None, **how: Any) -> list[str]:
    jobs = plan(list(sources), target, **how)
    return [str(p) for job in jobs for p in (job.target, job.compared) if p is not None]


# --- Names -----------------------------------------------------------------------------------


def test_a_side_by_side_never_takes_the_name_of_a_result(tmp_path: Path) -> None:
    for name in ("a.png", "a-compare.png"):
        put(tmp_path / "in" / name)
    report = restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out", compare=True)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-compare-1.png", "a-compare-compare.png", "a-compare.png", "a.png"]
    assert len(report.done) == 2
    for name in ("a.png", "a-compare.png"):
        assert read(tmp_path / "out" / name).pixels.shape == photo().shape


def test_a_side_by_side_never_takes_the_name_of_a_source(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a-whet-compare.png")
    paths = [tmp_path / "a.png", tmp_path / "a-whet-compare.png"]
    names = planned(*paths, compare=True)
    assert len(set(names)) == 4
    assert not set(names) & {str(path) for path in paths}


def test_two_formats_of_one_name_do_not_stop_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.gif", "a.png", "b.png", "sub/a.gif")

    def names() -> dict[str, Path]:
        jobs = plan([tmp_path / "in"], tmp_path / "out")
        return {job.source.relative_to(tmp_path / "in").as_posix(): job.target for job in jobs}

    out = tmp_path / "out"
    assert names() == {
        "a.gif": out / "a-gif.png",
        "a.png": out / "a.png",
        "b.png": out / "b.png",
        "sub/a.gif": out / "sub" / "a.png",
    }
    first, *_ = plan([tmp_path / "in"], tmp_path / "out")
    assert "a-gif.png" in first.notes[0]


def test_a_result_never_takes_the_name_of_another_source(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.jpg")
    jobs = plan([tmp_path / "a.png", tmp_path / "a.jpg"], tmp_path, suffix=".jpg")
    assert [job.target.name for job in jobs] == ["a-png.jpg", "a.jpg"]


def test_files_of_two_folders_with_one_name_both_get_one(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.png", "y/a.png")
    names = planned(tmp_path / "x" / "a.png", tmp_path / "y" / "a.png", target=tmp_path / "out")
    assert len(set(names)) == 2


def test_hidden_files_and_pipes_in_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "p.png", "._p.png", ".q.png")
    os.mkfifo(tmp_path / "f.png")
    assert [job.source.name for job in plan([tmp_path])] == ["p.png"]
    assert [job.source.name for job in plan([str(tmp_path / "*.png")])] == ["p.png"]


def test_a_second_run_takes_no_result_of_the_first(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.gif", "a-whet-stone.png")
    first = plan([tmp_path], compare=True)
    for job in first:
        job.target.write_bytes(b"x")
        assert job.compared is not None
        job.compared.write_bytes(b"x")
    assert [job.source for job in plan([tmp_path])] == [job.source for job in first]


def test_a_folder_alone_or_with_all_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    assert [job.source.name for job in plan([tmp_path], recursive=False)] == ["a.png"]
    assert len(plan([tmp_path])) == 2


@pytest.mark.parametrize("sources", [[""], ["a.png", ""]])
def test_empty_names_are_refused(sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a name is empty"):
        plan(sources, tmp_path)
    with pytest.raises(ImageError, match="a name is empty"):
        plan(["a.png"], "")


def test_a_folder_may_bear_a_dot(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png")
    inside = [str(tmp_path / "res.v1" / "a.png")]
    assert planned(tmp_path / "in", target=tmp_path / "res.v1") == inside
    with pytest.raises(ImageError, match=r"no '\.v1' pictures.*end it with / for a folder"):
        plan([tmp_path / "in" / "a.png"], tmp_path / "res.v1")
    assert planned(tmp_path / "in" / "a.png", target=f"{tmp_path}/res.v1/") == inside


def test_names_by_template(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg")
    fields = {"model": "small", "strength": "0.5"}
    pattern = "{folder}-{stem}-{model}-{strength}"
    (job,) = plan([tmp_path / "in"], tmp_path, name=pattern, fields=fields)
    assert job.target == tmp_path / "in-a-small-0.5.jpg"
    with pytest.raises(ImageError, match=r"no field \{size\}.*\{stem\}"):
        plan([tmp_path / "in"], tmp_path, name="{size}", fields=fields)
    with pytest.raises(ImageError, match="no file name"):
        plan([tmp_path / "in"], tmp_path, name="../{stem}", fields=fields)


def test_the_name_of_a_run_knows_model_and_strength(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png")
    pattern = "{stem}-{model}-{strength}"
    restore_files(Sharpen(), [source], tmp_path / "o", name=pattern, strength=0.5)
    assert (tmp_path / "o" / "a-sharpen-0.5.png").is_file()


def test_a_named_pipe_is_read_and_written(tmp_path: Path) -> None:
    data = put(tmp_path / "a.png").read_bytes()
    os.mkfifo(tmp_path / "in.png")
    os.mkfifo(tmp_path / "out")
    taken: list[bytes] = []
    feeding = threading.Thread(target=(tmp_path / "in.png").write_bytes, args=(data,), daemon=True)
    taking = threading.Thread(
        target=lambda: taken.append((tmp_path / "out").read_bytes()), daemon=True
    )
    feeding.start()
    taking.start()
    report = restore_files(Sharpen(), [tmp_path / "in.png"], tmp_path / "out")
    taking.join(20)
    assert report.failed == []
    assert Image.open(io.BytesIO(taken[0])).format == "PNG"
    assert not (tmp_path / "out").is_file(), "the pipe was replaced by a file"


def test_rights_and_links_stay_when_a_picture_is_replaced(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png")
    source.chmod(0o640)
    (tmp_path / "link.png").symlink_to(source)
    restore_file(Sharpen(), source, tmp_path / "link.png", overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    assert source.stat().st_mode & 0o777 == 0o640
    assert not np.array_equal(read(source).pixels, photo())


def test_a_side_by_side_of_hdr_is_hdr(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png", photo(dtype=np.uint16), cicp=Cicp(9, 16))
    compared = restore_file(Sharpen(), source, tmp_path / "b.png", compare=True).compared
    assert compared is not None
    for path in (tmp_path / "b.png", compared):
        assert read(path).metadata.cicp == Cicp(9, 16)


# --- What a run says and leaves out ----------------------------------------------------------


def test_the_history_names_whet_model_and_strength(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png")
    for suffix in (".png", ".jpg", ".tif", ".webp", ".avif"):
        restore_file(Sharpen(), source, tmp_path / f"b{suffix}", strength=0.5)
        packet = read(tmp_path / f"b{suffix}").metadata.xmp
        assert packet is not None, suffix
        assert b'stEvt:action="filtered"' in packet
        assert b'stEvt:softwareAgent="whet ' in packet
        assert b'stEvt:parameters="model sharpen, strength 0.5"' in packet
    restore_file(Sharpen(), source, tmp_path / "c.png", mark=False)
    assert read(tmp_path / "c.png").metadata.xmp is None
    assert restore_file(Sharpen(), source, tmp_path / "d.bmp").notes == ()
    restore_file(Sharpen(), source, tmp_path / "e.png", strength=0)
    assert read(tmp_path / "e.png").metadata.xmp is None


def test_a_second_run_is_added_to_the_history(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png")
    restore_file(Sharpen(), source, tmp_path / "b.png")
    restore_file(Sharpen(), tmp_path / "b.png", tmp_path / "c.png", strength=2)
    packet = read(tmp_path / "c.png").metadata.xmp
    assert packet is not None
    assert packet.index(b"strength 1") < packet.index(b"strength 2")
    assert packet.count(b"xmpMM:History>") == 2


def test_stripped_pictures_tell_nothing_and_look_the_same(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Brunel"
    gamma = (b"gAMA", b"\0\1\x86\xa0")
    source = put(
        tmp_path / "a.png",
        exif=exif.tobytes()[6:],
        dpi=(300.0, 300.0),
        chunks=((b"tEXt", b"Author\0me"), gamma),
    )
    restore_file(Sharpen(), source, tmp_path / "b.png", strip=True)
    metadata = read(tmp_path / "b.png").metadata
    assert (metadata.exif, metadata.xmp) == (None, None)
    assert metadata.chunks == (gamma,)
    assert metadata.dpi == pytest.approx((300, 300), abs=0.02)


def test_a_picture_that_hardly_changes_is_named(tmp_path: Path) -> None:
    class Idle(Sharpen):
        def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
            return np.minimum(image, 253) + 1

    source = put(tmp_path / "a.png")
    notes = restore_file(Idle(), source, tmp_path / "b.png").notes
    assert notes[0].startswith("hardly changed: ")
    assert restore_file(Sharpen(), source, tmp_path / "c.png").notes == ()
