"""Which way of computing a training step is the fastest here, and how fast that is.

Reduced precision and compiling pay on some processors and cost on others, and no list of
processors says on which. So a few steps are run each way before the training begins.
"""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from whet.distill.recipes import Stage
from whet.runtime.cpu_features import bfloat16_is_fast

__all__ = ["Pace", "Speed", "Tried", "choose", "machine", "matrix_peak_gflops", "peak_share"]

ROUNDS = 10
"""Steps that are timed each way; the fastest counts."""

CLEARLY = 0.95
"""What is not faster by this factor is not worth its rounding, or its waiting for a compiler."""

WORTH_COMPILING_S = 600
"""A run shorter than this ends before a compiler has paid."""

PEAK_SIDE = 1024
FLOP_PER_MAC = 6
"""A multiplication and an addition forward, and twice as many backward."""


@dataclass(frozen=True)
class Tried:
    """One way of computing a step, as it was measured; ``reason`` says why it could not be."""

    precision: str
    compiled: bool
    ms_per_step: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Pace:
    """How a run computes.

    Attributes:
        precision: "float32" or "bf16".
        compiled: the student is compiled.
        tried: what was measured for it; empty where there was no choice.
    """

    precision: str = "float32"
    compiled: bool = False
    tried: tuple[Tried, ...] = ()

    def __str__(self) -> str:
        compiled = ", compiled" if self.compiled else ""
        return f"{self.precision}{compiled}"


def choose(
    student: nn.Module,
    size: tuple[int, int],
    device: torch.device,
    precision: str,
    *,
    compiling: bool,
    steps: int,
) -> Pace:
    """Return the fastest way to train ``student`` here.

    On a GPU bfloat16 is taken where there is any and compiling is as asked; neither is measured.

    Args:
        size: number of crops in a batch and their side in pixels.
        precision: "float32", "bf16", or "auto".
        compiling: whether compiling is allowed.
        steps: how many are still to run.
    """
    if device.type != "cpu":
        fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        reduced = precision == "bf16" or (precision == "auto" and fast)
        return Pace("bf16" if reduced else "float32", compiling)
    tried: list[Tried] = []
    precisions = [precision] if precision != "auto" else ["float32"]
    # Processors without it emulate bfloat16, far slower than they compute in float32.
    if precision == "auto" and bfloat16_is_fast():
        precisions.append("bf16")
    if len(precisions) == 1 and not compiling:
        return Pace(precisions[0])
    for name in precisions:
        tried.append(_tried(student, size, name, compiled=False))
    best = _best(tried)
    assert best.ms_per_step is not None
    if compiling and steps * best.ms_per_step / 1000 > WORTH_COMPILING_S:
        tried.append(_tried(student, size, best.precision, compiled=True))
        best = _best(tried)
    return Pace(best.precision, best.compiled, tuple(tried))


def _best(tried: Sequence[Tried]) -> Tried:
    """Return the first that no later one beats clearly."""
    best = tried[0]
    for way in tried[1:]:
        if way.ms_per_step and way.ms_per_step < CLEARLY * (best.ms_per_step or math.inf):
            best = way
    return best


def _tried(student: nn.Module, size: tuple[int, int], precision: str, *, compiled: bool) -> Tried:
    network = copy.deepcopy(student).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    run: Callable[[Tensor], Any] = getattr(network, "forward_looking", network.forward)
    if compiled:
        run = torch.compile(run, dynamic=False)
    images = torch.rand(size[0], 3, size[1], size[1], generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    try:
        _step(run, network, images, precision)
        times = []
        for _ in range(ROUNDS):
            # Of this thread, which computes forward and backward: while others have the processor,
            # its clock stands still.
            started = time.thread_time()
            _step(run, network, images, precision)
            times.append(time.thread_time() - started)
    except Exception as error:
        if not compiled:
            raise
        # No compiler, or one that fails: the reasons are many, and without it the run goes on.
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        return Tried(precision, compiled, None, f"{type(error).__name__}: {reason}")
    return Tried(precision, compiled, round(1000 * min(times), 2))


def _step(run: Callable[[Tensor], Any], network: nn.Module, images: Tensor, precision: str) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = run(images)
    outputs = output if isinstance(output, tuple) else (output,)
    total = sum((part.float().square().mean() for part in outputs), torch.zeros(()))
    cast(Any, total).backward()
    network.zero_grad(set_to_none=True)


def matrix_peak_gflops(device: torch.device, precision: str) -> float:
    """Return how many billions of operations a plain matrix product reaches here per second."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.rand(PEAK_SIDE, PEAK_SIDE, device=device, dtype=kind) for _ in range(2))
    best = math.inf
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * PEAK_SIDE**3 / best / 1e9


def machine() -> str:
    """Return what makes two machines compute alike: the processor's kind and its threads."""
    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"{kind}, {torch.get_num_threads()} threads, bf16 {bfloat16_is_fast()}"


class Speed:
    """How fast a run goes.

    Args:
        device: it runs on.
        pace: the way it computes.
        kmac_per_px: of the student.
    """

    def __init__(self, device: torch.device, pace: Pace, kmac_per_px: float) -> None:
        self._cores = torch.get_num_threads() if device.type == "cpu" else 1
        self._kmac = kmac_per_px
        self._peak_gflops = matrix_peak_gflops(device, pace.precision)
        self._all = [0.0, 0.0]
        self._lap = [0.0, 0.0]

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Count a step, the wait for its batch included."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        for counts in (self._all, self._lap):
            counts[0] += stage.batch * stage.crop**2 / 1e6
            counts[1] += seconds

    def lap(self) -> dict[str, float]:
        """Return the speed since the last lap: megapixels per second and core, share of the peak.

        The peak is what a plain matrix product reaches with all threads in the same precision.
        """
        counts, self._lap = self._lap, [0.0, 0.0]
        return self._rates(*counts)

    def whole(self) -> dict[str, float]:
        """Return the speed over all steps."""
        return self._rates(*self._all)

    def _rates(self, mpx: float, seconds: float) -> dict[str, float]:
        if not seconds:
            return {}
        rate = mpx / seconds
        return {
            "mpx_per_s_core": round(rate / self._cores, 4),
            "peak_share": round(peak_share(rate, self._kmac, self._peak_gflops), 4),
        }


def peak_share(mpx_per_s: float, kmac_per_px: float, peak_gflops: float) -> float:
    """Return the share of a matrix product's speed that training at ``mpx_per_s`` reaches."""
    return mpx_per_s * 1e6 * kmac_per_px * 1e3 * FLOP_PER_MAC / (peak_gflops * 1e9)
