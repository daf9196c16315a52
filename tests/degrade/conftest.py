"""Pictures and settings that several tests of the data side share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from whet.degrade import blur, sensor

Picture = Callable[..., Tensor]


def picture(height: int, width: int, seed: int = 0, count: int = 1) -> Tensor:
    """Return photograph-like images: noise with a photograph's spectrum, pale colours, edges."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    spectrum = np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** -1.4
    noise = rng.standard_normal((count, 1, height, width)) * 0.9
    noise = noise + 0.3 * rng.standard_normal((count, 3, height, width))
    image = np.fft.ifft2(np.fft.fft2(noise) * spectrum).real
    image = 0.5 + 0.16 * image / image.std()
    image[:, :, height // 3 : height // 2, width // 4 : width // 2] *= 0.4
    return torch.tensor(image.clip(0, 1), dtype=torch.float32)


@pytest.fixture(name="picture")
def _picture() -> Picture:
    """Return the maker of test pictures: ``picture(height, width, seed=0, count=1)``."""
    return picture


@pytest.fixture
def pure_optics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off noise, clipping gain and JPEG, so that the blur stands alone."""
    monkeypatch.setattr(sensor, "NOISE_PROBABILITY", 0.0)
    monkeypatch.setattr(blur, "BOOST_PROBABILITY", 0.0)
    monkeypatch.setattr(blur, "JPEG_PROBABILITY", 0.0)
