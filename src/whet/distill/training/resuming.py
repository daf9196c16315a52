"""Whether a checkpoint belongs to a recipe."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, fields
from typing import Any

from whet.distill.recipes import Recipe

__all__ = ["differences", "fingerprint"]

INDIFFERENT = ("summary", "log_every", "validate_every", "checkpoint_every", "compile")
"""Settings that leave the outcome as it is."""


def fingerprint(recipe: Recipe) -> str:
    """Return the text of every setting that decides the outcome; how often to log does not."""
    settings = {k: v for k, v in asdict(recipe).items() if k not in INDIFFERENT}
    return json.dumps(settings, sort_keys=True)


def differences(recipe: Recipe, saved: str) -> list[str]:
    """Return the settings in which ``recipe`` differs from the fingerprint ``saved``.

    A setting that the fingerprint does not know is newer than it; the run was what the setting's
    default stands for.
    """
    ours, theirs = json.loads(fingerprint(recipe)), json.loads(saved)
    plain = _defaults()
    return [
        name
        for name, value in ours.items()
        if value != (theirs[name] if name in theirs else plain.get(name, MISSING))
    ]


def _defaults() -> dict[str, Any]:
    given = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
    plain: dict[str, Any] = json.loads(json.dumps(given))
    return plain
