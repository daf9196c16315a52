"""JPEG without a file, and H.264 as a call uses it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from whet.degrade.codecs import video_call
from whet.degrade.codecs.jpeg import jpeg
from whet.degrade.registry import degrade

Picture = Callable[..., Tensor]


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10(((a - b) ** 2).mean()))


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 98])
@pytest.mark.parametrize("size", [(64, 80), (51, 77)])
def test_jpeg_agrees_with_pillow(picture: Picture, quality: int, size: tuple[int, int]) -> None:
    levels = (picture(*size) * 255).round().byte()[0].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = torch.tensor(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255
    sharp = torch.tensor(levels).permute(2, 0, 1)[None] / 255
    ours = jpeg(sharp, [quality])
    assert psnr(ours, decoded) > 45
    # Not by leaving the picture alone: the loss itself is reproduced.
    assert psnr(ours, sharp) == pytest.approx(psnr(decoded, sharp), abs=0.15)


def test_h264_decodes_every_frame_and_worsens_with_crf(picture: Picture) -> None:
    levels = (picture(64, 96, count=3) * 255).round().byte().permute(0, 2, 3, 1)
    frames = np.ascontiguousarray(levels.numpy())
    errors, sizes = [], []
    for crf in (16.0, 30.0, 44.0):
        decoded, bits = video_call.code_clip(frames, crf)
        assert decoded.shape == frames.shape
        assert decoded.dtype == np.uint8
        assert len(bits) == 3
        errors.append(float(((decoded.astype(float) - frames) ** 2).mean()))
        sizes.append(sum(bits))
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)


def test_quality_follows_bits_per_coded_pixel() -> None:
    # 1382.4 kbit/s at 30 frames of 1280x720 are 0.05 bits per pixel: the stated centre.
    assert video_call.settled_crf(1382.4, 1.0) == pytest.approx(32.0)
    # A quarter of the bits on a quarter of the pixels is the same quality.
    assert video_call.settled_crf(1382.4 / 4, 2.0) == pytest.approx(32.0)
    assert video_call.settled_crf(1382.4 / 2, 1.0) == pytest.approx(37.75)


@pytest.mark.skipif("WHET_SHARED" not in os.environ, reason="needs real clips (WHET_SHARED)")
@pytest.mark.parametrize("kilobits", [150, 1000])
def test_real_clip_at_that_quality_takes_about_that_rate(kilobits: int) -> None:
    import av

    from whet.degrade.resize import imresize

    shrink = 2.0
    with av.open(str(Path(os.environ["WHET_SHARED"], "video", "sam2_04_coffee.mp4"))) as clip:
        shown = [f.to_ndarray(format="rgb24") for f in islice(clip.decode(video=0), 30)]
    small = [
        imresize(torch.tensor(f).permute(2, 0, 1)[None].float(), (360, 640))[0].clamp(0, 255)
        for f in shown
    ]
    frames = torch.stack(small).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    bits = video_call.code_clip(frames, video_call.settled_crf(kilobits, shrink))[1]
    # Content alone moves the rate by a factor of two either way.
    assert 0.4 < np.mean(bits[10:]) * 30 / 1000 / kilobits < 2.5


def test_call_gets_better_with_its_bit_rate(picture: Picture) -> None:
    sharp = picture(96, 128, count=4)
    scores = [psnr(degrade(f"call-{k}k", sharp, range(4)), sharp) for k in (150, 400, 1000)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 1
