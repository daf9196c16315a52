"""How long a tile takes here: as measured, remembered from earlier runs, or reckoned."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from whet.errors import InputError
from whet.files import cache_dir, replacing

__all__ = ["Pace"]

_NEWEST_SHARE = 0.3
_SHARE_OF_PEAK = {"f32": 0.65, "bf16": 1.15}
"""Of what a plain float32 matrix product reaches on the same cores, by precision: measured for
MAXIM in OpenVINO on one core, 34 and 59 G multiply-adds a second where numpy reached 52."""
_SIDE = 768


class Pace:
    """Seconds per tile of one network in one runtime.

    Args:
        key: what they depend on.
        precision: what it computes in, ``f32`` or ``bf16``.

    Attributes:
        measured: running mean over tiles computed in this process; None before the first.
    """

    def __init__(self, key: str, precision: str) -> None:
        self._key = f"{key} {precision} {os.cpu_count()}"
        self._share_of_peak = _SHARE_OF_PEAK[precision]
        self.measured: float | None = None

    def took(self, seconds: float, *, anew: bool = False) -> None:
        """Count a tile; ``anew`` forgets those before, as the machine may be busier now."""
        if self.measured is None or anew:
            self.measured = seconds
        self.measured += _NEWEST_SHARE * (seconds - self.measured)
        _remember(self._key, self.measured)

    def seconds(self, multiply_adds: float) -> float:
        """Return seconds per tile as well as they are known.

        Args:
            multiply_adds: of a tile, for a machine on which none was ever computed.
        """
        if self.measured is not None:
            return self.measured
        remembered = _remembered().get(self._key)
        if isinstance(remembered, int | float) and 0 < remembered < 1e6:
            return float(remembered)
        return multiply_adds / (_peak_multiply_adds() * self._share_of_peak)


def _file() -> Path:
    return cache_dir() / "pace.json"


def _remembered() -> dict[str, object]:
    try:
        known = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(key: str, seconds: float) -> None:
    """Write it down, if the cache can be written: it only helps to estimate."""
    text = json.dumps({**_remembered(), key: round(seconds, 4)})
    with suppress(OSError, InputError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with replacing(_file(), overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


@cache
def _peak_multiply_adds() -> float:
    """Multiply-adds a second of a float32 matrix product on all cores: the best of three."""
    a = np.ones((_SIDE, _SIDE), np.float32)
    best = np.inf
    for _ in range(4):  # the first one wakes the threads
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return float(_SIDE**3 / best)
