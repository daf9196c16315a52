"""Batches cut in a thread of their own, while the step before is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from types import TracebackType

from whet.data.batch import Batch

__all__ = ["BatchesAhead"]

DEPTH = 3
"""Batches that lie ready: enough to bridge a clip that takes long to code."""

_PATIENCE_S = 0.1


class BatchesAhead:
    """Batches by their step, in order. A context manager: leaving it ends the thread.

    A batch depends on its step alone, so that a resumed run gets the very batches that one without
    a stop would have got.

    Args:
        cut: step -> its batch; called in the thread.
        first, last: the steps wanted are ``first`` to ``last - 1``.
    """

    def __init__(self, cut: Callable[[int], Batch], first: int, last: int) -> None:
        self._ready: Queue[Batch | BaseException] = Queue(DEPTH)
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(cut, first, last), name="batches", daemon=True
        )

    def __enter__(self) -> BatchesAhead:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def next(self) -> Batch:
        """Return the next batch, or raise what went wrong while it was cut."""
        while True:
            try:
                item = self._ready.get(timeout=_PATIENCE_S)
            except Empty:
                if not self._thread.is_alive() and self._ready.empty():
                    raise StopIteration("there are no more batches") from None
                continue
            if isinstance(item, BaseException):
                raise item
            return item

    def _work(self, cut: Callable[[int], Batch], first: int, last: int) -> None:
        for step in range(first, last):
            if self._over.is_set():
                return
            try:
                item: Batch | BaseException = cut(step)
            except BaseException as error:  # it belongs to whoever waits for the batch
                item = error
            while not self._over.is_set():
                try:
                    self._ready.put(item, timeout=_PATIENCE_S)
                    break
                except Full:
                    continue
            if isinstance(item, BaseException):
                return
