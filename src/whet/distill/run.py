"""One training run from names and folders: what ``whet distill`` does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whet.distill.inputs import TrainingInputs, held_out_pictures, needs_teacher, training_bank
from whet.distill.losses import LOSSES
from whet.distill.recipes import Recipe
from whet.distill.record import Record, recorded
from whet.distill.training.checkpoint import latest
from whet.distill.training.loop import FitResult, Progress, fit
from whet.distill.validate import Scores
from whet.errors import InputError
from whet.models import build_teacher
from whet.models.features.vgg import load_vgg

__all__ = ["FOUNDING_CLAIMS", "RunSummary", "run_recipe"]

FOUNDING_CLAIMS = {"SSIM": 0.9432, "FPS": 114.2, "MB": 0.7}
"""What the founding work reported, on images squeezed to 128 x 128 that it had trained on."""

_FPS_SIDE = 128


@dataclass(frozen=True)
class RunSummary:
    """What a run achieved.

    Attributes:
        recipe: as it was run.
        folder: where checkpoint, logs and ``student.safetensors`` lie.
        first, best: scores of the untrained and of the kept weights.
        finished: False when stopped by the time limit.
        fps: pictures of 128 x 128 per second in PyTorch on this machine, for the founding claim.
        model_bytes: of the student's float32 weights.
    """

    recipe: Recipe
    folder: Path
    first: Scores | None
    best: Scores | None
    finished: bool
    seconds: float
    images_per_s: float
    fps: float
    model_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        values = asdict(self)
        values["folder"] = str(self.folder)
        return values

    def __str__(self) -> str:
        state = "finished" if self.finished else "stopped by its time limit; continue with --resume"
        lines = [
            f"{self.recipe.name}: {state} after {self.seconds / 60:.1f} min "
            f"({self.images_per_s:.1f} images/s); weights in {self.folder / 'student.safetensors'}"
        ]
        best = self.best
        if best is not None:
            lines += [
                f"  degraded  {best.identity_psnr_db:6.2f} dB  SSIM {best.identity_ssim:.4f}",
                f"  restored  {best.psnr_db:6.2f} dB  SSIM {best.ssim:.4f}",
                *(f"  gain on {name}: {gain:+.2f} dB" for name, gain in best.gain_db.items()),
            ]
        if self.recipe.resize_px and best is not None:
            lines += [
                f"  on pictures squeezed to {self.recipe.resize_px} px (claimed in brackets):",
                f"  SSIM {best.ssim:.4f} ({FOUNDING_CLAIMS['SSIM']}), "
                f"{self.fps:.1f} FPS here ({FOUNDING_CLAIMS['FPS']}), "
                f"{self.model_bytes / 1e6:.2f} MB ({FOUNDING_CLAIMS['MB']})",
            ]
        return "\n".join(lines)


def run_recipe(
    recipe: Recipe,
    inputs: TrainingInputs,
    out: Path,
    *,
    teacher_weights: Path | None = None,
    vgg_weights: Path | None = None,
    resume: bool = False,
    max_minutes: float = math.inf,
    threads: int | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> RunSummary:
    """Train ``recipe`` on ``inputs`` into the folder ``out``.

    Args:
        teacher_weights: checkpoint of the recipe's teacher; None takes the fetched one.
        vgg_weights: VGG16 file for perceptual terms; None takes the fetched one.
        resume, max_minutes, on_step: see :func:`whet.distill.training.loop.fit`.
        threads: of PyTorch on the CPU.

    Raises:
        InputError: ``out`` holds a run already, or nothing says what the teacher is.
        InputError, DataError, ModelError: what was named is missing or does not fit.
    """
    # Asked again by the loop, but only after minutes of reading pictures.
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder with -o")
    if not resume and latest(out):
        raise InputError(f"{out} holds a run already; add --resume, or name another with -o")
    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher: nn.Module | None = None
    if needs_teacher(recipe, inputs):
        teacher = build_teacher(recipe.teacher, teacher_weights)
    wants_vgg = any(LOSSES[n].vgg for n, w in recipe.losses.items() if w and n in LOSSES)
    vgg = load_vgg(vgg_weights) if wants_vgg else None
    bank = training_bank(recipe, inputs, device)
    pictures = held_out_pictures(recipe, inputs)
    with recorded(Record(out, recipe, inputs, device)) as record:
        result = fit(
            recipe,
            bank,
            pictures,
            out,
            teacher=teacher,
            vgg=vgg,
            resume=resume,
            max_minutes=max_minutes,
            on_step=on_step,
        )
        record.finish(result)
    return _summary(recipe, out, result)


def _summary(recipe: Recipe, out: Path, result: FitResult) -> RunSummary:
    return RunSummary(
        recipe,
        out,
        result.first,
        result.best,
        result.finished,
        result.seconds,
        result.images_per_s,
        _fps(result.student),
        sum(p.numel() * 4 for p in result.student.parameters()),
    )


@torch.no_grad()
def _fps(student: nn.Module, rounds: int = 10) -> float:
    """Return restored 128 x 128 pictures per second, warmed up and synchronised."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student = student.to(device)
    probe = torch.rand(1, 3, _FPS_SIDE, _FPS_SIDE, device=device)
    for _ in range(3):
        student(probe)
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(rounds):
        student(probe)
    if device == "cuda":
        torch.cuda.synchronize()
    return rounds / (time.perf_counter() - started)
