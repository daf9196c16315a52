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
from whet.distill.recipes import Recipe
from whet.distill.task import DistillationTask
from whet.distill.training import checkpoint
from whet.distill.training.ahead import BatchesAhead
from whet.distill.training.optimizers import OPTIMIZERS
from whet.distill.training.pace import Pace, Speed, choose, machine
from whet.distill.training.resuming import differences, fingerprint
from whet.distill.training.schedule import follow, learning_rate
from whet.distill.training.start import fresh_student
from whet.distill.validate import Scores, validate
from whet.errors import InputError, ModelError
from whet.files import replacing
from whet.models import MODELS, build

__all__ = ["FitResult", "Progress", "fit"]

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
    pace: how it was computed, and what was tried.
    speed: ``mpx_per_s_core`` and ``peak_share`` of this sitting's steps, see
        :class:`whet.distill.training.pace.Speed`.
    """

    student: nn.Module
    best: Scores | None
    first: Scores | None
    history: list[dict[str, Any]]
    finished: bool
    seconds: float
    images_per_s: float
    pace: Pace
    speed: dict[str, float]


@dataclass
class _State:
    """What a step changes, beside the weights."""

    step: int = 0
    seconds: float = 0.0
    best_psnr_db: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    best_scores: Scores | None = None
    first_scores: Scores | None = None


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
        student = fresh_student(recipe)
        saved = checkpoint.load(out) if resume else None
        self.pace = self._pace(student, saved)
        # Its own precision holds for a whole process, whatever else is trained in it.
        self.accelerator = Accelerator(mixed_precision="no")
        task = DistillationTask(student, recipe.losses, teacher, vgg, recipe.taps)
        if self.pace.compiled:
            task.compile_student()
        self.student = student
        device = self.accelerator.device
        for adviser in (teacher, vgg):
            if adviser is not None:
                adviser.to(device)
        task = task.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizers = OPTIMIZERS[recipe.optimizer](
            list(task.named_parameters()), recipe.learning_rate
        )
        self.task, *self.optimizers = self.accelerator.prepare(task, *optimizers)
        self.average = build(recipe.student).to(device) if recipe.ema else student
        self.average.load_state_dict(student.state_dict())
        self.average.eval()
        self.state = _State()
        self.history: list[dict[str, Any]] = []
        if saved is not None:
            self._restore(saved)
        self.speed = Speed(device, self.pace, MODELS[recipe.student].kmac_per_px)

    def _pace(self, student: nn.Module, saved: dict[str, Any] | None) -> Pace:
        """Choose how to compute; a run goes on as it began where it began on such a machine."""
        if saved and "pace" in saved and saved["pace"]["machine"] == machine():
            return Pace(saved["pace"]["precision"], saved["pace"]["compiled"])
        recipe = self.recipe
        stage = recipe.stage_at(saved["state"]["step"] if saved else 0)
        return choose(
            student,
            (stage.batch, stage.crop),
            torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            recipe.precision,
            compiling=recipe.compile,
            steps=recipe.steps,
        )

    def _cut(self, step: int) -> Batch:
        stage = self.recipe.stage_at(step)
        rank = self.accelerator.process_index
        return self.bank.batch(self.recipe.seed, step, stage.batch, stage.crop, rank)

    def train(self, max_minutes: float, on_step: Callable[[Progress], None] | None) -> FitResult:
        recipe, state = self.recipe, self.state
        writer = self._writer()
        if state.step == 0 and self.pictures:
            state.first_scores = self._validate()
        started, earlier, images = time.perf_counter(), state.seconds, 0
        with BatchesAhead(self._cut, state.step, recipe.steps) as batches:
            while state.step < recipe.steps:
                with self.speed.timed(recipe.stage_at(state.step)):
                    terms = self._step(batches.next().to(self.accelerator.device))
                stage = recipe.stage_at(state.step)
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
        kind, reduced = self.accelerator.device.type, self.pace.precision == "bf16"
        with torch.autocast(kind, torch.bfloat16, enabled=reduced):
            due = (self.state.step + 1) % recipe.vgg_every == 0
            result = self.task(batch, float(recipe.vgg_every) if due else 0.0)
        self.accelerator.backward(result.total)
        if recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.task.parameters(), recipe.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not self.student:
            follow(self.average, self.student, recipe.ema, self.state.step)
        return {"total": result.total.detach(), **result.terms}

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
        speed = self.speed.lap()
        self._write({"step": step, "learning_rate": rate, **terms, **speed})
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

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = asdict(self.state)
        checkpoint.save(
            self.out,
            self.state.step,
            {
                "recipe": fingerprint(self.recipe),
                "pace": {
                    "precision": self.pace.precision,
                    "compiled": self.pace.compiled,
                    "machine": machine(),
                },
                "task": self.accelerator.unwrap_model(self.task).state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "state": {**state, "best": self.state.best},
            },
        )

    def _restore(self, saved: dict[str, Any]) -> None:
        if changed := differences(self.recipe, saved["recipe"]):
            raise ModelError(
                f"{self.out} was trained with other settings ({', '.join(changed)}); resume it "
                "with the same recipe and --set values, or name another folder"
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
            self.pace,
            self.speed.whole(),
        )
