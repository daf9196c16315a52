"""What turns gradients into steps: Adam for the founding design, Muon for the real-time family.

A batch of crops says much about a few directions of a weight matrix and drowns the rest in
noise: how to undo one kind of softness, but not the other five. Muon (Jordan et al., "Muon: An
optimizer for hidden layers in neural networks", 2024) replaces a matrix's momentum by the nearest
orthogonal one, so that weak directions are learned as fast as strong ones.

A new optimiser is one function and one line in :data:`OPTIMIZERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["OPTIMIZERS", "Muon", "orthogonal"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's quintic: singular values end between about 0.7 and 1.2."""

ITERATIONS = 5

MATCH_ADAM = 0.2
"""Root mean square of Adam's steps over its rate (Liu et al., "Muon is Scalable for LLM
Training", 2025): with it one rate serves both optimisers."""


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the matrices (N, rows, columns) with their singular values brought close to 1.

    Zero matrices stay zero.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for convolution weights (out, in, kh, kw).

    Args:
        params: four-dimensional weights; each is one matrix of ``out`` rows.
        lr: as Adam's.
        momentum: decay of the running mean of gradients.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight; ``closure`` is not used."""
        if closure is not None:
            raise NotImplementedError("Muon takes no closure")
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    direction = self._direction(weight, group["momentum"]).flatten(1)
                    alike.setdefault(tuple(direction.shape), []).append((weight, direction))
            # Layers of one shape go through as one batch: small matrices cost their launches.
            for (rows, columns), members in alike.items():
                scale = MATCH_ADAM * max(rows, columns) ** 0.5 * group["lr"]
                steps = orthogonal(torch.stack([direction for _, direction in members]))
                for (weight, _), step in zip(members, steps, strict=True):
                    weight.sub_(step.view(weight.shape), alpha=scale)

    def _direction(self, weight: Tensor, momentum: float) -> Tensor:
        state: dict[str, Any] = self.state[weight]
        gradient = weight.grad.float()  # type: ignore[union-attr]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(gradient)
        state["mean"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["mean"], momentum)


Named = Sequence[tuple[str, nn.Parameter]]

ANSWERING = ("look.mind.", "tell.")
"""Layers that answer or are told: their directions are few and of very different weight, and
Muon would make them all alike."""


def _adam(parameters: Named, rate: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam([p for _, p in parameters], lr=rate, betas=(0.9, 0.99))]


def _muon(parameters: Named, rate: float) -> list[torch.optim.Optimizer]:
    matrices = [(n, p) for n, p in parameters if p.ndim == 4 and not _answers(n)]
    others = [(n, p) for n, p in parameters if p.ndim != 4 or _answers(n)]
    return [Muon([p for _, p in matrices], rate), *(_adam(others, rate) if others else [])]


def _answers(name: str) -> bool:
    return any(f".{layer}" in f".{name}" for layer in ANSWERING)


OPTIMIZERS: Mapping[str, Callable[[Named, float], list[torch.optim.Optimizer]]] = {
    "adam": _adam,
    "muon": _muon,
}
"""Name -> the optimisers that share a student's parameters, given them by name and the rate. Muon
moves convolutions; what is left, biases, norms and layers that answer, is Adam's."""
