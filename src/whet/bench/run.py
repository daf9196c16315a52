"""How fast: models in runtimes beside what they stand against, interleaved in one run.

All contestants of a size are opened and warmed first. Then they take turns, one
picture each, round after round, so that whatever else the machine does falls on
all alike. Wall time tells what a user waits; processor time, over all threads,
what the work costs on a machine that is shared. Ratios to the founding student
are only ever taken within one run, size and number of threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.bench.contestants import (
    FOUNDING,
    Contestant,
    founding_files,
    models_of,
    open_contestant,
    rivals_here,
)
from whet.bench.energy import Meter
from whet.bench.first_picture import probe
from whet.bench.machine import load_average, machine
from whet.bench.matmul_peak import gemms_here, open_gemm, peaks
from whet.bench.turns import Timing, take_turns
from whet.bench.video_files import file_to_file
from whet.errors import InputError

__all__ = [
    "SIZES",
    "BenchOptions",
    "Report",
    "Row",
    "Timing",
    "bench",
    "check",
    "ratios",
    "sides_of",
    "take_turns",
]

SIZES: Mapping[str, tuple[int, int]] = {
    "360p": (640, 360),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "4k": (3840, 2160),
}
"""Name -> width and height; any WIDTHxHEIGHT is a size too."""

REFERENCE_RUNTIME = "onnxruntime"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        models: names of shipped models, or paths of model files.
        runtimes: keys of ``RUNTIMES``; empty takes the installed ones, PyTorch only if named.
        sizes: keys of :data:`SIZES` or WIDTHxHEIGHT.
        threads: numbers of threads; None leaves it to the runtime.
        rounds: turns of each contestant, at most.
        seconds: after which a contestant of one size has had enough turns.
        rivals: measure the founding student and the classical filters too.
        probes: measure first picture and memory, each in a process of its own.
        peaks: measure what plain matrix products reach, in turn with the others.
        clip_frames: frames of the clip for file-to-file; 0 leaves that out.
    """

    models: Sequence[str] = ("nano", "small")
    runtimes: Sequence[str] = ()
    sizes: Sequence[str] = ("360p", "720p")
    threads: Sequence[int | None] = (None,)
    rounds: int = 20
    seconds: float = 10.0
    rivals: bool = True
    probes: bool = True
    peaks: bool = True
    clip_frames: int = 48


@dataclass(frozen=True)
class Row:
    """One contestant at one size.

    Attributes:
        contestant: who.
        size: width and height.
        timing: turn by turn.
        extra: ``first_frame_ms``, ``peak_rss_mb``, ``idle_rss_mb``, and what
            :func:`~whet.bench.video_files.file_to_file` returns, where measured.
    """

    contestant: Contestant
    size: tuple[int, int]
    timing: Timing
    extra: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the ratios, for machines."""
        numbers = self.timing.summary()
        macs = 1000 * self.contestant.kmac_per_px * self.size[0] * self.size[1]
        gops = 2 * macs / 1e6 / numbers["latency_p50_ms"] if macs else None
        return {
            **{k: v for k, v in asdict(self.contestant).items() if k != "file"},
            "width": self.size[0],
            "height": self.size[1],
            **numbers,
            "gops": gops,
            **self.extra,
        }


@dataclass(frozen=True)
class Report:
    """A benchmark.

    Attributes:
        machine: where, with which versions, under which load.
        options: what was asked for.
        rows: one per contestant and size, with ratios.
        limits: frames per second of decoding and encoding alone, by size and preset; empty if
            not measured.
        peaks: what matrix products reached, by size of the pictures they took turns with.
    """

    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    limits: Mapping[str, Mapping[str, float]]
    peaks: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything, for machines."""
        return asdict(self)


def sides_of(size: str) -> tuple[int, int]:
    """Return width and height of a size.

    Raises:
        InputError: neither a key of :data:`SIZES` nor WIDTHxHEIGHT.
    """
    if size in SIZES:
        return SIZES[size]
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        known = ", ".join(SIZES)
        raise InputError(f"no size {size!r}; choose from {known}, or give WIDTHxHEIGHT")
    return int(width), int(height)


def ratios(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ``rows`` with how many times as fast each is as the founding student.

    ``times_founding`` compares with its float32 in ONNX Runtime,
    ``times_founding_same_runtime`` with its float32 in the row's own runtime,
    ``times_founding_cpu`` with the former by processor time, ``times_founding_int8`` with its
    int8 in the row's own runtime. The founding row has the size and the threads of the row;
    None where there is no such row.
    """

    def founding(
        row: Mapping[str, Any], runtime: str, precision: str = "float32"
    ) -> Mapping[str, Any] | None:
        same = ("width", "height", "threads")
        for other in rows:
            if (
                other["name"] == FOUNDING
                and (other["runtime"], other["precision"]) == (runtime, precision)
                and all(other[key] == row[key] for key in same)
            ):
                return other
        return None

    def ratio(row: Mapping[str, Any], other: Mapping[str, Any] | None, key: str) -> float | None:
        # A clock may be too coarse for a small picture.
        return None if other is None or not row[key] else other[key] / row[key]

    return [
        {
            **row,
            "times_founding": ratio(row, founding(row, REFERENCE_RUNTIME), "latency_p50_ms"),
            "times_founding_same_runtime": ratio(
                row, founding(row, row["runtime"]), "latency_p50_ms"
            ),
            "times_founding_int8": ratio(
                row, founding(row, row["runtime"], "int8"), "latency_p50_ms"
            ),
            "times_founding_cpu": ratio(row, founding(row, REFERENCE_RUNTIME), "cpu_p50_ms"),
        }
        for row in rows
    ]


def check(options: BenchOptions) -> None:
    """Refuse what cannot be measured, before anything is. Raises as :func:`bench` does."""
    for size in options.sizes:
        sides_of(size)
    models_of(options.models, options.runtimes, options.threads)


def bench(
    options: BenchOptions, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Report:
    """Measure.

    Args:
        options: what.
        progress: called with what is done next, the number of steps done, and of all.

    Raises:
        InputError: an unknown size or runtime, or a contestant that cannot run.
        ModelError: an unknown or damaged model.
    """
    sizes = [sides_of(size) for size in options.sizes]
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as folder:
        contestants = models_of(options.models, options.runtimes, options.threads)
        if options.rivals:
            founding = [str(path) for path in founding_files(Path(folder))]
            contestants += models_of(founding, options.runtimes, options.threads)
            contestants += rivals_here(options.threads)
        rows: list[dict[str, Any]] = []
        limits: dict[str, Mapping[str, float]] = {}
        reached: dict[str, Sequence[Mapping[str, Any]]] = {}
        steps = len(sizes) * (1 + len(contestants) * options.probes + bool(options.clip_frames))
        done = 0
        meter = Meter.find()
        gemms = gemms_here(options.threads) if options.peaks else []

        def step(what: str) -> None:
            nonlocal done
            progress(what, done, steps)
            done += 1

        for width, height in sizes:
            size = f"{width}x{height}"
            step(f"{size}, taking turns")
            runs = _opened(contestants, picture(width, height))
            runs |= {gemm.label: open_gemm(gemm) for gemm in gemms}
            timings = take_turns(runs, options.rounds, options.seconds, meter=meter)
            best = peaks(gemms, timings)
            reached[size] = best.rows
            file_fps: Mapping[str, Mapping[str, float | None]] = {}
            if options.clip_frames:
                step(f"{size}, file to file")
                own = [c for c in contestants if c.kind == "model" and c.name != FOUNDING]
                file_fps, limits[size] = file_to_file(
                    own, [picture(width, height, i) for i in range(options.clip_frames)]
                )
            for contestant in contestants:
                extra = dict(file_fps.get(contestant.label, {}))
                if options.probes:
                    step(f"{size}, memory of {contestant.label}")
                    extra |= probe(contestant, width, height)
                row = Row(contestant, (width, height), timings[contestant.label], extra).to_json()
                rows.append(row | best.shares(row))
    where = {
        **machine(),
        "energy": meter.note,
        "load_before": load_before,
        "load_after": load_average(),
    }
    return Report(where, asdict(options), ratios(rows), limits, reached)


def picture(width: int, height: int, index: int = 0) -> Pixels:
    """Return a soft coloured pattern with edges and some noise, moved by ``index``."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (height // 16 + 1, width // 16 + 1, 3))
    pattern = np.kron(coarse, np.ones((16, 16, 1), np.int64))[:height, :width]
    noisy = pattern + rng.integers(-6, 7, (height, width, 1))
    moved: Pixels = np.roll(noisy, 3 * index, axis=1).astype(np.uint8)
    return moved


def _opened(contestants: Sequence[Contestant], frame: Pixels) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {}
    for contestant in contestants:
        opened = open_contestant(contestant)
        runs[contestant.label] = partial(opened.restore, opened.prepare(frame))
    return runs
