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

    card = SimpleNamespace(name="inverting", multiple=1, halo=0)
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


def of_mode(mode: str) -> Image.Image:
    """An image of one of Pillow's modes, with hidden colours and half transparency if it can."""
    rgba = np.dstack([PIXELS, np.tile([0, 77, 255], (4, 2)).astype(np.uint8)])
    gray16 = PIXELS[..., 0].astype(np.uint16) * 257
    if mode.startswith("I;16"):
        order = ">u2" if mode.endswith("B") else "<u2"
        return Image.frombytes(mode, (6, 4), gray16.astype(order).tobytes())
    if mode == "I":
        return Image.fromarray(gray16.astype(np.int32))
    if mode == "F":
        return Image.fromarray((PIXELS[..., 0] / 255).astype(np.float32))
    image = Image.fromarray(rgba)
    if mode == "PA":
        return image.convert("RGB").quantize(32).convert("PA")
    if mode == "P":
        return image.quantize(32)
    return image.convert("LA").convert("La") if mode == "La" else image.convert(mode)


KEPT = ["L", "LA", "RGB", "RGBA", "La", "RGBa", "RGBX", "YCbCr", "HSV", "I", "F"]
KEPT += ["I;16", "I;16L", "I;16B"]
EXPANDED = {"1": "L", "P": "RGBA", "PA": "RGBA", "CMYK": "RGB"}


@pytest.mark.parametrize("mode", [*KEPT, *EXPANDED])
def test_pil_image_of_every_mode_comes_back_in_its_own_or_as_its_colours(mode: str) -> None:
    image = of_mode(mode)
    restored = whet.sharpen(image, SESSION)
    assert restored.mode == EXPANDED.get(mode, mode)
    assert restored.size == image.size
    if restored.mode in ("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "F", "YCbCr"):
        restored.save(io.BytesIO(), "TIFF")
    untouched = whet.sharpen(image, SESSION, strength=0)
    assert np.array_equal(np.asarray(untouched), np.asarray(image))
    before, after = (shown(picture) for picture in (image, restored))
    opaque = before[..., 3] == 255  # where Pillow multiplies by alpha, it rounds
    assert np.abs(after[..., :3] - (255 - before[..., :3]))[opaque].max() <= 4
    assert np.array_equal(after[..., 3], before[..., 3])


def shown(image: Image.Image) -> NDArray[Any]:
    """What an image looks like, RGBA in 0 to 255; deep and float ones too."""
    if image.mode == "F":
        gray = np.asarray(image) * 255
    elif image.mode.startswith("I"):
        gray = np.asarray(image) / 257
    else:
        flat = image.convert("LA") if image.mode == "La" else image
        return np.asarray(flat.convert("RGBA")).astype(int)
    return np.dstack([gray] * 3 + [np.full(gray.shape, 255)]).round().astype(int)


def test_hidden_colours_of_a_pil_image_stay_and_do_not_bleed() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (200, 100, 50, 255)
    pixels[:, 4:] = (1, 2, 3, 0)
    restored = np.asarray(whet.sharpen(Image.fromarray(pixels), SESSION))
    assert np.array_equal(restored[:, 4:], pixels[:, 4:])
    assert np.array_equal(restored[:, :4, :3], 255 - pixels[:, :4, :3])


def test_inks_take_the_profile_of_their_colours_and_say_so() -> None:
    image = Image.fromarray(PIXELS).convert("CMYK")
    image.info["icc_profile"] = b"a profile for inks"
    result = whet.restore(image, SESSION)
    assert "icc_profile" not in result.image.info
    assert "CMYK" in result.notes[0]


def test_pil_modes_that_cannot_be_kept_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="'LAB' cannot be restored"):
        whet.sharpen(Image.new("LAB", (4, 4)), SESSION)
    with pytest.raises(InputError, match="where 1 is white"):
        whet.sharpen(Image.fromarray(PIXELS[..., 0].astype(np.float32)), SESSION)
    with pytest.raises(InputError, match="beyond 0 to 65535"):
        whet.sharpen(Image.fromarray(PIXELS[..., 0].astype(np.int32) - 1000), SESSION)


@pytest.mark.parametrize("shape", [(4, 6, 1), (4, 6, 2), (4, 6, 4)])
def test_arrays_with_alpha_are_restored_as_files_are(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 255, np.uint8)
    image[..., 0] = 40
    if shape[2] > 1:
        image[0, 0, -1] = 0
    restored = whet.sharpen(image, SESSION)
    assert restored.shape == shape
    assert restored[1, 1, 0] == 215
    if shape[2] > 1:
        assert np.array_equal(restored[..., -1], image[..., -1])
        assert restored[0, 0, 0] == 40


def test_a_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    with pytest.raises(InputError, match=r"is a folder .*restore_files"):
        whet.sharpen(tmp_path, SESSION)
    with pytest.raises(InputError, match="no such file"):
        whet.sharpen(str(tmp_path / "*.png"), SESSION)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


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
