"""What a stretch of work took from the plug, where the processor counts it.

Linux shows the counters of RAPL (running average power limit; Intel, and AMD since Zen) under
``/sys/class/powercap``, in microjoules, for whole processors: whatever else runs is in them. Many
machines hide them from users, and virtual machines have none. Then there is no number, and
:func:`Meter.find` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "Meter"]

FOLDER = Path("/sys/class/powercap")


@dataclass(frozen=True)
class _Counter:
    file: Path
    wraps_at_uj: int


@dataclass(frozen=True)
class Meter:
    """The processors' counters.

    Attributes:
        counters: one per processor.
        note: what is counted, or why nothing is.
    """

    counters: Sequence[_Counter]
    note: str

    @classmethod
    def find(cls, folder: Path = FOLDER) -> Meter:
        """Return what can be read here."""
        # intel-rapl:0 is a processor (AMD's too); intel-rapl:0:0 a part of it.
        packages = sorted(p for p in folder.glob("intel-rapl:*") if p.name.count(":") == 1)
        if not packages:
            return cls((), "not readable: this system shows no RAPL counters")
        counters = []
        try:
            for package in packages:
                counter = package / "energy_uj"
                int(counter.read_text())
                wraps = int((package / "max_energy_range_uj").read_text())
                counters.append(_Counter(counter, wraps))
        except PermissionError:
            return cls((), f"not readable: only root may read {counter}")
        except (OSError, ValueError) as error:
            return cls((), f"not readable: {error}")
        names = ", ".join(package.name for package in packages)
        return cls(tuple(counters), f"RAPL, {names}: whole processors, other work included")

    def read_uj(self) -> tuple[int, ...]:
        """Return the counters' states; empty where there are none."""
        return tuple(int(counter.file.read_text()) for counter in self.counters)

    def spent_mj(self, before: Sequence[int], after: Sequence[int]) -> float | None:
        """Return millijoules between two states, each counter wrapped at most once."""
        if not self.counters:
            return None
        steps = zip(self.counters, before, after, strict=True)
        return sum((b - a) % (c.wraps_at_uj + 1) for c, a, b in steps) / 1000
