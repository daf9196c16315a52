"""``whet.sharpen`` returns the type it was given."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import whet
from whet.errors import InputError


class Inverting:
    """A session that anybody can check by eye: strength 1 turns black into white."""

    card = SimpleNamespace(multiple=1, halo=0)
    runtime = "test"

    def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
        top = np.iinfo(image.dtype).max
        return (image + strength * (top - 2.0 * image)).round().astype(image.dtype)


SESSION = Inverting()
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def encoded() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


def test_array_in_array_out_and_the_input_stays() -> None:
    before = PIXELS.copy()
    for image in (PIXELS, PIXELS.astype(np.uint16) * 257):
        restored = whet.sharpen(image, SESSION)
        assert restored.dtype == image.dtype
        assert np.array_equal(restored, np.iinfo(image.dtype).max - image)
    assert np.array_equal(PIXELS, before)


def test_grey_array_stays_grey() -> None:
    grey = PIXELS[..., 0]
    restored = whet.sharpen(grey, SESSION)
    assert restored.shape == grey.shape
    assert np.array_equal(restored, 255 - grey)


def test_bytes_in_bytes_of_the_same_format_out() -> None:
    restored = whet.sharpen(encoded(), SESSION)
    assert isinstance(restored, bytes)
    with Image.open(io.BytesIO(restored)) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), 255 - PIXELS)


@pytest.mark.parametrize("kind", [str, Path])
def test_path_in_path_of_the_result_out(tmp_path: Path, kind: type) -> None:
    source = tmp_path / "photo.png"
    source.write_bytes(encoded())
    restored = whet.sharpen(kind(source), SESSION)
    assert isinstance(restored, (str, Path))
    assert Path(restored) == tmp_path / "photo-whet.png"
    assert np.array_equal(np.asarray(Image.open(restored)), 255 - PIXELS)
    assert source.read_bytes() == encoded()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_pil_image_keeps_its_mode_and_alpha(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    if "A" in mode:
        image.putalpha(77)
    restored = whet.sharpen(image, SESSION)
    assert restored.mode == mode
    assert restored.size == image.size
    if "A" in mode:
        assert np.all(np.asarray(restored.getchannel("A")) == 77)
    grey = np.asarray(image.convert("L")).astype(int)
    assert np.abs(np.asarray(restored.convert("L")) - (255 - grey)).max() <= 1


@pytest.mark.parametrize("batched", [False, True])
def test_torch_tensor_keeps_shape_and_type(batched: bool) -> None:
    torch = pytest.importorskip("torch")
    chw = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for tensor in (chw, chw.float() / 255):
        image = torch.stack([tensor, tensor]) if batched else tensor
        restored = whet.sharpen(image, SESSION)
        assert restored.dtype == image.dtype
        top = 255 if image.dtype == torch.uint8 else 1
        assert torch.allclose((top - image).float(), restored.float(), atol=1e-4)


def test_strength_scales_the_change() -> None:
    assert np.array_equal(whet.sharpen(PIXELS, SESSION, strength=0.0), PIXELS)


@pytest.mark.parametrize("thing", [None, 5, ["photo.png"], {"a": 1}])
def test_other_things_are_refused_by_name(thing: object) -> None:
    with pytest.raises(InputError, match=type(thing).__name__):
        whet.sharpen(thing, SESSION)


def test_what_was_not_kept_is_said_in_notes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(stream, "JPEG")
    result = whet.restore(stream.getvalue(), SESSION)
    assert isinstance(result.image, bytes)
    assert any("CMYK" in sentence for sentence in result.notes)
    (tmp_path / "inks.jpg").write_bytes(stream.getvalue())
    assert whet.restore(tmp_path / "inks.jpg", SESSION).notes == result.notes
    assert whet.restore(PIXELS, SESSION).notes == ()
