"""Loss terms, each a pure function of float32 NCHW RGB images in [0, 1].

:data:`LOSSES` names them for recipes. ``FOUNDING_WEIGHTS`` is the mixture of the
founding design; the terms below it are what later recipes add or take instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.conditions import KINDS, MEASURES
from whet.data.batch import UNTOLD, Conditions
from whet.tables import Table

__all__ = [
    "FOUNDING_WEIGHTS",
    "LOSSES",
    "Loss",
    "LossInputs",
    "charbonnier",
    "contrastive",
    "deviation",
    "distillation",
    "edge",
    "feature",
    "frequency",
    "level",
    "measure",
    "name_kind",
    "perceptual",
    "pixel",
    "relative",
    "trust",
    "trusted",
    "worse",
]

FOUNDING_WEIGHTS: Mapping[str, float] = {
    "pixel": 0.4,
    "perceptual": 0.3,
    "distillation": 0.2,
    "edge": 0.1,
}
"""The four terms of the founding design and their weights."""

PERCEPTUAL_SIDE = 224
"""Side in pixels to which the founding design resizes both images before VGG16."""

DEVIATION_EPSILON = 2 / 255
"""42 dB, at which a sharp picture shall come back: nothing is given up to come closer."""

LEVEL_EPSILON = 6 / 255
"""32 dB: a picture this good weighs half as much as its error alone would have it."""

RELATIVE_EPSILONS = (0.4 / 255, 2 / 255)
"""Least and largest error that :func:`relative` takes for none."""

SHARP_EPSILON = 5 / 255
"""34 dB: as an error of nothing may not be doubled, how far a sharp image may move at little cost.
Smaller, and a student learns to leave everything alone before it learns to tell what is sharp."""

CHARBONNIER_EPSILON = 1e-3
"""Lai et al., "LapSRN", CVPR 2017."""

TRUST_WINDOW = 9
"""Side in pixels of the neighbourhood over which the teacher's error is judged."""


@dataclass(frozen=True)
class LossInputs:
    """Everything a term may look at.

    Attributes:
        restored, sharp, degraded: NCHW in [0, 1] (``restored`` unclamped).
        teacher: the teacher's restoration, or None without one.
        taught: bool (N,), the images for which ``teacher`` holds an output.
        vgg: NCHW -> features, frozen.
        student_taps, teacher_taps: pairs of equally shaped feature maps.
        logits: what the student's look says of each cell of each image, float32
            (N, kinds + measures + others, rows, columns), kinds and measures as in
            ``whet.conditions``, or None where it has no look.
        conditions: what happened to the images, or None where nobody tells.
    """

    restored: Tensor
    sharp: Tensor
    degraded: Tensor
    teacher: Tensor | None = None
    taught: Tensor | None = None
    vgg: nn.Module | None = None
    student_taps: tuple[Tensor, ...] = field(default=())
    teacher_taps: tuple[Tensor, ...] = field(default=())
    logits: Tensor | None = None
    conditions: Conditions | None = None


def pixel(restored: Tensor, sharp: Tensor) -> Tensor:
    """``mean |restored - sharp|``."""
    return F.l1_loss(restored, sharp)


def charbonnier(restored: Tensor, sharp: Tensor) -> Tensor:
    """``mean sqrt((restored - sharp)^2 + eps^2)``, eps = 1e-3."""
    return torch.sqrt((restored - sharp).square() + CHARBONNIER_EPSILON**2).mean()


def deviation(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean over images of ``sqrt(mean (restored - sharp)^2 + eps^2)``, eps = 2/255.

    The root mean square error, image by image: what PSNR measures, with a gradient that neither
    vanishes where an image is nearly right (as that of a squared error does) nor rests at the
    identity where the gain is small (as that of absolute errors does, whose best guess is a
    median). eps keeps it from caring about errors that nobody sees.
    """
    error = (restored - sharp).square().mean(dim=(1, 2, 3))
    return torch.sqrt(error + DEVIATION_EPSILON**2).mean()


def level(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean over images of ``ln(mean (restored - sharp)^2 + eps^2) / 50``, eps = 6/255.

    PSNR itself, but for constants (Chen et al., "Simple Baselines for Image Restoration", ECCV
    2022), which weighs each image by how little noise its error brings. eps keeps sharp images,
    whose error starts at nothing, from outweighing all others; the 50 gives the term the size
    of :func:`deviation`.
    """
    error = (restored - sharp).square().mean(dim=(1, 2, 3))
    return torch.log(error + LEVEL_EPSILON**2).mean() / 50


def relative(restored: Tensor, sharp: Tensor, degraded: Tensor) -> Tensor:
    """Mean over images of ``ln((e + eps^2) / (e_0 + eps^2)) / 50``.

    e and e_0 are the mean squared errors of the restored and of the degraded image: what is gained
    on each, in units of PSNR, whatever there was to gain. eps is three tenths of the degraded
    image's error, within :data:`RELATIVE_EPSILONS`, so that nobody pays for the last trace of a
    small fault; an image that is sharp already has :data:`SHARP_EPSILON`.
    """
    return _gains(restored, sharp, degraded).mean() / 50


def worse(restored: Tensor, sharp: Tensor, degraded: Tensor) -> Tensor:
    """As :func:`relative`, of the images alone that have become worse; the others count as 0."""
    return F.relu(_gains(restored, sharp, degraded)).mean() / 50


def _gains(restored: Tensor, sharp: Tensor, degraded: Tensor) -> Tensor:
    after, before = ((image - sharp).square().mean(dim=(1, 2, 3)) for image in (restored, degraded))
    epsilon = (0.3 * before.sqrt()).clamp(*RELATIVE_EPSILONS)
    epsilon = torch.where(before == 0, SHARP_EPSILON, epsilon)
    return torch.log(after + epsilon.square()) - torch.log(before + epsilon.square())


def name_kind(logits: Tensor, conditions: Conditions) -> Tensor:
    """Mean cross-entropy of the kinds that a look names, over all cells; 0 for untold images."""
    kinds = conditions.kinds[:, None, None].expand(-1, *logits.shape[-2:])
    entropy = F.cross_entropy(
        logits[:, : len(KINDS)].float(), kinds, ignore_index=UNTOLD, reduction="sum"
    )
    return entropy / kinds.numel()


def measure(logits: Tensor, conditions: Conditions) -> Tensor:
    """Mean squared error of the scaled measures, over cells and measures; 0 for unknown ones."""
    answers = logits[:, len(KINDS) : len(KINDS) + len(MEASURES)].float().sigmoid()
    truth = conditions.measures[..., None, None]
    return torch.where(truth.isnan(), 0.0, answers - truth.nan_to_num()).square().mean()


def edge(restored: Tensor, sharp: Tensor) -> Tensor:
    """``mean |dx restored - dx sharp| + mean |dy restored - dy sharp|``, forward differences."""
    difference = restored - sharp
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def frequency(restored: Tensor, sharp: Tensor) -> Tensor:
    """``mean |Re D| + mean |Im D|``, D the orthonormal 2-D Fourier transform of the difference.

    Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021.
    """
    spectrum = torch.fft.rfft2((restored - sharp).float(), norm="ortho")
    size: Tensor = spectrum.real.abs().mean() + spectrum.imag.abs().mean()
    return size


def distillation(restored: Tensor, teacher: Tensor) -> Tensor:
    """``mean (restored - teacher)^2``."""
    return F.mse_loss(restored, teacher)


def trust(degraded: Tensor, sharp: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the teacher beats the degraded input, N1HW in [0, 1].

    ``max(0, 1 - e_teacher / e_degraded)`` with ``e`` the absolute error averaged
    over channels and a 9x9 neighbourhood: 0 where the teacher made the picture
    worse, 1 where it removed all of the error.
    """

    def error(image: Tensor) -> Tensor:
        local = (image - sharp).abs().mean(1, keepdim=True)
        return F.avg_pool2d(local, TRUST_WINDOW, 1, TRUST_WINDOW // 2, count_include_pad=False)

    return (1 - error(teacher) / error(degraded).clamp_min(1e-4)).clamp(0, 1)


def trusted(restored: Tensor, teacher: Tensor, degraded: Tensor, sharp: Tensor) -> Tensor:
    """``mean w |restored - teacher|``, w = :func:`trust`."""
    return (trust(degraded, sharp, teacher) * (restored - teacher).abs()).mean()


def perceptual(
    restored: Tensor, teacher: Tensor, vgg: nn.Module, side: int | None = PERCEPTUAL_SIDE
) -> Tensor:
    """``mean (vgg(restored) - vgg(teacher))^2`` of VGG16 ``features[:16]``.

    Johnson et al., "Perceptual Losses", ECCV 2016; both images are first resized
    bilinearly to ``side`` x ``side`` as the founding design does, or left as they are
    when ``side`` is None.
    """
    with torch.no_grad():
        target = vgg(_resize(teacher, side))
    return F.mse_loss(vgg(_resize(restored, side)), target)


def contrastive(restored: Tensor, positive: Tensor, negative: Tensor, vgg: nn.Module) -> Tensor:
    """``mean |f(restored) - f(positive)| / mean |f(restored) - f(negative)|``, f = VGG16.

    Wu et al., "Contrastive Learning for Compact Single Image Dehazing", CVPR 2021,
    with one layer. The negative is the degraded image.
    """
    with torch.no_grad():
        near, far = vgg(positive), vgg(negative)
    features = vgg(restored)
    return F.l1_loss(features, near) / F.l1_loss(features, far).clamp_min(1e-3)


def feature(student_taps: tuple[Tensor, ...], teacher_taps: tuple[Tensor, ...]) -> Tensor:
    """Mean over taps of ``mean (projected student feature - teacher feature)^2``.

    Romero et al., "FitNets", ICLR 2015; the projection is a learned 1x1 convolution.
    """
    terms = [F.mse_loss(s, t) for s, t in zip(student_taps, teacher_taps, strict=True)]
    return torch.stack(terms).mean()


def _resize(image: Tensor, side: int | None) -> Tensor:
    if side is None:
        return image
    return F.interpolate(image, (side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Loss:
    """A named term: what it computes and what it needs.

    Attributes:
        compute: the term on :class:`LossInputs`; those that need a teacher see only taught images.
        teacher: it looks at the teacher's output.
        vgg: it needs VGG16 features.
        taps: it needs feature taps of student and teacher.
        look: it needs a student that says what it sees.
    """

    compute: Callable[[LossInputs], Tensor]
    teacher: bool = False
    vgg: bool = False
    taps: bool = False
    look: bool = False


def _teacher(inputs: LossInputs) -> Tensor:
    assert inputs.teacher is not None
    return inputs.teacher


def _vgg(inputs: LossInputs) -> nn.Module:
    assert inputs.vgg is not None
    return inputs.vgg


def _look(term: Callable[[Tensor, Conditions], Tensor]) -> Loss:
    def compute(inputs: LossInputs) -> Tensor:
        assert inputs.logits is not None
        if inputs.conditions is None:
            return inputs.logits.sum() * 0.0
        return term(inputs.logits, inputs.conditions)

    return Loss(compute, look=True)


LOSSES: Mapping[str, Loss] = Table(
    {
        "pixel": Loss(lambda i: pixel(i.restored, i.sharp)),
        "charbonnier": Loss(lambda i: charbonnier(i.restored, i.sharp)),
        "deviation": Loss(lambda i: deviation(i.restored, i.sharp)),
        "level": Loss(lambda i: level(i.restored, i.sharp)),
        "relative": Loss(lambda i: relative(i.restored, i.sharp, i.degraded)),
        "worse": Loss(lambda i: worse(i.restored, i.sharp, i.degraded)),
        "name-kind": _look(name_kind),
        "measure": _look(measure),
        "edge": Loss(lambda i: edge(i.restored, i.sharp)),
        "frequency": Loss(lambda i: frequency(i.restored, i.sharp)),
        "distillation": Loss(lambda i: distillation(i.restored, _teacher(i)), teacher=True),
        "imitation": Loss(lambda i: deviation(i.restored, _teacher(i)), teacher=True),
        "trusted": Loss(
            lambda i: trusted(i.restored, _teacher(i), i.degraded, i.sharp), teacher=True
        ),
        "perceptual": Loss(
            lambda i: perceptual(i.restored, _teacher(i), _vgg(i)), teacher=True, vgg=True
        ),
        "perceptual-sharp": Loss(
            lambda i: perceptual(i.restored, i.sharp, _vgg(i), side=None), vgg=True
        ),
        "contrastive": Loss(
            lambda i: contrastive(i.restored, i.sharp, i.degraded, _vgg(i)), vgg=True
        ),
        "feature": Loss(lambda i: feature(i.student_taps, i.teacher_taps), teacher=True, taps=True),
    },
    Loss,
)
