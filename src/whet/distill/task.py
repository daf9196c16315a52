"""What one training step means: a batch in, named loss terms out.

The task owns the student and whatever else trains (projections of feature
taps); the teacher and VGG only advise. They are kept out of the module tree, so
that neither ``train()`` nor a distributed wrapper nor a checkpoint ever touches
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.data.batch import Batch
from whet.distill.losses import LOSSES, Loss, LossInputs
from whet.errors import InputError

__all__ = ["DistillationTask", "StepResult"]


@dataclass(frozen=True)
class StepResult:
    """Attributes:
    total: the weighted sum, scalar, with gradient.
    terms: every term unweighted, detached, by name.
    restored: the student's output, NCHW, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]
    restored: Tensor


class DistillationTask(nn.Module):
    """Student, teacher and loss terms as one module whose forward pass is a step.

    Args:
        student: NCHW float32 in [0, 1] -> the same, unclamped. One that looks also has
            ``forward_looking(degraded) -> (restored, logits)``, logits as in
            :class:`whet.distill.losses.LossInputs`.
        weights: loss term -> weight; zero and absent terms are not computed.
        teacher: frozen network for batches without cached teacher outputs, or None.
        vgg: frozen feature network, needed by the perceptual terms.
        taps: (student layer, teacher layer) pairs for the ``feature`` term; layers by
            their dotted module name. Their spatial sizes may differ, the student's
            feature is resized; channels are matched by a learned 1x1 convolution.

    Raises:
        InputError: a term is unknown, or lacks the teacher, VGG or taps that it needs.
    """

    def __init__(
        self,
        student: nn.Module,
        weights: Mapping[str, float],
        teacher: nn.Module | None = None,
        vgg: nn.Module | None = None,
        taps: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.weights = {name: weight for name, weight in weights.items() if weight}
        for name in self.weights:
            if name not in LOSSES:
                raise InputError(f"no loss is called {name!r}; choose from: {', '.join(LOSSES)}")
            if LOSSES[name].vgg and vgg is None:
                raise InputError(
                    f"the loss {name!r} needs VGG16 features; run `whet data fetch vgg16`, "
                    f"name a file with --vgg, or leave the term out with --set losses.{name}=0"
                )
            if LOSSES[name].taps and (not taps or teacher is None):
                raise InputError(f"the loss {name!r} needs feature taps and a running teacher")
            if LOSSES[name].look and not hasattr(student, "forward_looking"):
                raise InputError(
                    f"the loss {name!r} needs a student that says what it sees, and "
                    f"{type(student).__name__} does not; leave it out with --set losses.{name}=0"
                )
        self._looks = any(LOSSES[name].look for name in self.weights)
        self._run: Callable[[Tensor], Any] = (
            cast(Any, student).forward_looking if self._looks else student.__call__
        )
        # A tuple hides the advisers from nn.Module: they are neither trained nor saved.
        self._advisers = (_freeze(teacher), _freeze(vgg))
        self._taps = taps if "feature" in self.weights else ()
        self.projections = nn.ModuleList(self._make_projections())

    def compile_student(self) -> None:
        """Compile the student for the sizes that it meets; its layers cannot be tapped then."""
        if not self._taps:
            self._run = torch.compile(self._run, dynamic=False)

    @property
    def teacher(self) -> nn.Module | None:
        """The frozen teacher, if one runs with the student."""
        return self._advisers[0]

    def forward(self, batch: Batch, vgg_share: float = 1.0) -> StepResult:
        """Return the loss of one batch.

        Args:
            batch: the images.
            vgg_share: terms that run VGG16 are multiplied by this, and left out at 0. VGG costs
                more than a small student: one step in n with a share of n has the same mean.
        """
        student_taps: list[Tensor] = []
        teacher_taps: list[Tensor] = []
        with _recording(self.student, [s for s, _ in self._taps], student_taps):
            output = self._run(batch.degraded)
        restored, logits = output if self._looks else (output, None)
        if self.teacher is not None and (batch.teacher is None or self._taps):
            with _recording(self.teacher, [t for _, t in self._taps], teacher_taps):
                batch = self._taught(batch)
        inputs = LossInputs(
            # Losses in float32 whatever the network ran in: their sums are long.
            restored.float(),
            batch.sharp,
            batch.degraded,
            batch.teacher,
            batch.taught,
            self._advisers[1],
            tuple(
                F.interpolate(project(s), t.shape[-2:], mode="bilinear", align_corners=False)
                for project, s, t in zip(self.projections, student_taps, teacher_taps, strict=True)
            ),
            tuple(teacher_taps),
            logits,
            batch.conditions,
        )
        factors = {
            name: weight * (vgg_share if LOSSES[name].vgg else 1.0)
            for name, weight in self.weights.items()
        }
        terms = {name: _compute(LOSSES[name], inputs) for name, factor in factors.items() if factor}
        total = torch.stack([factors[name] * term for name, term in terms.items()]).sum()
        return StepResult(
            total, {name: term.detach() for name, term in terms.items()}, restored.detach()
        )

    def _taught(self, batch: Batch) -> Batch:
        assert self.teacher is not None
        # no_grad and not inference_mode: the output enters terms that autograd records.
        with torch.no_grad():
            output = self.teacher(batch.degraded).float().clamp(0, 1)
        taught = torch.ones(len(output), dtype=torch.bool, device=output.device)
        return replace(batch, teacher=output, taught=taught)

    def _make_projections(self) -> Iterator[nn.Module]:
        if not self._taps:
            return
        assert self.teacher is not None
        probe = torch.zeros(1, 3, 64, 64, device=next(self.student.parameters()).device)
        for student_tap, teacher_tap in self._taps:
            channels = []
            for network, tap in ((self.student, student_tap), (self.teacher, teacher_tap)):
                seen: list[Tensor] = []
                with torch.no_grad(), _recording(network, [tap], seen):
                    network(probe)
                channels.append(seen[0].shape[1])
            yield nn.Conv2d(channels[0], channels[1], 1).to(probe.device)


def _freeze(network: nn.Module | None) -> nn.Module | None:
    return None if network is None else network.eval().requires_grad_(False)


def _compute(loss: Loss, inputs: LossInputs) -> Tensor:
    if not loss.teacher:
        return loss.compute(inputs)
    if inputs.teacher is None or inputs.taught is None:
        raise InputError(
            "a loss term needs the teacher's output, but the batch has none; "
            "choose a teacher, or a bank written with one (`whet data make --teacher ..`)"
        )
    if loss.taps or bool(inputs.taught.all()):
        return loss.compute(inputs)
    if not bool(inputs.taught.any()):
        return inputs.restored.sum() * 0.0
    rows = inputs.taught
    # Weighed by their share, so that a taught image counts the same in every batch.
    return rows.float().mean() * loss.compute(
        replace(
            inputs,
            restored=inputs.restored[rows],
            sharp=inputs.sharp[rows],
            degraded=inputs.degraded[rows],
            teacher=inputs.teacher[rows],
            taught=None,
        )
    )


@contextmanager
def _recording(network: nn.Module, names: list[str], into: list[Tensor]) -> Iterator[None]:
    """Append the outputs of the named submodules to ``into``, in the order of ``names``."""
    seen: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise InputError(f"{type(network).__name__} has no layer {unknown[0]!r} to tap")

    def hook(name: str) -> Any:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    handles = [modules[name].register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    into.extend(seen[name] for name in names)
