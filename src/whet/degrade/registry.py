"""Sharp in, degraded out: every way whet knows of spoiling a picture, by name.

A degradation is a pure function of pixels and seed. Each image has its own seed
and every random choice comes from ``numpy.random.default_rng(seed)``, so the
result depends neither on what else is in the batch nor on the device (beyond
float rounding; where a codec rounds, single levels of 1/255 may differ).

A new degradation is one function ``(sharp, generators) -> degraded``, one that says what it
does, and one line in :data:`DEGRADATIONS`; for those that take pictures one by one both come from
one class (:class:`whet.degrade.one_by_one.Drawn`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from whet.conditions import Condition
from whet.degrade.blur import defocus, describe_defocus, describe_motion, move_object, shake
from whet.degrade.codecs.archive import Archive
from whet.degrade.codecs.call_native import CallNative
from whet.degrade.codecs.resaved import Jpeg, Message, Oversharpened, Zoom
from whet.degrade.codecs.video_call import call, describe_call
from whet.degrade.lens import Lens
from whet.degrade.one_by_one import Draw, one_by_one
from whet.degrade.resize import equal_blur_px, imresize
from whet.degrade.sensor import quantise
from whet.degrade.text import Text
from whet.errors import InputError

__all__ = [
    "DEGRADATIONS",
    "EVERYDAY",
    "FOUNDING_MIX",
    "MIXED",
    "MOTION",
    "ORDINARY",
    "Degradation",
    "Mix",
    "degrade",
    "degrade_mix",
    "describe",
    "draw",
    "shrunk",
]

Mix = Mapping[str, float]
"""Degradation name -> weight; weights need not sum to one."""


@dataclass(frozen=True)
class Degradation:
    """One way to spoil pictures.

    Attributes:
        apply: ``(sharp NCHW float32 [0, 1], one generator per image) -> the same shape``.
        describe: what it does to an image with this generator.
        summary: one line for people.
        anywhere: runs on the device of its input; False means it visits the CPU.
        page: is meant for pages and screens, not for photographs.
    """

    apply: Callable[[Tensor, Sequence[Generator]], Tensor]
    describe: Callable[[Generator], Condition]
    summary: str
    anywhere: bool = True
    page: bool = False


def _clean(sharp: Tensor, rngs: Sequence[Generator]) -> Tensor:  # noqa: ARG001
    return sharp.clone()


def _bicubic(sharp: Tensor, rngs: Sequence[Generator], *, factor: int) -> Tensor:  # noqa: ARG001
    """Shrink by ``factor`` as MATLAB does, round to 8 bits, enlarge likewise.

    Sides that are no multiple of the factor are extended, so that the two grids align.
    """
    height, width = sharp.shape[-2:]
    small = shrunk(sharp, factor)
    size = (small.shape[-2] * factor, small.shape[-1] * factor)
    return imresize(small, size)[..., :height, :width]


def shrunk(sharp: Tensor, factor: int) -> Tensor:
    """Return (N, 3, ceil(H / factor), ceil(W / factor)), what ``bicubic-xN`` enlarges again."""
    height, width = sharp.shape[-2:]
    padded = F.pad(sharp, (0, -width % factor, 0, -height % factor), mode="replicate")
    return quantise(imresize(padded, (padded.shape[-2] // factor, padded.shape[-1] // factor)))


def _known(kind: str, blur_px: float) -> Callable[[Generator], Condition]:
    """Describe a degradation that does the same to every picture."""
    return lambda _: Condition(kind, blur_px, 0.0, 0.0, 0.0)


def _describe_object(rng: Generator) -> Condition:  # noqa: ARG001
    # A part of the picture moves and the rest does not: no one number is true of it.
    return Condition("shake")


def _scaled(factor: int) -> Degradation:
    return Degradation(
        partial(_bicubic, factor=factor),
        _known(f"bicubic-x{factor}", equal_blur_px(factor)),
        f"shrunk and enlarged by {factor}",
    )


def _called(kilobits: int | None, summary: str) -> Degradation:
    return Degradation(
        partial(call, kilobits=kilobits), partial(describe_call, kilobits=kilobits), summary, False
    )


def _one_by_one(draw: Draw, summary: str, *, page: bool = False) -> Degradation:
    return Degradation(
        partial(one_by_one, draw=draw), lambda rng: draw(rng).condition, summary, False, page
    )


DEGRADATIONS: Mapping[str, Degradation] = {
    "clean": Degradation(_clean, _known("clean", 0.0), "nothing: sharp must stay sharp"),
    "shake-srgb": Degradation(
        partial(shake, linear=False),
        describe_motion,
        "camera shake averaged in sRGB, as GoPro's blur frames",
    ),
    "shake-linear": Degradation(
        partial(shake, linear=True),
        describe_motion,
        "camera shake averaged in linear light, as cameras do",
    ),
    "object": Degradation(
        move_object, _describe_object, "an object moves before a still background"
    ),
    "defocus": Degradation(defocus, describe_defocus, "a lens out of focus"),
    "bicubic-x2": _scaled(2),
    "bicubic-x3": _scaled(3),
    "bicubic-x4": _scaled(4),
    "call": _called(None, "a video call at one of the rates"),
    "call-150k": _called(150, "a video call at 150 kbit/s"),
    "call-400k": _called(400, "a video call at 400 kbit/s"),
    "call-1000k": _called(1000, "a video call at 1 Mbit/s"),
    "call-native": _one_by_one(CallNative.draw, "a frame of a call at its coded size"),
    "lens": _one_by_one(Lens.draw, "a lens a little out of focus, noise, a JPEG file"),
    "zoom": _one_by_one(Zoom.draw, "enlarged by any factor, a JPEG file"),
    "message": _one_by_one(Message.draw, "sent by a message app"),
    "jpeg": _one_by_one(Jpeg.draw, "a sharp picture in a JPEG file"),
    "oversharpened": _one_by_one(Oversharpened.draw, "sharpened too much: halos"),
    "text": _one_by_one(Text.draw, "a page or screen, blurred, scanned, compressed", page=True),
    "archive": _one_by_one(Archive.draw, "old television: grain, fields, MPEG-2 or DV"),
}

MIXED: Mix = {
    "shake-srgb": 0.25,
    "shake-linear": 0.20,
    "object": 0.10,
    "defocus": 0.10,
    "bicubic-x2": 0.08,
    "bicubic-x3": 0.07,
    "call": 0.15,
    "clean": 0.05,
}
"""A little of everything: the mix for a student that must serve any picture."""


FOUNDING_MIX: Mix = {"shake-srgb": 0.5, "bicubic-x2": 0.25, "bicubic-x3": 0.25}
"""What the founding data hold: GoPro's motion and pictures softened by bicubic resizing."""

MOTION: Mix = {"shake-srgb": 0.55, "shake-linear": 0.25, "object": 0.20}
"""Motion alone: what the deblurring teachers know."""

EVERYDAY: Mix = {
    "shake-srgb": 0.26,
    "shake-linear": 0.16,
    "object": 0.08,
    "defocus": 0.10,
    "bicubic-x2": 0.07,
    "bicubic-x3": 0.07,
    "call": 0.18,
    "clean": 0.08,
}
"""What soft pictures and calls are made of; the clean share keeps sharp pictures sharp."""

ORDINARY: Mix = {
    "clean": 0.11,
    "lens": 0.19,
    "zoom": 0.09,
    "message": 0.07,
    "bicubic-x2": 0.065,
    "bicubic-x3": 0.05,
    "bicubic-x4": 0.015,
    "defocus": 0.085,
    "call-native": 0.13,
    "call-150k": 0.02,
    "call-400k": 0.04,
    "call-1000k": 0.03,
    "jpeg": 0.04,
    "oversharpened": 0.02,
    "shake-srgb": 0.009,
    "shake-linear": 0.006,
    "text": 0.02,
    "archive": 0.01,
}
"""What people have, about as often as it matters: mild softness first, calls as they arrive."""


def draw(mix: Mix, seed: int) -> str:
    """Return the name that ``seed`` draws from ``mix`` (independent of the degradation's draws).

    Raises:
        InputError: the mix is empty, has a weight below zero, or names no degradation.
    """
    unknown = [name for name in mix if name not in DEGRADATIONS]
    weights = np.array(list(mix.values()), dtype=np.float64)
    if unknown or not weights.sum() > 0 or weights.min() < 0:
        raise InputError(
            f"a mix needs degradations with weights >= 0 that do not sum to 0; got {dict(mix)}"
        )
    # A second word of entropy makes this stream differ from default_rng(seed).
    position = np.random.default_rng([seed, 1]).random() * weights.sum()
    return list(mix)[min(int(np.searchsorted(weights.cumsum(), position, "right")), len(mix) - 1)]


def _checked(name: str, seeds: Sequence[int]) -> Degradation:
    if name not in DEGRADATIONS:
        raise InputError(
            f"no degradation is called {name!r}; choose one of: {', '.join(DEGRADATIONS)}, mixed"
        )
    if any(seed < 0 for seed in seeds):
        raise InputError(f"seeds are integers >= 0; got {min(seeds)}")
    return DEGRADATIONS[name]


def degrade(name: str, sharp: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return ``sharp`` degraded by the degradation called ``name``.

    Args:
        name: a key of :data:`DEGRADATIONS`, or ``"mixed"`` for :data:`MIXED`.
        sharp: (N, 3, H, W) float32 sRGB in [0, 1], on any device.
        seeds: N integers >= 0, one per image.

    Returns:
        Tensor of the same shape, type and device, in [0, 1].

    Raises:
        InputError: no degradation has that name, a seed is negative, or shapes and seeds do
            not agree.
    """
    if name == "mixed":
        return degrade_mix(MIXED, sharp, seeds)
    degradation = _checked(name, seeds)
    if sharp.ndim != 4 or sharp.shape[1] != 3 or len(seeds) != sharp.shape[0]:
        raise InputError(
            f"degrade takes N images (N, 3, H, W) and N seeds, "
            f"not {tuple(sharp.shape)} and {len(seeds)}"
        )
    rngs = [np.random.default_rng(int(seed)) for seed in seeds]
    with torch.no_grad():
        return degradation.apply(sharp, rngs).clamp(0, 1)


def describe(name: str, seeds: Sequence[int]) -> list[Condition]:
    """Return what :func:`degrade` does to pictures with the same name and seeds.

    Raises:
        InputError: no degradation has that name, or a seed is negative.
    """
    if name == "mixed":
        return [describe(draw(MIXED, int(seed)), [seed])[0] for seed in seeds]
    degradation = _checked(name, seeds)
    return [degradation.describe(np.random.default_rng(int(seed))) for seed in seeds]


def degrade_mix(mix: Mix, sharp: Tensor, seeds: Sequence[int]) -> Tensor:
    """Degrade each image by the degradation its seed draws from ``mix``."""
    names = [draw(mix, int(seed)) for seed in seeds]
    result = torch.empty_like(sharp)
    for name in dict.fromkeys(names):
        members = [i for i, other in enumerate(names) if other == name]
        index = torch.tensor(members, device=sharp.device)
        result[index] = degrade(name, sharp[index], [seeds[i] for i in members])
    return result
