"""First picture and peak memory of one contestant, in a process of its own.

Run as ``python -m whet.bench.first_picture CONTESTANT WIDTH HEIGHT`` with the
contestant as JSON; prints one JSON object. Both numbers need a fresh process:
memory that another contestant took never leaves the peak.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from whet.bench.contestants import Contestant, open_contestant
from whet.errors import InputError

__all__ = ["peak_rss_mb", "probe"]

_FRAMES = 3
_SLOW_MS = 5000  # whoever takes longer shows its memory in one frame


def probe(contestant: Contestant, width: int, height: int) -> dict[str, float | None]:
    """Return ``first_frame_ms``, ``peak_rss_mb`` and ``idle_rss_mb`` of a contestant.

    The first frame counts from the request to open to the first picture restored,
    the import of the runtime included. Memory is resident set size; idle is what
    the process held before it opened anything. None where the system does not tell.

    Raises:
        InputError: the process failed; the message holds its last line.
    """
    words = [json.dumps(asdict(contestant)), str(width), str(height)]
    done = subprocess.run(
        [sys.executable, "-m", "whet.bench.first_picture", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{contestant.label} cannot run at {width}x{height}: {last}")
    measured: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return measured


def peak_rss_mb() -> float | None:
    """Return the largest resident set of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: its peak is inherited from the process that started this one.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        return int(found[1]) / 2**10 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _measure(contestant: Contestant, width: int, height: int) -> dict[str, float | None]:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    idle_rss_mb = peak_rss_mb()
    began_s = time.perf_counter()
    opened = open_contestant(contestant)
    prepared = opened.prepare(frame)
    opened.restore(prepared)
    first_frame_ms = 1000 * (time.perf_counter() - began_s)
    for _ in range(_FRAMES - 1 if first_frame_ms < _SLOW_MS else 0):
        opened.restore(prepared)
    return {
        "first_frame_ms": first_frame_ms,
        "peak_rss_mb": peak_rss_mb(),
        "idle_rss_mb": idle_rss_mb,
    }


if __name__ == "__main__":
    given, side, other = sys.argv[1:]
    print(json.dumps(_measure(Contestant(**json.loads(given)), int(side), int(other))))
