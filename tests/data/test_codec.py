"""JPEG without a file, and H.264 as a call uses it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from whet.data import call
from whet.data.codec import jpeg
from whet.data.degradations import degrade

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
        decoded, bits = call.code_clip(frames, crf)
        assert decoded.shape == frames.shape
        assert decoded.dtype == np.uint8
        assert len(bits) == 3
        errors.append(float(((decoded.astype(float) - frames) ** 2).mean()))
        sizes.append(sum(bits))
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kilobits", [150, 400, 1000])
def test_h264_meets_the_bits_of_a_frame(picture: Picture, kilobits: int) -> None:
    # What a 720p frame becomes at half size: six frames' worth of its bits, see SETTLED_SHARES.
    levels = (picture(360, 640, seed=4) * 255).round().byte()[0].permute(1, 2, 0)
    frame = np.ascontiguousarray(levels.numpy())
    budget = 6 * kilobits * 1000 / 30
    spent = call.code_clip(frame[None], call.crf_for(frame, budget))[1][0]
    assert spent == pytest.approx(budget, rel=0.2)


def test_call_gets_better_with_its_bit_rate(picture: Picture) -> None:
    sharp = picture(96, 128, count=4)
    scores = [psnr(degrade(f"call-{k}k", sharp, range(4)), sharp) for k in (150, 400, 1000)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 1
