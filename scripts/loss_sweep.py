"""What each loss term brings, at equal steps, batches and start.

Every row is one training of the same student from the same seed on the same crops of a
bank with teacher outputs (``whet data make --teacher``), by ``whet.train.loop.fit`` as
``whet distill`` runs it. The first row is repeated with other seeds: a difference smaller
than the spread among them says nothing.

    python scripts/loss_sweep.py --bank BANK --validation PHOTOS -o docs/losses.md
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch

from whet.data.make import load_bank
from whet.data.sources import list_pairs
from whet.models.vgg import load_vgg
from whet.train.assemble import degraded_picture
from whet.train.loop import fit
from whet.train.recipes import RECIPES, Stage

SUITES = ("bicubic-x2", "bicubic-x3", "defocus", "shake-srgb", "call-1000k")

BASE = {"deviation": 1.0}

SWEEP: Mapping[str, Mapping[str, float]] = {
    "level alone": {"level": 1.0},
    "deviation alone": BASE,
    "deviation alone, seed 1": BASE,
    "deviation alone, seed 2": BASE,
    "pixel (L1)": {"pixel": 1.0},
    "charbonnier": {"charbonnier": 1.0},
    "pixel, edge, distillation": {"pixel": 0.4, "distillation": 0.2, "edge": 0.1},
    "+ edge": {**BASE, "edge": 0.1},
    "+ frequency": {**BASE, "frequency": 0.1},
    "+ distillation (MSE to the teacher)": {**BASE, "distillation": 1.0},
    "+ trusted teacher, 0.2": {**BASE, "trusted": 0.2},
    "+ trusted teacher, 1.0": {**BASE, "trusted": 1.0},
    "+ perceptual-sharp": {**BASE, "perceptual-sharp": 0.003},
    "+ contrastive": {**BASE, "contrastive": 0.005},
    "the teacher alone": {"distillation": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, action="append", required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--student", default="nano")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crop", type=int, default=48)
    parser.add_argument("--photos", type=int, default=4, help="held-out photographs")
    parser.add_argument("--vgg", type=Path, help="VGG16 weights; the fetched ones by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    bank, vgg = load_bank(args.bank), load_vgg(args.vgg)
    photos = [pair.sharp for pair in list_pairs("photos", args.validation, split="all")]
    pictures = [degraded_picture(p, s) for p in photos[: args.photos] for s in SUITES]
    recipe = replace(
        RECIPES[args.student],
        stages=(Stage(0.0, args.crop, args.batch),),
        steps=args.steps,
        optimizer=args.optimizer,
        learning_rate=args.rate,
        warmup_steps=args.steps // 20,
        ema=0.995,
        vgg_every=16,
        compile=False,
        log_every=args.steps,
        validate_every=args.steps,
        checkpoint_every=args.steps,
    )
    rows = []
    for name, losses in SWEEP.items():
        seed = int(name.rpartition("seed ")[2]) if "seed " in name else 0
        with TemporaryDirectory() as folder:
            run = replace(recipe, losses=losses, seed=seed)
            best = fit(run, bank, pictures, Path(folder) / "run", vgg=vgg).best
        assert best is not None
        gains = [f"{best.gain_db[s]:+.2f}" for s in SUITES]
        ssim = f"{best.ssim - best.identity_ssim:+.4f}"
        rows.append(
            f"| {name} | **{fmean(best.gain_db.values()):+.3f}** | {ssim} | "
            + " | ".join(gains)
            + " |"
        )
        print(rows[-1], flush=True)
    head = ["terms", "mean gain dB", "SSIM", *SUITES]
    table = "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows])
    args.out.write_text(
        f"{args.student}, {args.steps} steps of {args.batch} crops of {args.crop} px out of "
        f"{len(bank)}, {bank.taught_count} of them with the teacher's output; "
        f"{args.optimizer}, rate {args.rate:g}, seed 0 where none is named; "
        f"gain over the degraded picture on {len(photos[: args.photos])} held-out photographs "
        f"per suite.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
