"""Batches cut in a thread of their own."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from whet.data.batch import Batch
from whet.distill.training.ahead import DEPTH, BatchesAhead
from whet.errors import DataError


def batch_of(step: int) -> Batch:
    image = torch.full((1, 3, 2, 2), float(step))
    return Batch(image, image)


def test_batches_come_in_order_from_any_step_on() -> None:
    with BatchesAhead(batch_of, 5, 9) as batches:
        assert [float(batches.next().sharp[0, 0, 0, 0]) for _ in range(4)] == [5, 6, 7, 8]
        with pytest.raises(StopIteration):
            batches.next()


def test_they_are_cut_in_another_thread_and_no_further_ahead_than_said() -> None:
    cut: list[tuple[int, str]] = []

    def remember(step: int) -> Batch:
        cut.append((step, threading.current_thread().name))
        return batch_of(step)

    with BatchesAhead(remember, 0, 100) as batches:
        batches.next()
        deadline = time.monotonic() + 5
        while len(cut) < DEPTH + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(cut) == DEPTH + 2
    assert {name for _, name in cut} == {"batches"}
    assert threading.active_count() == 1 or "batches" not in [t.name for t in threading.enumerate()]


def test_what_goes_wrong_is_raised_where_the_batch_is_wanted() -> None:
    def fails(step: int) -> Batch:
        if step == 2:
            raise DataError("a shard is damaged")
        return batch_of(step)

    with BatchesAhead(fails, 0, 9) as batches:
        batches.next()
        batches.next()
        with pytest.raises(DataError, match="damaged"):
            batches.next()


def test_leaving_in_the_middle_ends_the_thread() -> None:
    def interrupted() -> None:
        with BatchesAhead(batch_of, 0, 10**9) as batches:
            batches.next()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "batches" not in [t.name for t in threading.enumerate()]
