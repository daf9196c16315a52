"""Students and teachers by name.

A *student* is a pure function of one image, ``restored = degraded + residual``,
on float32 NCHW RGB in [0, 1]. Its :class:`ModelSpec` states what the rest of
whet must know about it: nothing else looks inside a network.

A new student is one file here plus one line in :data:`MODELS`; a new teacher
one file plus one line in :data:`TEACHERS`. The contract tests find both. One of
your own needs neither: ``my_file.py:SPEC``, a :class:`ModelSpec` with ``module=__name__``, is a
student, and ``my_file.py:load_teacher`` a teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from whet.errors import InputError
from whet.tables import Table

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MODELS", "TEACHERS", "ModelSpec", "build", "build_teacher", "teaching"]


@dataclass(frozen=True)
class ModelSpec:
    """What whet knows about a student without running it.

    Attributes:
        name: the name in :data:`MODELS`.
        module: module that defines ``build(name) -> nn.Module``.
        multiple: height and width must be multiples of this (pixels).
        halo: margin in pixels beyond which an input pixel cannot change an
            output pixel; tiles that overlap by it join without a seam.
        kmac_per_px: multiply-accumulates per input pixel, in thousands, after
            fusion; a test measures it.
        taps: names of submodules whose output may be supervised by a teacher.
        summary: one line for people.
    """

    name: str
    module: str
    multiple: int
    halo: int
    kmac_per_px: float
    taps: tuple[str, ...]
    summary: str


_DNCNN = "whet.models.students.dncnn"
_REALTIME = "whet.models.students.realtime"

MODELS: Mapping[str, ModelSpec] = Table(
    {
        "dncnn": ModelSpec(
            "dncnn",
            _DNCNN,
            1,
            17,
            556.416,
            ("dncnn.2",),
            "the founding student, kept as the baseline",
        ),
        "nano": ModelSpec(
            "nano", _REALTIME, 8, 40, 2.466, ("bottom", "decoder.0"), "calls, webcams, browsers"
        ),
        "small": ModelSpec(
            "small", _REALTIME, 8, 64, 9.216, ("bottom", "decoder.0"), "photos and video on a CPU"
        ),
        "base": ModelSpec(
            "base", _REALTIME, 16, 144, 30.384, ("bottom", "decoder.0"), "best quality"
        ),
    },
    ModelSpec,
)

TEACHERS: Mapping[str, str] = Table(
    {
        "maxim": "whet.models.teachers.maxim",
        "restormer": "whet.models.teachers.restormer",
        "spandrel": "whet.models.teachers.spandrel",
        "assistant": "whet.models.teachers.assistant",
    },
    str,
    "load_teacher",
)
"""Teacher name -> module with ``load_teacher(weights: Path | None, **options) -> nn.Module``."""


def build(name: str) -> nn.Module:
    """Return the freshly initialised student called ``name``.

    Raises:
        InputError: no student has that name.
    """
    if name not in MODELS:
        raise InputError(f"no student is called {name!r}; choose one of: {', '.join(MODELS)}")
    factory: Callable[[str], nn.Module] = import_module(MODELS[name].module).build
    return factory(name)


def build_teacher(name: str, weights: Path | str | None = None, **options: object) -> nn.Module:
    """Return the teacher called ``name`` with pretrained weights, frozen and in eval mode.

    Args:
        name: a key of :data:`TEACHERS`.
        weights: path of its weights; None means the cached public ones, where
            the teacher has such.
        options: passed to the teacher's own ``load_teacher``.

    Raises:
        InputError: no teacher has that name.
        ModelError: its weights are missing or do not fit.
    """
    if name not in TEACHERS:
        raise InputError(f"no teacher is called {name!r}; choose one of: {', '.join(TEACHERS)}")
    load: Callable[..., nn.Module] = import_module(TEACHERS[name]).load_teacher
    teacher = load(None if weights is None else Path(weights), **options)
    return teacher.eval().requires_grad_(False)


def teaching(name: str, weights: Path | None = None) -> Callable[[Tensor], Tensor]:
    """Return a teacher as a function NCHW -> NCHW in [0, 1], clamped, without gradients.

    Raises:
        InputError, ModelError: see :func:`build_teacher`.
    """
    import torch

    teacher = build_teacher(name, weights)

    def teach(degraded: Tensor) -> Tensor:
        with torch.inference_mode():
            restored: Tensor = teacher(degraded).float().clamp(0, 1)
        return restored

    return teach
