"""Encoders at ordinary priority.

SVT-AV1 gives its threads, and the one that opens it, the highest real-time priority where it may,
which as root is everywhere; on a machine with few cores nothing else would run any more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["ordinary_priority", "policies"]

_opening = threading.Lock()


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Give every thread the scheduling policy back that it had before, and new ones the usual.

    To be put around whatever may open SVT-AV1, which is also kept from printing its settings. One
    at a time, so that the threads which change are the library's own.
    """
    # Read when the library is first used; 1 leaves errors.
    os.environ.setdefault("SVT_LOG", "1")
    with _opening:
        before = policies()
        try:
            yield
        finally:
            for thread, policy in policies().items():
                usual = before.get(thread, os.SCHED_OTHER)
                if policy != usual:
                    with suppress(OSError):  # it has ended meanwhile
                        os.sched_setscheduler(thread, usual, os.sched_param(0))


def policies() -> dict[int, int]:
    """Return the scheduling policy of every thread of this process, where Linux tells."""
    found: dict[int, int] = {}
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        with suppress(OSError):
            found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found
