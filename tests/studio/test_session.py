"""A heavy network behaves as every session does, and a run that broke off goes on."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commandline import whet
from photographs import moved, photograph_like, shapes
from whet.errors import InputError, ModelError
from whet.image import Picture, read, write
from whet.studio import duration, is_heavy, open_studio
from whet.studio.session import TileDone

Own = Callable[..., str]
Calls = Callable[[], int]


def expected(image: np.ndarray) -> np.ndarray:
    """What the test's network makes of a picture, without tiles."""
    import torch

    full = np.iinfo(image.dtype).max
    x = torch.from_numpy(image.astype(np.float32) / full).permute(2, 0, 1)[None]
    mean = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    y = (x + 0.5 * (x - mean)).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return np.rint(y * full).astype(image.dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(300, 470), (30, 70)])
def test_tiles_of_a_local_network_equal_the_whole(
    own: Own, dtype: Any, shape: tuple[int, int]
) -> None:
    image = photograph_like(*shape).astype(dtype)
    if dtype == np.uint16:
        image = image * 257
    restored = open_studio(own()).restore(image)
    assert restored.dtype == dtype
    # Where a tile ends inside the picture its mean sees less; the blend weighs that least. The
    # last row and column of a picture smaller than a tile see what extends it.
    off = np.abs(restored.astype(int) - expected(image))[:-1, :-1]
    assert np.percentile(off, 99) <= 1
    assert off.max() <= np.iinfo(dtype).max // 50


def test_strength_scales_and_zero_changes_nothing(own: Own, calls: Calls) -> None:
    image = photograph_like(80, 90)
    session = open_studio(own())
    np.testing.assert_array_equal(session.restore(image, 0), image)
    assert calls() == 0
    full = session.restore(image).astype(float)
    half = session.restore(image, 0.5).astype(float)
    inside = (full > 0) & (full < 255)
    assert np.abs(half - (full + image) / 2)[inside].max() <= 1
    assert calls() == 1  # the second call found the tile of the first


def test_a_run_that_broke_off_goes_on(own: Own, calls: Calls, cache: Path) -> None:
    image = photograph_like(256, 640)
    model = own()
    session = open_studio(model)
    whole = session.restore(image)
    tiles = calls()
    assert tiles == 3
    session.forget()
    assert not list((cache / "tiles").iterdir())

    def stop(done: TileDone) -> None:
        if done.number == 2:
            raise KeyboardInterrupt

    broken = open_studio(model)
    broken.on_tile = stop
    with pytest.raises(KeyboardInterrupt):
        broken.restore(image)
    again = open_studio(model)
    said: list[TileDone] = []
    again.on_tile = said.append
    np.testing.assert_array_equal(again.restore(image), whole)
    assert calls() == tiles + 2 + 1
    assert [done.seconds_left is None for done in said] == [True, True, False]
    assert said[-1].seconds_left == 0


def test_a_damaged_tile_is_made_again(own: Own, calls: Calls, cache: Path) -> None:
    image = photograph_like(64, 64)
    session = open_studio(own())
    whole = session.restore(image)
    (tile,) = (cache / "tiles").rglob("*.npy")
    tile.write_bytes(tile.read_bytes()[:-9])
    np.testing.assert_array_equal(open_studio(own()).restore(image), whole)
    assert calls() == 2


def test_other_pixels_or_weights_do_not_find_the_tiles(own: Own, calls: Calls) -> None:
    image = photograph_like(64, 64)
    open_studio(own()).restore(image)
    other = image.copy()
    other[0, 0, 0] ^= 1
    open_studio(own()).restore(other)
    open_studio(own("y = y + 0")).restore(image)
    assert calls() == 3


def test_a_tile_that_blows_up_is_left_as_it_was(own: Own) -> None:
    image = photograph_like(256, 448)
    image[:, 300:] = 255 - image[:, 300:] // 8  # bright on the right
    session = open_studio(own("y = y * 1e9 if x[..., 20:].mean() > 0.6 else y"))
    restored = session.restore(image)
    note, sharp = session.take_notes()
    assert "1 of 2 tiles" in note
    assert "(192, 0)" in note
    assert "looked sharp before" in sharp
    assert session.take_notes() == ()
    np.testing.assert_array_equal(restored[:, 256:], image[:, 256:])
    assert (restored[:, :192] != image[:, :192]).any()


def test_a_cache_that_takes_nothing_only_costs_the_resuming(own: Own, cache: Path) -> None:
    image = photograph_like(64, 64)
    whole = open_studio(own()).restore(image)
    for path in sorted(cache.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    cache.rmdir()
    cache.write_text("a file where the folder would be")
    session = open_studio(own())
    np.testing.assert_array_equal(session.restore(image), whole)
    assert "WHET_CACHE" in session.take_notes()[0]


def test_a_killed_command_goes_on_and_leaves_nothing(
    own: Own, calls: Calls, cache: Path, tmp_path: Path
) -> None:
    model = own(seconds=0.4)
    source, target = tmp_path / "photo.png", tmp_path / "photo-whet.png"
    image = photograph_like(448, 448)
    write(Picture(image, None, read(_png(image)).metadata), source)
    program = "from whet.cli.main import main; main()"
    command = [sys.executable, "-c", program, "image", str(source), "--model", model]
    running = subprocess.Popen(command, env={**os.environ})
    deadline = time.monotonic() + 120
    while len(list(cache.rglob("*.npy"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = len(list(cache.rglob("*.npy")))
    ran = calls()
    assert 2 <= before < 4
    assert not target.exists()
    subprocess.run(command, check=True, env={**os.environ})
    assert calls() - ran == 4 - before
    assert not list((cache / "tiles").iterdir())
    off = np.abs(read(target).pixels.astype(int) - expected(image))
    assert np.percentile(off, 99) <= 1


def _png(image: np.ndarray) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("nowhere.py:build", "no such file"),
        ("nowhere.pth", "no such weights"),
    ],
)
def test_what_is_not_there_is_said(model: str, what: str) -> None:
    with pytest.raises((InputError, ModelError), match=what):
        open_studio(model)


def test_what_is_no_network_is_said(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def build(): return 3\ndef broken(): raise ValueError('no')\n")
    for name, what in (("build", "returned a int"), ("broken", "no"), ("absent", "absent")):
        with pytest.raises(InputError, match=what):
            open_studio(f"{file}:{name}")


def test_a_network_that_changes_the_size_is_refused(own: Own) -> None:
    session = open_studio(own("y = y[..., ::2]"))
    with pytest.raises(ModelError, match="keeps the size"):
        session.restore(photograph_like(64, 64))


def test_weights_that_are_not_here_name_the_command() -> None:
    with pytest.raises(ModelError, match="whet data fetch maxim-gopro"):
        open_studio("maxim")


def test_names_of_heavy_networks() -> None:
    heavy = ("maxim", "maxim-sidd", "a/restormer.PTH", "net.safetensors", "my.py:build")
    assert all(map(is_heavy, heavy))
    assert not any(map(is_heavy, ("nano", "small", "model.onnx")))


def test_times_as_people_say_them() -> None:
    said = [duration(s) for s in (0.2, 70, 200, 3 * 3600, 11 * 86400)]
    assert said == [
        "about 1 s",
        "about 70 s",
        "about 3.3 minutes",
        "about 3.0 hours",
        "about 11 days",
    ]


def test_the_command_keeps_alpha_and_prints_what_went_astray(own: Own, tmp_path: Path) -> None:
    image = photograph_like(70, 90)
    alpha = np.full((70, 90, 1), 255, np.uint8)
    alpha[:20] = 0
    source = tmp_path / "photo.png"
    write(Picture(image, alpha, read(_png(image)).metadata), source)
    done = whet("image", source, "--model", own("y = y * 1e9"), "--json")
    assert done.code == 0
    assert "went astray in 1 of 1 tiles" in json.loads(done.out)["done"][0]["notes"][0]
    result = read(tmp_path / "photo-whet.png")
    assert result.alpha is not None
    np.testing.assert_array_equal(result.alpha, alpha)
    np.testing.assert_array_equal(result.pixels, image)


def test_motion_that_a_small_network_leaves_is_said_once(tmp_path: Path) -> None:
    source, still = tmp_path / "moved.png", tmp_path / "still.png"
    source.write_bytes(_png(moved(shapes(0), 20, 1)))
    still.write_bytes(_png(shapes(0)))
    done = whet("image", source, "--model", "nano")
    assert "moved.png: this looks like motion blur; --model maxim takes about" in done.err
    assert "looks like motion" not in whet("image", still, "--model", "nano").err


def test_models_names_heavy_networks_and_their_licences() -> None:
    listed = whet("models").out
    assert "maxim-sidd" in listed
    assert "Apache-2.0" in listed
    card = whet("models", "maxim").out
    assert "whet data fetch maxim-gopro" in card
    assert "known failure" in card
    refused = whet("image", "photo.jpg", "--model", "maxim")
    assert refused.code == 2
    assert "whet data fetch maxim-gopro" in refused.err


def test_results_that_cannot_be_written_cost_no_tile(
    own: Own, calls: Calls, cache: Path, tmp_path: Path
) -> None:
    source, model = tmp_path / "photo.png", own()
    source.write_bytes(_png(photograph_like(64, 64)))
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert whet("image", source, "-o", blocked / "out.png", "--model", model).code == 2
    assert list(cache.rglob("*.npy"))
    assert whet("image", source, "--model", model).code == 0
    assert calls() == 1
    assert not list(cache.rglob("*.npy"))


def test_a_session_that_goes_leaves_no_tiles(own: Own, cache: Path) -> None:
    session = open_studio(own())
    session.restore(photograph_like(64, 64))
    assert list(cache.rglob("*.npy"))
    del session
    gc.collect()
    assert not list(cache.rglob("*.npy"))
