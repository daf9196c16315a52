"""Pictures through a session: exact, complete, resumable, and one failure at a time."""

import io
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from whet.errors import ImageError
from whet.image import Metadata, Picture, read, write
from whet.runtime.tiling import restore_tiled
from whet.stills import picture as picture_module
from whet.stills.files import restore_file, restore_files
from whet.stills.jobs import plan
from whet.stills.picture import fill_hidden, is_large_tiff, restore_picture
from whet.stills.side_by_side import side_by_side


@dataclass(frozen=True)
class Card:
    name: str = "sharpen"
    multiple: int = 4
    halo: int = 1


class Sharpen:
    """A stand-in for a network: an unsharp mask over 3x3 pixels, deterministic, any depth."""

    card = Card()

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.seen: list[np.ndarray] = []

    def restore(self, image: np.ndarray, strength: float = 1.0) -> np.ndarray:
        self.threads.add(threading.get_ident())
        self.seen.append(image)
        return restore_tiled(
            lambda whole: self._sharpen(whole, strength), image, multiple=4, halo=1, tile=10**6
        )

    def _sharpen(self, image: np.ndarray, strength: float) -> np.ndarray:
        padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
        height, width = image.shape[:2]
        blur = sum(padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3))
        sharp = image + strength * (image - blur / 9)
        return np.rint(np.clip(sharp, 0, np.iinfo(image.dtype).max)).astype(image.dtype)


def photo(height: int = 40, width: int = 56, dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    field = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)], axis=-1)
    return np.rint((field * 0.4 + 0.5) * np.iinfo(dtype).max).astype(dtype)


def put(path: Path, pixels: np.ndarray | None = None, **metadata: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(Picture(photo() if pixels is None else pixels, metadata=Metadata(**metadata)), path)
    return path


# --- One file ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_restored_pixels_are_the_sessions_and_keep_their_depth(dtype, tmp_path):
    source = put(tmp_path / "a.png", photo(dtype=dtype))
    restore_file(Sharpen(), source, tmp_path / "b.png", strength=0.5)
    result = read(tmp_path / "b.png").pixels
    np.testing.assert_array_equal(result, Sharpen().restore(photo(dtype=dtype), 0.5))


def test_strength_zero_changes_nothing(tmp_path):
    session = Sharpen()
    restore_file(session, put(tmp_path / "a.png"), tmp_path / "b.png", strength=0)
    np.testing.assert_array_equal(read(tmp_path / "b.png").pixels, photo())
    assert not session.seen


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan")])
def test_nonsense_strength_is_refused(strength, tmp_path):
    with pytest.raises(ImageError, match="choose 0"):
        restore_file(Sharpen(), put(tmp_path / "a.png"), tmp_path / "b.png", strength=strength)


XMP = (
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about=""/></rdf:RDF>'
)


def test_metadata_and_file_times_are_kept(tmp_path):
    source = put(tmp_path / "a.png", xmp=XMP, dpi=(300.0, 300.0), gray=True)
    os.utime(source, ns=(10**18, 1_234_567_890_123_456_700))
    restore_file(Sharpen(), source, tmp_path / "b.png", mark=False)
    result = read(tmp_path / "b.png").metadata
    assert (result.xmp, result.gray) == (XMP, True)
    assert (tmp_path / "b.png").stat().st_mtime_ns == 1_234_567_890_123_456_700


def test_existing_target_is_an_error_before_any_work(tmp_path):
    session = Sharpen()
    source, target = put(tmp_path / "a.png"), put(tmp_path / "b.png")
    with pytest.raises(ImageError, match="exists already"):
        restore_file(session, source, target)
    assert not session.seen
    restore_file(session, source, target, overwrite=True)


def test_pipes_carry_the_format_that_came_in(monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "BMP")
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(buffer.getvalue())))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    restore_file(Sharpen(), "-", "-")
    assert out.getvalue()[:2] == b"BM"
    np.testing.assert_array_equal(read(out.getvalue()).pixels, Sharpen().restore(photo()))


# --- Transparency --------------------------------------------------------------------------


def test_alpha_and_hidden_colours_are_untouched(tmp_path):
    alpha = np.full((40, 56, 1), 255, np.uint8)
    alpha[:, 20:30] = 0
    alpha[:, 30:33] = 100
    write(Picture(photo(), alpha), tmp_path / "a.png")
    restore_file(Sharpen(), tmp_path / "a.png", tmp_path / "b.png")
    result = read(tmp_path / "b.png")
    np.testing.assert_array_equal(result.alpha, alpha)
    np.testing.assert_array_equal(result.pixels[:, 20:30], photo()[:, 20:30])


def test_hidden_colours_do_not_bleed_into_visible_ones():
    """Under the transparent half lies black or white: the visible half must not know."""
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[:, 16:] = 0
    results = []
    for hidden in (0, 255):
        pixels = np.full((32, 32, 3), 120, np.uint8)
        pixels[:, 16:] = hidden
        restored = restore_picture(Sharpen(), Picture(pixels, alpha)).pixels
        assert (restored[:, 16:] == hidden).all()
        results.append(restored[1:-1, 1:16])  # the outer pixels see the network's zeros
    np.testing.assert_array_equal(*results)
    assert (results[0] == 120).all(), "a flat surface stays flat up to the transparent border"


def test_holes_are_filled_with_the_colours_around_them():
    pixels = np.zeros((37, 53, 3), np.uint16)
    pixels[:, :26], pixels[:, 26:] = 1000, 60000
    hidden = np.zeros((37, 53, 1), bool)
    hidden[5:30, 3:12] = True
    hidden[5:30, 40:50] = True
    damaged = np.where(hidden, 33333, pixels).astype(np.uint16)
    np.testing.assert_array_equal(fill_hidden(damaged, hidden), pixels)


def test_a_fully_transparent_picture_is_left_alone():
    picture = Picture(photo(), np.zeros((40, 56, 1), np.uint8))
    np.testing.assert_array_equal(restore_picture(Sharpen(), picture).pixels, photo())


# --- Comparison ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_comparison_shows_both_halves_and_labels(dtype):
    before, after = Picture(photo(200, 300, dtype)), Picture(photo(200, 300, dtype) // 2)
    pair = side_by_side(before, after).pixels
    assert pair.dtype == dtype
    gap = pair.shape[1] - 600
    np.testing.assert_array_equal(pair[60:, :300], before.pixels[60:])
    np.testing.assert_array_equal(pair[60:, 300 + gap :], after.pixels[60:])
    assert (pair[:, 300 : 300 + gap] == np.iinfo(dtype).max).all()
    for left, half in ((0, before), (300 + gap, after)):
        changed = (pair[:, left : left + 300] != half.pixels).any(axis=(1, 2))
        assert 10 < changed.sum() < 60
    assert (pair[:60, :90] != pair[:60, 300 + gap : 390 + gap]).any()


def test_comparison_of_a_tiny_picture_has_no_room_for_labels():
    pair = side_by_side(Picture(photo(5, 5)), Picture(photo(5, 5)))
    assert pair.pixels.shape == (5, 12, 3)


def test_comparison_is_written_beside_the_result(tmp_path):
    restored = restore_file(Sharpen(), put(tmp_path / "a.png"), tmp_path / "b.png", compare=True)
    assert restored.compared == tmp_path / "b-compare.png"
    assert read(restored.compared).pixels.shape == (40, 56 * 2 + 2, 3)
    np.testing.assert_array_equal(read(tmp_path / "b.png").pixels, Sharpen().restore(photo()))


# --- Large TIFFs ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [{}, {"tile": (64, 48)}, {"compression": "adobe_deflate"}])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_bands_equals_the_whole(dtype, channels, layout, tmp_path, monkeypatch):
    pixels = photo(210, 130, dtype)
    kind = {"photometric": "minisblack" if channels == 1 else "rgb", "extrasamples": None}
    if channels == 4:
        pixels = np.dstack([pixels, np.where(photo(210, 130, dtype)[..., 0] > 99, 255, 0)])
        kind["extrasamples"] = ["unassalpha"]
    stored = pixels[..., 0] if channels == 1 else pixels.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, **kind, **layout, resolution=(300, 300))
    restore_file(Sharpen(), tmp_path / "a.tif", tmp_path / "whole.tif")
    monkeypatch.setattr(picture_module, "LARGE_PX", 1000)
    monkeypatch.setattr(picture_module, "_BAND_TILE_PX", 64)
    session = Sharpen()
    restore_file(session, tmp_path / "a.tif", tmp_path / "bands.tif")
    assert len(session.seen) > 5, "the picture was not divided"
    assert max(window.size for window in session.seen) <= 64 * 64 * 3
    whole, bands = read(tmp_path / "whole.tif"), read(tmp_path / "bands.tif")
    np.testing.assert_array_equal(whole.pixels, bands.pixels)
    assert whole.metadata.gray == bands.metadata.gray == (channels == 1)
    assert bands.metadata.dpi == (300.0, 300.0)
    if channels == 4:
        np.testing.assert_array_equal(whole.alpha, bands.alpha)


def test_an_orientation_tag_survives_in_bands(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo()).save(tmp_path / "a.tif", exif=exif)
    restore_file(Sharpen(), tmp_path / "a.tif", tmp_path / "whole.tif")
    monkeypatch.setattr(picture_module, "LARGE_PX", 1000)
    restore_file(Sharpen(), tmp_path / "a.tif", tmp_path / "bands.tif")
    np.testing.assert_array_equal(
        read(tmp_path / "whole.tif").pixels, read(tmp_path / "bands.tif").pixels
    )


def test_a_large_truncated_tiff_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_module, "LARGE_PX", 1000)
    tifffile.imwrite(tmp_path / "a.tif", photo(300, 100), photometric="rgb", rowsperstrip=10)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    assert is_large_tiff(tmp_path / "a.tif", 10**9)
    with pytest.raises(ImageError, match=r"a\.tif.*(incomplete|damaged|missing)"):
        restore_file(Sharpen(), tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


# --- Many files ----------------------------------------------------------------------------


def tree(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()
    )


def test_a_folder_keeps_its_tree_and_one_broken_file_does_not_stop_the_rest(tmp_path):
    for name in ("a.png", "deep/b.jpg", "deep/er/c.tif", "d.webp"):
        put(tmp_path / "in" / name)
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8\xff but nothing else")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/readme.txt").write_text("no picture")
    seen = []
    report = restore_files(
        Sharpen(),
        [tmp_path / "in"],
        tmp_path / "out",
        progress=lambda so_far, total: seen.append((len(so_far.done), total)),
    )
    assert tree(tmp_path / "out") == ["a.png", "d.webp", "deep/b.jpg", "deep/er/c.tif"]
    assert len(report.done) == 4
    assert {job.source.name for job, _ in report.failed} == {"broken.jpg", "empty.png"}
    assert all(str(job.source) in str(error) for job, error in report.failed)
    assert report.exit_code == 2
    assert seen[-1] == (4, 6)


def test_an_interrupted_run_resumes_and_leaves_no_half_files(tmp_path):
    for index in range(12):
        put(tmp_path / f"in/{index:02}.png", photo() + np.uint8(index))

    class Interrupted(Sharpen):
        def restore(self, image, strength=1.0):
            if len(self.seen) == 5:
                raise KeyboardInterrupt
            return super().restore(image, strength)

    with pytest.raises(KeyboardInterrupt):
        restore_files(Interrupted(), [tmp_path / "in"], tmp_path / "out")
    finished = tree(tmp_path / "out")
    assert finished == [f"{index:02}.png" for index in range(5)]
    times = {name: (tmp_path / "out" / name).stat().st_ino for name in finished}
    session = Sharpen()
    report = restore_files(session, [tmp_path / "in"], tmp_path / "out")
    assert (len(report.skipped), len(report.done), len(session.seen)) == (5, 7, 7)
    assert report.exit_code == 0
    assert tree(tmp_path / "out") == [f"{index:02}.png" for index in range(12)]
    assert times == {name: (tmp_path / "out" / name).stat().st_ino for name in finished}
    for index in range(12):
        expected = Sharpen().restore(photo() + np.uint8(index))
        np.testing.assert_array_equal(read(tmp_path / f"out/{index:02}.png").pixels, expected)


def test_the_session_is_called_from_one_thread_while_files_decode_ahead(tmp_path):
    for index in range(6):
        put(tmp_path / f"in/{index}.png")
    session = Sharpen()
    restore_files(session, [tmp_path / "in"], tmp_path / "out")
    assert session.threads == {threading.get_ident()}


def test_overwrite_restores_everything_again(tmp_path):
    put(tmp_path / "in/a.png")
    restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out")
    assert len(restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out").skipped) == 1
    report = restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out", overwrite=True)
    assert len(report.done) == 1


def test_a_folder_onto_itself_is_refused_unless_it_may_be_replaced(tmp_path):
    put(tmp_path / "in/a.png")
    with pytest.raises(ImageError, match="would be replaced by its result"):
        restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "in")
    restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "in", overwrite=True)
    np.testing.assert_array_equal(read(tmp_path / "in/a.png").pixels, Sharpen().restore(photo()))


def test_16_bit_survives_a_folder_run(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(imagecodecs.png_encode(photo(dtype=np.uint16)))
    restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out")
    result = imagecodecs.png_decode((tmp_path / "out/a.png").read_bytes())
    np.testing.assert_array_equal(result, Sharpen().restore(photo(dtype=np.uint16)))


# --- Which file goes where -----------------------------------------------------------------


def planned(folder: Path, *arguments: object, **options: object) -> list[tuple[str, str]]:
    jobs = plan(*arguments, **options)
    return [
        (job.source.relative_to(folder).as_posix(), job.target.relative_to(folder).as_posix())
        for job in jobs
    ]


def test_results_go_beside_their_sources_and_are_not_restored_again(tmp_path):
    put(tmp_path / "a.png"), put(tmp_path / "deep/b.jpg")
    expected = [("a.png", "a-whet.png"), ("deep/b.jpg", "deep/b-whet.jpg")]
    assert planned(tmp_path, [tmp_path]) == expected
    restore_files(Sharpen(), [tmp_path], compare=True)
    assert tree(tmp_path) == [
        "a-whet-compare.png", "a-whet.png", "a.png",
        "deep/b-whet-compare.jpg", "deep/b-whet.jpg", "deep/b.jpg",
    ]  # fmt: skip
    assert planned(tmp_path, [tmp_path]) == expected


def test_globs_files_and_folders_mix(tmp_path):
    for name in ("a.png", "b.jpg", "c.txt", "sub/d.png"):
        (put(tmp_path / name) if name[-3:] != "txt" else (tmp_path / name).touch())
    out = tmp_path / "out"
    sources = [f"{tmp_path}/*", tmp_path / "sub", f"{tmp_path}/**/d.png"]
    assert planned(tmp_path, sources, out) == [
        ("a.png", "out/a.png"), ("b.jpg", "out/b.jpg"), ("sub/d.png", "out/d.png"),
    ]  # fmt: skip


def test_results_inside_the_source_folder_are_not_sources(tmp_path):
    put(tmp_path / "a.png"), put(tmp_path / "out/a.png")
    assert planned(tmp_path, [tmp_path], tmp_path / "out") == [("a.png", "out/a.png")]


def test_one_source_may_name_a_file_and_a_folder_needs_no_slash(tmp_path):
    put(tmp_path / "a.png")
    assert planned(tmp_path, [tmp_path / "a.png"], tmp_path / "b.jpg") == [("a.png", "b.jpg")]
    assert planned(tmp_path, [tmp_path / "a.png"], tmp_path / "b") == [("a.png", "b/a.png")]
    out = f"{tmp_path}/b.d/"
    assert planned(tmp_path, [tmp_path / "a.png"], out) == [("a.png", "b.d/a.png")]


def test_formats_that_are_only_read_become_png(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.gif")
    assert planned(tmp_path, [tmp_path / "a.gif"]) == [("a.gif", "a-whet.png")]
    put(tmp_path / "b.jpg")
    jobs = planned(tmp_path, [tmp_path / "b.jpg"], tmp_path / "out", suffix=".tif")
    assert jobs == [("b.jpg", "out/b.tif")]
    assert planned(tmp_path, [tmp_path / "b.jpg"], suffix="png") == [("b.jpg", "b-whet.png")]
    with pytest.raises(ImageError, match=r"no '\.doc' pictures"):
        plan([tmp_path / "b.jpg"], suffix=".doc")


@pytest.mark.parametrize(
    ("source", "message"),
    [("nothing/*.png", "matches no picture"), ("empty", "holds no pictures")],
)
def test_sources_without_pictures_say_so(source, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=message):
        plan([str(tmp_path / source)])


def test_a_missing_file_is_reported_with_the_rest(tmp_path):
    put(tmp_path / "a.png")
    report = restore_files(Sharpen(), [tmp_path / "a.png", tmp_path / "gone.png"], tmp_path / "out")
    assert len(report.done) == 1
    assert "no such file" in str(report.failed[0][1])


def test_many_pictures_do_not_fit_into_one_pipe(tmp_path):
    put(tmp_path / "a.png"), put(tmp_path / "b.png")
    with pytest.raises(ImageError, match="one pipe"):
        plan([tmp_path], "-")


def test_a_file_where_a_folder_must_be_created_is_one_clear_failure(tmp_path):
    put(tmp_path / "in/a.png")
    (tmp_path / "out").write_text("in the way")
    report = restore_files(Sharpen(), [tmp_path / "in"], tmp_path / "out")
    assert "cannot be created" in str(report.failed[0][1])
