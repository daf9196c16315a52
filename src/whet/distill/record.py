"""What a run leaves for the ledger: one JSON file, written when it starts and when it ends.

A run that dies without a word leaves "running" behind, which says enough. Folders are noted
by name alone: where they lay means nothing elsewhere.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from whet.distill.inputs import TrainingInputs
from whet.distill.recipes import Recipe
from whet.distill.training.loop import FitResult
from whet.errors import WhetError
from whet.files import replacing
from whet.version import __version__

__all__ = ["RECORD", "Record", "recorded"]

RECORD = "run.json"


class Record:
    """The file ``run.json`` of a run.

    Args:
        folder: of the run; made where it is missing.
        recipe, inputs: what is run on what.
        device: "cuda" or "cpu".
    """

    def __init__(self, folder: Path, recipe: Recipe, inputs: TrainingInputs, device: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / RECORD
        self.values: dict[str, Any] = {
            "whet_version": __version__,
            "recipe": asdict(recipe),
            "material": _named(inputs),
            "device": _device(device),
        }

    def write(self, status: str, **values: Any) -> None:
        """Write the file with this status: running, finished, stopped or failed.

        Raises:
            InputError: it cannot be written.
        """
        self.values |= {"status": status, **values}
        with replacing(self.path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")

    def finish(self, result: FitResult) -> None:
        """Write what came of the run."""
        self.write(
            "finished" if result.finished else "stopped",
            step=result.history[-1]["step"] if result.history else 0,
            hours=round(result.seconds / 3600, 3),
            images_per_s=round(result.images_per_s, 1),
            pace=asdict(result.pace),
            **result.speed,
            first=asdict(result.first) if result.first else None,
            best=asdict(result.best) if result.best else None,
        )


@contextmanager
def recorded(record: Record) -> Iterator[Record]:
    """Note that the run is running, and why it ended if it did not end well."""
    record.write("running")
    try:
        yield record
    except KeyboardInterrupt:
        record.write("stopped", reason="interrupted")
        raise
    except WhetError as error:
        record.write("failed", reason=str(error))
        raise


def _named(inputs: TrainingInputs) -> dict[str, Any]:
    return {
        "photos": inputs.photos.name if inputs.photos else None,
        "validation": inputs.validation.name if inputs.validation else None,
        "pairs": [[kind, folder.name] for kind, folder in inputs.pairs],
        "banks": [bank.name for bank in inputs.banks],
        "shares": {bank.name: share for bank, share in inputs.shares.items()},
    }


def _device(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
