"""Saves and restores the state of a run so that stopping it changes nothing.

A checkpoint is written under a temporary name, flushed to the disk and moved
into place; ``latest.json`` then names it with its sha256. Whatever moment a
process dies at, the folder holds one whole checkpoint, and only tensors and
plain values are ever unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from whet.errors import ModelError
from whet.files import file_sha256, replacing

__all__ = ["latest", "load", "save"]

_POINTER = "latest.json"


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` as the checkpoint of ``step`` and forget the one before.

    Raises:
        ModelError: the folder cannot be written; the previous checkpoint stays valid.
    """
    path = folder / f"checkpoint-{step:08d}.pt"
    with replacing(path, overwrite=True, durable=True, error=ModelError) as temporary:
        torch.save(state, temporary)
        digest = file_sha256(temporary)
    said = {"file": path.name, "sha256": digest, "step": step}
    with replacing(folder / _POINTER, overwrite=True, error=ModelError) as temporary:
        temporary.write_text(json.dumps(said))
    for old in folder.glob("checkpoint-*.pt"):
        if old != path:
            old.unlink()
    return path


def latest(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, or None before the first."""
    pointer = folder / _POINTER
    if not pointer.is_file():
        return None
    return folder / str(json.loads(pointer.read_text())["file"])


def load(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return the newest state, or None before the first checkpoint.

    Raises:
        ModelError: the file is missing, damaged or not what was written.
    """
    path = latest(folder)
    if path is None:
        return None
    recorded = json.loads((folder / _POINTER).read_text())["sha256"]
    if not path.is_file() or file_sha256(path) != recorded:
        raise ModelError(
            f"{path} is not the file that was written; start again without --resume, "
            "or name another folder"
        )
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
