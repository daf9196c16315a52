"""Compares shapes of the real-time family at equal compute and equal training.

Every candidate is trained from the same seed on the same batches of a bank
(``whet data make``), scored on the same held-out photographs and timed in ONNX
Runtime, interleaved with the others, so that a busy machine disturbs all alike.

    python scripts/architectures.py --bank BANK --validation PHOTOS -o docs/architectures.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from whet.data.bank_files import load_bank
from whet.data.sources import list_pairs
from whet.degrade.pictures import HeldOut, degraded_picture
from whet.distill.losses import level
from whet.distill.recipes import RECIPES
from whet.distill.training.loop import learning_rate
from whet.distill.training.optimizers import OPTIMIZERS
from whet.distill.validate import validate
from whet.models.cost import measure
from whet.models.students.realtime import Realtime, RealtimeConfig, halo_px

SUITES = ("bicubic-x2", "bicubic-x3", "defocus", "call-1000k", "shake-srgb")


class Gate(nn.Module):
    """Channel attention at the lowest resolution (Hu et al., CVPR 2018), over the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((-2, -1), keepdim=True)
        return x * self.excite(self.squeeze(pooled).relu()).sigmoid()


class Gated(Realtime):
    """The family with attention after its lowest level."""

    def __init__(self, config: RealtimeConfig) -> None:
        super().__init__(config)
        self.bottom.append(Gate(config.widths[-1]))


@dataclass(frozen=True)
class Candidate:
    name: str
    why: str
    config: RealtimeConfig
    network: Callable[[RealtimeConfig], Realtime] = Realtime


CANDIDATES = {
    "nano": (
        Candidate("flat", "no U: everything at 1/4", RealtimeConfig((24,), (), 4, ())),
        Candidate("flat wide", "no U, wider, shallower", RealtimeConfig((32,), (), 2, ())),
        Candidate("U", "as shipped", RealtimeConfig((24, 24), (1,), 1, (2,))),
        Candidate("U deep", "narrower, more blocks", RealtimeConfig((20, 28), (1,), 2, (3,))),
        Candidate("U low", "blocks moved to 1/8", RealtimeConfig((24, 24), (0,), 5, (1,))),
        Candidate(
            "U attention", "U and channel attention", RealtimeConfig((24, 24), (1,), 1, (2,)), Gated
        ),
    ),
    "small": (
        Candidate("flat", "no U: everything at 1/4", RealtimeConfig((44,), (), 6, ())),
        Candidate("U", "as shipped", RealtimeConfig((48, 48), (1,), 3, (3,))),
        Candidate("U wide low", "wider at 1/8", RealtimeConfig((40, 64), (1,), 3, (4,))),
        Candidate("U low", "deep at 1/8", RealtimeConfig((48, 48), (0,), 6, (2,))),
        Candidate("U three", "three levels", RealtimeConfig((48, 48, 48), (1, 1), 2, (2, 1))),
    ),
}


def train(candidate: Candidate, args: argparse.Namespace, bank: object) -> tuple[Realtime, float]:
    """Return the averaged weights after ``args.steps`` steps and the seconds they took."""
    recipe = replace(RECIPES[args.budget], steps=args.steps, warmup_steps=args.steps // 20)
    recipe = replace(recipe, learning_rate=args.rate)
    torch.manual_seed(args.seed)
    student = candidate.network(candidate.config)
    average = candidate.network(candidate.config)
    optimizers = OPTIMIZERS[recipe.optimizer](
        list(student.named_parameters()), recipe.learning_rate
    )
    started = time.perf_counter()
    for step in range(args.steps):
        batch = bank.batch(args.seed, step, args.batch, args.crop)  # type: ignore[attr-defined]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step)
        loss = level(student(batch.degraded), batch.sharp)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), recipe.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        decay = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            for mine, value in zip(average.parameters(), student.parameters(), strict=True):
                mine.lerp_(value, 1 - decay)
    return average.eval(), time.perf_counter() - started


def latencies_ms(
    networks: dict[str, nn.Module], height: int, width: int, rounds: int
) -> dict[str, float]:
    """Return the median latency of each network, interleaved, in ONNX Runtime on the CPU."""
    import onnxruntime

    with TemporaryDirectory() as folder:
        sessions = {}
        for name, network in networks.items():
            path = str(Path(folder) / f"{name}.onnx")
            torch.onnx.export(
                network, (torch.zeros(1, 3, height, width),), path, dynamo=True, verbose=False
            )
            sessions[name] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        x = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(rounds + 2):
            for name, session in sessions.items():
                started = time.perf_counter()
                session.run(None, {session.get_inputs()[0].name: x})
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: median(t[2:]) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, action="append", required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=4, help="held-out photographs")
    parser.add_argument("--budget", choices=sorted(CANDIDATES), default="nano")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    bank = load_bank(args.bank)
    photos = [pair.sharp for pair in list_pairs("photos", args.validation, split="all")]
    photos = photos[: args.photos]
    pictures: list[HeldOut] = [degraded_picture(p, s) for p in photos for s in SUITES]
    fused: dict[str, nn.Module] = {}
    lines: dict[str, list[str]] = {}
    for candidate in CANDIDATES[args.budget]:
        student, seconds = train(candidate, args, bank)
        scores = validate(student, pictures, candidate.config.multiple)
        merged = student if candidate.network is Gated else student.fuse()
        fused[candidate.name] = merged
        probe = candidate.network(candidate.config)
        cost = measure(
            probe if candidate.network is Gated else probe.fuse(), 320, candidate.config.multiple
        )
        reach = "all" if candidate.network is Gated else str(cost.receptive_field_px)
        gains = [f"{scores.gain_db[s]:+.2f}" for s in SUITES]
        lines[candidate.name] = [
            candidate.name, candidate.why, f"{cost.kmac_per_px:.2f}", f"{cost.parameters:,}", reach,
            f"{halo_px(candidate.config)}", f"**{fmean(scores.gain_db.values()):+.3f}**", *gains,
        ]  # fmt: skip
        print(" | ".join(lines[candidate.name]), f"({seconds:.0f} s)", flush=True)
    times = latencies_ms(fused, 720, 1280, rounds=7)
    fastest = min(times.values())
    head = [
        "shape",
        "what differs",
        "kMAC/px",
        "parameters",
        "sees px",
        "halo px",
        "mean gain dB",
        *SUITES,
        "720p time",
    ]
    rows = [
        "| " + " | ".join([*row, f"x{times[name] / fastest:.2f}"]) + " |"
        for name, row in lines.items()
    ]
    table = "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(
        f"{args.steps} steps of {args.batch} crops of {args.crop} px, loss `level`, Muon, "
        f"rate {args.rate:g}, seed {args.seed}; gain over the degraded picture in dB PSNR on "
        f"{len(photos)} held-out photographs per suite; time relative to the fastest, "
        f"ONNX Runtime float32, {args.threads} threads.\n\n{table}\n"
    )
    print(table)


if __name__ == "__main__":
    main()
