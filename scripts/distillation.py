"""What a teacher and each loss bring: the same student, steps, data and seeds with and without.

Every student is trained by ``whet.distill.training.loop.fit`` as ``whet distill`` runs it. Each is
scored on the same held-out photographs and on real pairs; a difference is taken picture by picture
against the student of the same seed that learned from sharp pictures by ``level`` alone, averaged
over the seeds, and its interval is over pictures. How far seeds alone differ stands beside it.

    python scripts/distillation.py --bank BANK --assistant RUN/student.safetensors -o FILE.md

Without ``--assistant`` the teacher is the one whose outputs the banks hold. ``--with`` names
mixtures of losses, one student each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from whet.data.bank import CropBank
from whet.data.bank_files import load_bank
from whet.distill.losses import LOSSES
from whet.distill.recipes import RECIPES, Recipe, override
from whet.distill.training.loop import fit
from whet.distill.validate import restore_bytes
from whet.evaluate.suites.opening import Item, open_pairs, open_suite
from whet.evaluate.windows import centred
from whet.intervals import interval
from whet.metrics import psnr
from whet.models import MODELS, build_teacher
from whet.models.features.vgg import load_vgg

SUITES = (
    "bicubic-x2", "bicubic-x3", "defocus", "shake-srgb", "shake-linear", "object",
    "call-400k", "call-1000k",
)  # fmt: skip
ALONE = "sharp pictures alone"
CEILING_DB = 60.0
"""A picture that comes back all but unchanged counts as this, lest it outweigh all others."""


@dataclass(frozen=True)
class Result:
    """One condition: gain in dB, seeds x pictures."""

    name: str
    gains: np.ndarray


def pictures(window: tuple[int, int], pairs: Path | None) -> list[tuple[str, Item]]:
    """Return (suite, picture) of everything that is scored, held in memory."""
    suites = [(name, centred(open_suite(name), *window)) for name in SUITES]
    found = [(name, item) for name, suite in suites for item in suite]
    if pairs is not None:
        found += [(f"real pairs, {item.group}", item) for item in open_pairs(pairs)]
    return found


def gains_db(student: nn.Module, multiple: int, items: Sequence[tuple[str, Item]]) -> list[float]:
    """Return the PSNR gain of every picture."""
    gains = []
    for _, item in items:
        after = psnr(restore_bytes(student, item.degraded, multiple), item.sharp)
        gains.append(min(after, CEILING_DB) - min(psnr(item.degraded, item.sharp), CEILING_DB))
    return gains


def train(
    recipe: Recipe,
    bank: CropBank,
    teacher: nn.Module | None,
    vgg: nn.Module | None,
    seeds: int,
    items: Sequence[tuple[str, Item]],
) -> np.ndarray:
    """Return gains (seeds, pictures) of students trained by ``recipe``."""
    rows = []
    for seed in range(seeds):
        with TemporaryDirectory() as folder:
            run = replace(recipe, seed=seed)
            student = fit(run, bank, [], Path(folder) / "run", teacher=teacher, vgg=vgg).student
        rows.append(gains_db(student, MODELS[recipe.student].multiple, items))
        print(recipe.losses, f"seed {seed}: {fmean(rows[-1]):+.3f} dB", flush=True)
    return np.array(rows)


def table(results: Sequence[Result], items: Sequence[tuple[str, Item]]) -> str:
    """Return gains and paired differences to the first result, per suite."""
    suites = list(dict.fromkeys(suite for suite, _ in items))
    columns = {"all": np.ones(len(items), bool)}
    columns |= {name: np.array([suite == name for suite, _ in items]) for name in suites}
    alone = results[0]
    head = ["pictures", "without, dB", "seeds differ by", *(r.name for r in results[1:])]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, chosen in columns.items():
        means = alone.gains[:, chosen].mean(1)
        cells = [name, f"{means.mean():+.3f}", f"{np.ptp(means):.3f}"]
        for result in results[1:]:
            difference = (result.gains - alone.gains)[:, chosen].mean(0)
            scenes = [item.scene for (_, item), taken in zip(items, chosen, strict=True) if taken]
            low, high = interval(difference, scenes)
            cells.append(f"{difference.mean():+.3f} ({low:+.3f} to {high:+.3f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, action="append", required=True)
    parser.add_argument("--assistant", type=Path, help="student.safetensors of a larger student")
    parser.add_argument("--student", default="nano")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--with", dest="terms", action="append", metavar="LOSS=WEIGHT,..", help="repeatable"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--vgg", type=Path, help="VGG16 weights; the fetched ones by default")
    parser.add_argument("--pairs", type=Path, help="real pairs to score as well")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    settings = dict(text.split("=", 1) for text in args.set)
    recipe = replace(override(RECIPES[args.student], settings), losses={"level": 1.0})
    bank = load_bank(args.bank)
    teacher = build_teacher("assistant", args.assistant) if args.assistant else None
    items = pictures((640, 480), args.pairs)
    results = [Result(ALONE, train(recipe, bank, None, None, args.seeds, items))]
    for text in args.terms or ["level=0.5,imitation=0.5"]:
        losses = {name: float(w) for name, w in (term.split("=") for term in text.split(","))}
        advisers = (
            teacher if any(LOSSES[name].teacher for name in losses) else None,
            load_vgg(args.vgg) if any(LOSSES[name].vgg for name in losses) else None,
        )
        gains = train(replace(recipe, losses=losses), bank, *advisers, args.seeds, items)
        results.append(Result(text.replace(",", ", "), gains))
    stages = ", ".join(f"{s.batch} crops of {s.crop} px" for s in recipe.stages)
    taught = f"{bank.taught_count} of them with the teacher's output"
    args.output.write_text(
        f"{args.student}, {recipe.steps} steps of {stages} out of {len(bank)}, "
        f"{'assistant ' + args.assistant.parent.name if args.assistant else taught}, "
        f"{args.seeds} seeds. PSNR gain over the degraded picture without the teacher, and what "
        "each mixture of losses adds to it, in dB with 95% intervals; middle 640 x 480 of the "
        f"held-out photographs, real pairs whole.\n\n{table(results, items)}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
