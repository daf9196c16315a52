"""Time several things in turn, so that whatever else a machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from whet.bench.energy import Meter

__all__ = ["Timing", "take_turns"]

Clock = Callable[[], float]

_LEAST = 3  # turns of a contestant, however slow


@dataclass(frozen=True)
class Timing:
    """What one contestant took, turn by turn."""

    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    energy_mj: tuple[float, ...] = ()

    def summary(self) -> dict[str, float]:
        """Return percentiles, and frames per second at the median."""
        p50, p95 = np.percentile(self.wall_ms, (50, 95))
        energy = {"energy_p50_mj": float(np.median(self.energy_mj))} if self.energy_mj else {}
        return {
            **energy,
            "turns": len(self.wall_ms),
            "latency_p50_ms": float(p50),
            "latency_p95_ms": float(p95),
            "fps": 1000 / float(p50),
            "cpu_p50_ms": float(np.median(self.cpu_ms)),
        }


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    seconds: float,
    *,
    wall: Clock = time.perf_counter,
    cpu: Clock = time.process_time,
    meter: Meter | None = None,
) -> dict[str, Timing]:
    """Time every run once per round, in turn.

    Args:
        runs: name -> what to time; each is called once before, untimed.
        rounds: how many, at most.
        seconds: a run that has taken this long in total sits out, after three turns.
        wall, cpu: clocks in seconds.
        meter: of energy; None measures none.
    """
    meter = meter or Meter((), "")
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    energy_mj: dict[str, list[float]] = {name: [] for name in runs}
    spent_s = dict.fromkeys(runs, 0.0)
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            if spent_s[name] >= seconds and len(samples[name]) >= _LEAST:
                continue
            before = meter.read_uj()
            wall_s, cpu_s = wall(), cpu()
            run()
            cpu_s, wall_s = cpu() - cpu_s, wall() - wall_s
            if (spent_mj := meter.spent_mj(before, meter.read_uj())) is not None:
                energy_mj[name].append(spent_mj)
            samples[name].append((1000 * wall_s, 1000 * cpu_s))
            spent_s[name] += wall_s
    return {
        name: Timing(tuple(w for w, _ in taken), tuple(c for _, c in taken), tuple(energy_mj[name]))
        for name, taken in samples.items()
    }
