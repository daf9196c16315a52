"""Sharp in, degraded out: every way whet knows of spoiling a picture, by name.

A degradation is a pure function of pixels and seed. Each image has its own seed
and every random choice comes from ``numpy.random.default_rng(seed)``, so the
result depends neither on what else is in the batch nor on the device (beyond
float rounding; where a codec rounds, single levels of 1/255 may differ).

A new degradation is one function ``(sharp, generators) -> degraded`` and one line
in :data:`DEGRADATIONS`.
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

from whet.degrade.blur import defocus, move_object, shake
from whet.degrade.resize import imresize
from whet.degrade.sensor import quantise
from whet.degrade.video_call import call
from whet.errors import InputError

__all__ = [
    "DEGRADATIONS",
    "EVERYDAY",
    "FOUNDING_MIX",
    "MIXED",
    "MOTION",
    "Degradation",
    "Mix",
    "degrade",
    "degrade_mix",
    "draw",
]

Mix = Mapping[str, float]
"""Degradation name -> weight; weights need not sum to one."""


@dataclass(frozen=True)
class Degradation:
    """One way to spoil pictures.

    Attributes:
        apply: ``(sharp NCHW float32 [0, 1], one generator per image) -> the same shape``.
        summary: one line for people.
        anywhere: runs on the device of its input; False means it visits the CPU.
    """

    apply: Callable[[Tensor, Sequence[Generator]], Tensor]
    summary: str
    anywhere: bool = True


def _clean(sharp: Tensor, rngs: Sequence[Generator]) -> Tensor:  # noqa: ARG001
    return sharp.clone()


def _bicubic(sharp: Tensor, rngs: Sequence[Generator], *, factor: int) -> Tensor:  # noqa: ARG001
    """Shrink by ``factor`` as MATLAB does, round to 8 bits, enlarge likewise.

    Sides that are no multiple of the factor are extended, so that the two grids align.
    """
    height, width = sharp.shape[-2:]
    padded = F.pad(sharp, (0, -width % factor, 0, -height % factor), mode="replicate")
    size = (padded.shape[-2], padded.shape[-1])
    small = quantise(imresize(padded, (size[0] // factor, size[1] // factor)))
    return imresize(small, size)[..., :height, :width]


DEGRADATIONS: Mapping[str, Degradation] = {
    "clean": Degradation(_clean, "nothing: sharp must stay sharp"),
    "shake-srgb": Degradation(
        partial(shake, linear=False), "camera shake averaged in sRGB, as GoPro's blur frames"
    ),
    "shake-linear": Degradation(
        partial(shake, linear=True), "camera shake averaged in linear light, as cameras do"
    ),
    "object": Degradation(move_object, "an object moves before a still background"),
    "defocus": Degradation(defocus, "a lens out of focus"),
    "bicubic-x2": Degradation(partial(_bicubic, factor=2), "shrunk and enlarged by 2"),
    "bicubic-x3": Degradation(partial(_bicubic, factor=3), "shrunk and enlarged by 3"),
    "bicubic-x4": Degradation(partial(_bicubic, factor=4), "shrunk and enlarged by 4"),
    "call": Degradation(partial(call, kilobits=None), "a video call at one of the rates", False),
    "call-150k": Degradation(partial(call, kilobits=150), "a video call at 150 kbit/s", False),
    "call-400k": Degradation(partial(call, kilobits=400), "a video call at 400 kbit/s", False),
    "call-1000k": Degradation(partial(call, kilobits=1000), "a video call at 1 Mbit/s", False),
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
    if name not in DEGRADATIONS:
        raise InputError(
            f"no degradation is called {name!r}; choose one of: {', '.join(DEGRADATIONS)}, mixed"
        )
    if sharp.ndim != 4 or sharp.shape[1] != 3 or len(seeds) != sharp.shape[0]:
        raise InputError(
            f"degrade takes N images (N, 3, H, W) and N seeds, "
            f"not {tuple(sharp.shape)} and {len(seeds)}"
        )
    if any(seed < 0 for seed in seeds):
        raise InputError(f"seeds are integers >= 0; got {min(seeds)}")
    rngs = [np.random.default_rng(int(seed)) for seed in seeds]
    with torch.no_grad():
        return DEGRADATIONS[name].apply(sharp, rngs).clamp(0, 1)


def degrade_mix(mix: Mix, sharp: Tensor, seeds: Sequence[int]) -> Tensor:
    """Degrade each image by the degradation its seed draws from ``mix``."""
    names = [draw(mix, int(seed)) for seed in seeds]
    result = torch.empty_like(sharp)
    for name in dict.fromkeys(names):
        members = [i for i, other in enumerate(names) if other == name]
        index = torch.tensor(members, device=sharp.device)
        result[index] = degrade(name, sharp[index], [seeds[i] for i in members])
    return result
