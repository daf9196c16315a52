"""Complete descriptions of training runs.

A run is its recipe plus its seed: everything that decides the outcome stands
here, nothing hides in the loop. ``--set key=value`` changes a field of a copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from whet.degrade.registry import DEGRADATIONS, EVERYDAY, FOUNDING_MIX
from whet.distill.losses import FOUNDING_WEIGHTS, LOSSES
from whet.distill.training.optimizers import OPTIMIZERS
from whet.errors import InputError
from whet.models import MODELS, TEACHERS

__all__ = ["RECIPES", "Recipe", "Stage", "override"]


@dataclass(frozen=True)
class Stage:
    """From ``start`` (a share of all steps) on, train on ``batch`` crops of ``crop`` pixels."""

    start: float
    crop: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a run, but its data and its seed's luck.

    Attributes:
        name, summary: for people.
        student: key of ``whet.models.MODELS``.
        losses: loss term -> weight.
        mix: degradation -> share, for photographs degraded on the device.
        stages: crop and batch size over the run.
        steps: optimiser steps.
        optimizer: key of ``whet.distill.training.optimizers.OPTIMIZERS``.
        learning_rate, final_rate: its rate after warm-up and at the end of the cosine.
        warmup_steps: linear warm-up.
        clip_norm: gradient norm limit; 0 for none.
        ema: decay of the averaged weights that are validated and exported; 0 for none.
        teacher: key of ``whet.models.TEACHERS`` to run beside the student when the bank
            holds no outputs, or "" for none.
        vgg_every: compute terms that need VGG16 in every n-th step only, n times as heavily.
        taps: (student layer, teacher layer) pairs for the ``feature`` term.
        identity_start: let a fresh student start as the identity, see
            :func:`whet.distill.training.start.start_as_identity`.
        init: weights to start from, of the same student or a smaller one of its family, or ""
            for a fresh one.
        resize_px: squeeze every pair to this square beforehand, as only the founding run does.
        pair_limit: use the first pairs only; 0 for all.
        precision: "float32", "bf16", or "auto" (bf16 on a GPU that has it).
        compile: compile the student (GPU only).
        log_every, validate_every, checkpoint_every: steps.
        seed: of initialisation, batches and degradations.
    """

    name: str
    summary: str
    student: str
    losses: Mapping[str, float]
    mix: Mapping[str, float]
    stages: tuple[Stage, ...]
    steps: int
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    final_rate: float = 1e-6
    warmup_steps: int = 100
    clip_norm: float = 1.0
    ema: float = 0.999
    teacher: str = ""
    vgg_every: int = 1
    taps: tuple[tuple[str, str], ...] = ()
    identity_start: bool = False
    init: str = ""
    resize_px: int = 0
    pair_limit: int = 0
    precision: str = "auto"
    compile: bool = False
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 500
    seed: int = 0

    def stage_at(self, step: int) -> Stage:
        """Return the stage that a step (counted from 0) belongs to."""
        return [s for s in self.stages if s.start * self.steps <= step][-1]


_REALTIME_LOSSES = {"level": 1.0, "trusted": 0.2}


def _realtime(
    name: str, summary: str, steps: int, stages: tuple[Stage, ...], rate: float
) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        student=name,
        losses=_REALTIME_LOSSES,
        mix=EVERYDAY,
        stages=stages,
        steps=steps,
        optimizer="muon",
        learning_rate=rate,
        warmup_steps=300,
        teacher="maxim",
        compile=True,
    )


RECIPES: Mapping[str, Recipe] = {
    "founding": Recipe(
        name="founding",
        summary="the founding run as it was described, its frozen forward pass repaired",
        student="dncnn",
        losses=FOUNDING_WEIGHTS,
        mix={},
        stages=(Stage(0.0, 128, 2),),
        steps=15 * 250,  # 15 epochs of 500 pairs in batches of 2
        learning_rate=1e-4,
        final_rate=1e-4,
        warmup_steps=0,
        clip_norm=0.0,
        ema=0.0,
        teacher="restormer",
        resize_px=128,
        pair_limit=500,
        precision="float32",
    ),
    "founding-honest": Recipe(
        name="founding-honest",
        summary="the founding student and loss on full-resolution crops, held-out scenes",
        student="dncnn",
        losses=FOUNDING_WEIGHTS,
        mix=FOUNDING_MIX,
        stages=(Stage(0.0, 48, 8),),
        steps=15 * 250,
        learning_rate=3e-4,
        final_rate=1e-6,
        warmup_steps=50,
        ema=0.99,
        # So low that every step has the same length: the perceptual term is a thousand times as
        # large as the others, and would drown them on the steps on which it is computed.
        clip_norm=0.1,
        identity_start=True,
        vgg_every=16,
        teacher="maxim",
        log_every=20,
        validate_every=250,
        checkpoint_every=100,
    ),
    "quick": Recipe(
        name="quick",
        summary="the demo: nano from a few crops with cached teacher outputs, two minutes",
        student="nano",
        losses={"level": 1.0, "distillation": 0.5},
        mix={},
        stages=(Stage(0.0, 48, 32),),
        steps=1000,
        optimizer="muon",
        learning_rate=2e-3,
        warmup_steps=50,
        ema=0.99,
        precision="float32",
        log_every=20,
        validate_every=300,
        checkpoint_every=300,
    ),
    "nano": _realtime(
        "nano",
        "calls, webcams, browsers",
        120_000,
        # Many small crops: how much one batch says depends on how many pictures it shows.
        (Stage(0.0, 64, 256), Stage(0.8, 192, 32)),
        2e-3,
    ),
    "small": _realtime(
        "small",
        "photos and video on a CPU",
        80_000,
        (Stage(0.0, 80, 192), Stage(0.8, 256, 24)),
        1.5e-3,
    ),
    "base": _realtime(
        "base",
        "best quality",
        60_000,
        (Stage(0.0, 128, 72), Stage(0.8, 320, 12)),
        1e-3,
    ),
}


def override(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """Return ``recipe`` with fields replaced by values given as text.

    ``losses.NAME`` and ``mix.NAME`` set one entry; ``crop`` and ``batch`` set one
    stage for the whole run, ``stages=0:48x32,0.75:96x8`` several: from the start crops of
    48 px, 32 at a time, from three quarters of the steps on 8 of 96 px.

    Raises:
        InputError: no such field, or a value that no run can have.
    """
    changes: dict[str, Any] = {}
    plain = [f.name for f in fields(recipe) if isinstance(getattr(recipe, f.name), _PLAIN)]
    for key, text in settings.items():
        table, dot, entry = key.partition(".")
        if dot and table in ("losses", "mix"):
            current = changes.get(table, getattr(recipe, table))
            changes[table] = {**current, entry: _number(key, text, float)}
        elif key == "stages":
            changes["stages"] = _stages(text)
        elif key in ("crop", "batch"):
            stages = changes.get("stages", recipe.stages)
            first = replace(stages[0], **{key: _number(key, text, int)})
            changes["stages"] = (first,)
        elif key in plain:
            changes[key] = _parse(key, text, getattr(recipe, key))
        else:
            raise InputError(
                f"a recipe has no setting {key!r}; it has: "
                + ", ".join([*plain, "crop", "batch", "stages", "losses.NAME", "mix.NAME"])
            )
    changed = replace(recipe, **changes)
    _check_names(changed)
    _check_numbers(changed)
    return changed


def _stages(text: str) -> tuple[Stage, ...]:
    try:
        stages = []
        for part in text.split(","):
            start, size = part.split(":")
            crop, batch = size.split("x")
            stages.append(Stage(float(start), int(crop), int(batch)))
    except ValueError:
        raise InputError(
            f"stages={text!r} is not of the form START:CROPxBATCH,.. such as 0:48x32,0.75:96x8"
        ) from None
    starts = [stage.start for stage in stages]
    if starts[0] != 0 or starts != sorted(set(starts)) or not starts[-1] < 1:
        raise InputError(f"stages={text!r} must start at 0 and go on in order to below 1")
    return tuple(stages)


_PLAIN = (bool, int, float, str)

_LEAST = {
    "steps": 1, "log_every": 1, "validate_every": 1, "checkpoint_every": 1, "vgg_every": 1,
    "learning_rate": 0, "final_rate": 0, "warmup_steps": 0, "clip_norm": 0, "ema": 0,
    "resize_px": 0, "pair_limit": 0, "seed": 0,
}  # fmt: skip
"""The smallest value that each number of a recipe may have."""


def _check_names(recipe: Recipe) -> None:
    """Raise InputError where a recipe names what does not exist, before any data are read."""
    for field, given, known in (
        ("student", (recipe.student,), MODELS),
        ("teacher", (recipe.teacher,) if recipe.teacher else (), TEACHERS),
        ("losses", recipe.losses, LOSSES),
        ("mix", recipe.mix, DEGRADATIONS),
        ("optimizer", (recipe.optimizer,), OPTIMIZERS),
        ("precision", (recipe.precision,), ("auto", "float32", "bf16")),
    ):
        if unknown := [name for name in given if name not in known]:
            raise InputError(
                f"{field} cannot be {unknown[0]!r}; choose from: {', '.join(filter(None, known))}"
            )


def _check_numbers(recipe: Recipe) -> None:
    """Raise InputError where a number can describe no run."""
    shares = {f"losses.{k}": v for k, v in recipe.losses.items()}
    shares |= {f"mix.{k}": v for k, v in recipe.mix.items()}
    least = {**_LEAST, **dict.fromkeys(shares, 0)}
    for key, low in least.items():
        value = shares[key] if key in shares else getattr(recipe, key)
        if not (math.isfinite(value) and value >= low):
            raise InputError(f"{key} is {value}; it must be a number from {low} up")
    if not any(recipe.losses.values()):
        raise InputError("every loss is 0; leave at least one, such as --set losses.pixel=1")
    if recipe.ema >= 1:
        raise InputError(f"ema is {recipe.ema}; it must be below 1, such as 0.999")
    multiple = MODELS[recipe.student].multiple
    for stage in recipe.stages:
        if stage.batch < 1:
            raise InputError(f"batch is {stage.batch}; it must be 1 or more")
        if stage.crop < multiple or stage.crop % multiple:
            raise InputError(
                f"crop is {stage.crop}; {recipe.student} takes multiples of {multiple} px"
            )
        if recipe.resize_px and stage.crop != recipe.resize_px:
            raise InputError(
                f"crop is {stage.crop}, but pairs are squeezed to {recipe.resize_px} px and used "
                f"whole; change both, with --set crop=N --set resize_px=N"
            )


def _parse(key: str, text: str, current: bool | int | float | str) -> bool | int | float | str:
    if isinstance(current, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{key} is true or false, not {text!r}")
        return text.lower() == "true"
    if isinstance(current, (int, float)):
        return _number(key, text, type(current))
    return text


def _number(key: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{key} is a number, not {text!r}") from None
