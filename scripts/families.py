"""Pools the suites of an evaluation by kind: softness, calls, motion.

    python scripts/families.py docs/evaluation/report.json

Gains over the degraded picture, and over the unsharp mask picture by picture, with 95% intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whet.evaluate.baselines import BASELINES
from whet.evaluate.results import IDENTITY, Evaluation
from whet.intervals import interval

FAMILIES = {
    "softness": ("bicubic-x2", "bicubic-x3", "defocus"),
    "calls": ("call-150k", "call-400k", "call-1000k"),
    "motion": ("shake-srgb", "shake-linear", "object"),
}
RIVAL = "unsharp"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    evaluation = Evaluation.from_json(json.loads(parser.parse_args().report.read_text()))
    print("| kind | pictures | model | gain dB | over the unsharp mask dB |\n|---|---|---|---|---|")
    for kind, names in FAMILIES.items():
        # A window is part of a suite's name: "object, middle 384 x 288".
        pooled = Evaluation(
            [s for s in evaluation.suites if s.name.partition(",")[0] in names]
        ).together()
        if pooled is None:
            continue
        psnr_db = {row.restorer: row.values["psnr"] for row in pooled.rows}
        for model in [name for name in psnr_db if name not in BASELINES]:
            scenes = [picture.scene for picture in pooled.pictures]
            cells = [
                difference(psnr_db[model], psnr_db[rival], scenes) for rival in (IDENTITY, RIVAL)
            ]
            print(f"| {kind} | {len(pooled.pictures)} | {model} | {' | '.join(cells)} |")


def difference(mine: Sequence[float], others: Sequence[float], scenes: Sequence[str]) -> str:
    """Return the mean paired difference with its interval over scenes."""
    paired = np.array(mine) - np.array(others)
    low, high = interval(paired, scenes)
    return f"{paired.mean():+.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
