"""The training loop: one process is a world of size one.

Every batch, learning rate and loss is a function of (recipe, seed, step), and a
checkpoint holds all that a step changes; so a run that is killed and resumed
logs the same losses as one that was never stopped.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.data.batch import Bank, Batch
from whet.degrade.pictures import HeldOut
from whet.distill import checkpoint
from whet.distill.optimizers import OPTIMIZERS
from whet.distill.recipes import Recipe
from whet.distill.start import fresh_student
from whet.distill.task import DistillationTask
from whet.distill.validate import Scores, validate
from whet.errors import InputError, ModelError
from whet.files import replacing
from whet.models import MODELS, build

__all__ = ["FitResult", "Progress", "fit", "learning_rate"]

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Progress:
    """What a progress bar may show after a step."""

    step: int
    steps: int
    terms: dict[str, float]
    images_per_s: float


@dataclass(frozen=True)
class FitResult:
    """Attributes:
    student: the averaged (EMA) weights that scored best, or the last without validation.
    best, first: scores of these weights and of the untrained student; None without pictures.
    history: what was logged, one dict per entry with at least ``step``.
    finished: False when a time limit stopped the run early.
    seconds: training time over all sittings.
    """

    student: nn.Module
    best: Scores | None
    first: Scores | None
    history: list[dict[str, Any]]
    finished: bool
    seconds: float
    images_per_s: float


@dataclass
class _State:
    """What a step changes, beside the weights."""

    step: int = 0
    seconds: float = 0.0
    best_psnr_db: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    best_scores: Scores | None = None
    first_scores: Scores | None = None


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of step ``step``: linear warm-up, then a cosine down to the final rate."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    span = max(1, recipe.steps - recipe.warmup_steps)
    progress = min(1.0, (step - recipe.warmup_steps) / span)
    swing = 0.5 * (1 + math.cos(math.pi * progress))
    return recipe.final_rate + (recipe.learning_rate - recipe.final_rate) * swing


def fit(
    recipe: Recipe,
    bank: Bank,
    pictures: Sequence[HeldOut],
    out: Path,
    *,
    teacher: nn.Module | None = None,
    vgg: nn.Module | None = None,
    resume: bool = False,
    max_minutes: float = math.inf,
    on_step: Callable[[Progress], None] | None = None,
) -> FitResult:
    """Train ``recipe`` on ``bank``.

    Checkpoints, logs and finally ``student.safetensors`` are left in the folder ``out``.

    Args:
        pictures: held-out pictures; the weights that score best on them are kept.
        teacher: run beside the student where the bank holds no teacher outputs.
        vgg: for the perceptual terms.
        resume: continue from the newest checkpoint in ``out``.
        max_minutes: stop (resumably) after this time.

    Raises:
        InputError: ``out`` holds a run already and ``resume`` is not set.
        ModelError: the checkpoint belongs to another recipe, or the loss is no longer finite.
    """
    return _Run(recipe, bank, pictures, out, teacher, vgg, resume).train(max_minutes, on_step)


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        recipe: Recipe,
        bank: Bank,
        pictures: Sequence[HeldOut],
        out: Path,
        teacher: nn.Module | None,
        vgg: nn.Module | None,
        resume: bool,
    ) -> None:
        from accelerate import Accelerator

        out.mkdir(parents=True, exist_ok=True)
        if not resume and checkpoint.latest(out):
            raise InputError(f"{out} holds a run already; add --resume, or name another folder")
        self.recipe, self.bank, self.pictures, self.out = recipe, bank, pictures, out
        self.accelerator = Accelerator(mixed_precision=_precision(recipe))
        student = fresh_student(recipe)
        task = DistillationTask(student, recipe.losses, teacher, vgg, recipe.taps)
        self.student = student
        device = self.accelerator.device
        for adviser in (teacher, vgg):
            if adviser is not None:
                adviser.to(device)
        task = task.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizers = OPTIMIZERS[recipe.optimizer](list(task.parameters()), recipe.learning_rate)
        self.task, *self.optimizers = self.accelerator.prepare(task, *optimizers)
        self.average = build(recipe.student).to(device) if recipe.ema else student
        self.average.load_state_dict(student.state_dict())
        self.average.eval()
        self.state = _State()
        self.history: list[dict[str, Any]] = []
        if resume:
            self._restore()
        self._forward = torch.compile(self.task) if self._compiles() else self.task

    def train(self, max_minutes: float, on_step: Callable[[Progress], None] | None) -> FitResult:
        recipe, state = self.recipe, self.state
        writer = self._writer()
        if state.step == 0 and self.pictures:
            state.first_scores = self._validate()
        started, earlier, images = time.perf_counter(), state.seconds, 0
        while state.step < recipe.steps:
            stage = recipe.stage_at(state.step)
            rank = self.accelerator.process_index
            batch = self.bank.batch(recipe.seed, state.step, stage.batch, stage.crop, rank)
            terms = self._step(batch.to(self.accelerator.device))
            images += stage.batch * self.accelerator.num_processes
            state.step += 1
            elapsed = time.perf_counter() - started
            state.seconds = earlier + elapsed
            over = elapsed > max_minutes * 60
            if self._due(recipe.log_every):
                # Only here are values fetched: doing so every step would hold a GPU up.
                values = {name: float(v) for name, v in terms.items()}
                self._log(writer, values, images / elapsed)
                if on_step:
                    on_step(Progress(state.step, recipe.steps, values, images / elapsed))
            if self.pictures and self._due(recipe.validate_every):
                self._keep_best(self._validate(), writer)
            if self._due(recipe.checkpoint_every) or over:
                self._save()
            if over:
                break
        if writer:
            writer.close()
        return self._finish(images / max(1e-9, time.perf_counter() - started))

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.recipe.steps

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        recipe = self.recipe
        for group in itertools.chain(*(o.param_groups for o in self.optimizers)):
            group["lr"] = learning_rate(recipe, self.state.step)
        self.task.train()
        with self.accelerator.autocast():
            due = (self.state.step + 1) % recipe.vgg_every == 0
            result = self._forward(batch, float(recipe.vgg_every) if due else 0.0)
        self.accelerator.backward(result.total)
        if recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.task.parameters(), recipe.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._follow()
        return {"total": result.total.detach(), **result.terms}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights; early on quickly, so that the start is forgotten."""
        if self.average is self.student:
            return
        decay = min(self.recipe.ema, (1 + self.state.step) / (10 + self.state.step))
        mine = self.average.state_dict()
        for name, value in self.student.state_dict().items():
            if value.dtype.is_floating_point:
                mine[name].lerp_(value, 1 - decay)
            else:
                mine[name].copy_(value)

    def _validate(self) -> Scores:
        return validate(self.average, self.pictures, MODELS[self.recipe.student].multiple)

    def _keep_best(self, scores: Scores, writer: Any) -> None:
        state = self.state
        entry = {"step": state.step, "validation": asdict(scores)}
        self._write(entry)
        if writer:
            writer.add_scalar("validation/psnr_db", scores.psnr_db, state.step)
            writer.add_scalar("validation/ssim", scores.ssim, state.step)
            for suite, gain in scores.gain_db.items():
                writer.add_scalar(f"validation/gain_db/{suite}", gain, state.step)
        if scores.psnr_db > state.best_psnr_db:
            state.best_psnr_db, state.best_scores = scores.psnr_db, scores
            state.best = {k: v.detach().cpu().clone() for k, v in self.average.state_dict().items()}

    def _log(self, writer: Any, terms: dict[str, float], images_per_s: float) -> None:
        step = self.state.step
        if not all(math.isfinite(v) for v in terms.values()):
            raise ModelError(
                f"the loss is no longer finite at step {step}; train anew, into another folder, "
                f"at less than --set learning_rate={self.recipe.learning_rate:g}"
            )
        rate = learning_rate(self.recipe, step - 1)
        self._write({"step": step, "learning_rate": rate, **terms})
        if writer:
            for name, value in terms.items():
                writer.add_scalar(f"loss/{name}", value, step)
            writer.add_scalar("learning_rate", rate, step)
            writer.add_scalar("images_per_s", images_per_s, step)

    def _write(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)
        if self.accelerator.is_main_process:
            with (self.out / HISTORY).open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _writer(self) -> Any:
        if not self.accelerator.is_main_process:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        # Entries after the checkpoint belong to steps that are about to be run again.
        return SummaryWriter(str(self.out / "tensorboard"), purge_step=self.state.step + 1)

    def _compiles(self) -> bool:
        return self.recipe.compile and self.accelerator.device.type == "cuda"

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = asdict(self.state)
        checkpoint.save(
            self.out,
            self.state.step,
            {
                "recipe": _fingerprint(self.recipe),
                "task": self.accelerator.unwrap_model(self.task).state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "state": {**state, "best": self.state.best},
            },
        )

    def _restore(self) -> None:
        saved = checkpoint.load(self.out, self.accelerator.device)
        if saved is None:
            return
        if saved["recipe"] != _fingerprint(self.recipe):
            raise ModelError(
                f"{self.out} was trained with other settings; resume it with the same "
                "recipe and --set values, or name another folder"
            )
        self.accelerator.unwrap_model(self.task).load_state_dict(saved["task"])
        self.average.load_state_dict(saved["average"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        values = saved["state"]
        for key in ("best_scores", "first_scores"):
            values[key] = None if values[key] is None else Scores(**values[key])
        self.state = _State(**values)
        path = self.out / HISTORY
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        self.history = [e for e in entries if e["step"] <= self.state.step]
        path.write_text("".join(json.dumps(e) + "\n" for e in self.history))

    def _finish(self, images_per_s: float) -> FitResult:
        student = build(self.recipe.student)
        weights = self.state.best or self.average.state_dict()
        student.load_state_dict(weights)
        if self.accelerator.is_main_process:
            from safetensors.torch import save_file

            tensors = {k: v.contiguous() for k, v in student.state_dict().items()}
            with replacing(self.out / "student.safetensors", overwrite=True) as temporary:
                save_file(tensors, temporary, metadata={"student": self.recipe.student})
        return FitResult(
            student.eval(),
            self.state.best_scores,
            self.state.first_scores,
            self.history,
            self.state.step >= self.recipe.steps,
            self.state.seconds,
            images_per_s,
        )


def _precision(recipe: Recipe) -> str:
    if recipe.precision == "float32":
        return "no"
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16" if recipe.precision == "bf16" or fast else "no"


def _fingerprint(recipe: Recipe) -> str:
    """Text of every setting that decides the outcome; how often to log does not."""
    settings = asdict(recipe)
    for name in ("summary", "log_every", "validate_every", "checkpoint_every", "compile"):
        del settings[name]
    return json.dumps(settings, sort_keys=True)
