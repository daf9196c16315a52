"""Write the ledger of training runs: every run's recipe, data, time, course and scores.

    python scripts/ledger.py RUN.. -o docs/runs.md [--scores NAME=evaluation.json]

A run is a folder that ``whet distill`` wrote. Runs that stopped or failed stand in the ledger
like the others. Runs older than the file ``run.json`` are read from their checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from whet.distill.recipes import RECIPES
from whet.distill.record import RECORD
from whet.distill.training import checkpoint

HIDDEN = {"name", "summary", "student", "seed", "log_every", "validate_every", "checkpoint_every"}
"""Settings that the table shows in columns of their own, or that decide nothing."""


def record(folder: Path) -> dict[str, Any]:
    """Return what ``run.json`` holds, or as much of it as the checkpoint knows."""
    path = folder / RECORD
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if known.get("status", "running") != "running":
        return dict(known)
    # Written before there was a run.json, or killed before it could say how it ended.
    saved = checkpoint.load(folder)
    if saved is None:
        return {"recipe": None, **known, "status": "left no checkpoint"}
    recipe, state = json.loads(saved["recipe"]), saved["state"]
    done = state["step"] >= recipe["steps"]
    return {
        **known,
        "recipe": recipe,
        "status": "finished" if done else "stopped",
        "step": state["step"],
        "hours": state["seconds"] / 3600,
        "best": state["best_scores"],
    }


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the logged steps, oldest first."""
    path = folder / "history.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [entry for entry in map(json.loads, lines) if "total" in entry]


def course(entries: list[dict[str, Any]], parts: int = 5) -> str:
    """Return the mean total loss of each fifth of the log: what its curve looks like."""
    if len(entries) < parts:
        return ""
    size = len(entries) / parts
    cuts = [entries[round(i * size) : round((i + 1) * size)] for i in range(parts)]
    return " > ".join(f"{sum(e['total'] for e in cut) / len(cut):.4f}" for cut in cuts)


def differences(recipe: dict[str, Any]) -> str:
    """Return the settings in which a run differs from the recipe that now has its name."""
    plain = json.loads(json.dumps(RECIPES[recipe["name"]], default=vars))
    recipe = {"optimizer": "adam", **recipe}  # what runs had before they could choose
    recipe["losses"] = {name: weight for name, weight in recipe["losses"].items() if weight}
    changed = [
        f"{key}={json.dumps(value)}"
        for key, value in recipe.items()
        if key not in HIDDEN and value != plain.get(key)
    ]
    return "; ".join(changed) or "as it is"


def entry(folder: Path, scores: str) -> list[str]:
    """Return the paragraph of one run."""
    known, log = record(folder), history(folder)
    recipe = known["recipe"]
    if recipe is None:
        return [f"## {folder.name}", "", f"{known['status']}.", ""]
    lines = [
        f"## {folder.name}",
        "",
        f"- {recipe['student']}, recipe `{recipe['name']}`, seed {recipe['seed']}",
        f"- {known['status']}{': ' + known['reason'] if 'reason' in known else ''}, "
        f"step {known.get('step', 0)} of {recipe['steps']}, {known.get('hours', 0):.2f} h"
        + (f", {known['images_per_s']} images/s" if "images_per_s" in known else "")
        + (f" on {known['device']}" if "device" in known else ""),
        f"- differs from today's recipe: {differences(recipe)}",
    ]
    if material := known.get("material"):
        lines.append(f"- data: {json.dumps({k: v for k, v in material.items() if v})}")
    if log:
        lines.append(f"- mean loss by fifths of the run: {course(log)}")
    if best := known.get("best"):
        gains = ", ".join(f"{k} {v:+.2f}" for k, v in best["gain_db"].items())
        lines.append(f"- validation gain dB of the kept weights: {gains}")
    if scores:
        lines.append(f"- held-out gain dB: {scores}")
    return [*lines, ""]


def held_out(path: Path, model: str) -> str:
    """Return the mean gains of ``model`` in the JSON of an evaluation."""
    suites = json.loads(path.read_text(encoding="utf-8"))["suites"]
    gains = [
        f"{suite['name']} {row['gains']['psnr']['mean']:+.2f}"
        for suite in suites
        for row in suite["rows"]
        if row["restorer"] == model and row["gains"]
    ]
    return ", ".join(gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--scores", action="append", default=[], metavar="RUN=FILE.json:MODEL", help="repeatable"
    )
    arguments = parser.parse_args()
    scores = {}
    for text in arguments.scores:
        run, _, source = text.partition("=")
        file, _, model = source.rpartition(":")
        scores[run] = held_out(Path(file), model)
    lines = [
        "# Every training run",
        "",
        "Written by `python scripts/ledger.py RUN.. -o docs/runs.md`; failed runs too.",
        "",
    ]
    for folder in arguments.runs:
        lines += entry(folder, scores.get(folder.name, ""))
    arguments.output.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
