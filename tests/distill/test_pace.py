"""Which way of computing is taken, and what is said of its speed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from whet.distill.recipes import Stage
from whet.distill.training import pace
from whet.distill.training.pace import Pace, Speed, Tried, choose, matrix_peak_gflops, peak_share

CPU = torch.device("cpu")
LONG = 10**9


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.layers(x)
        return x + seen[:, :3]


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    times: dict[tuple[str, bool], float],
    *,
    precision: str = "auto",
    compiling: bool = True,
    native: bool = True,
    steps: int = LONG,
) -> Pace:
    def measured(_: nn.Module, __: object, name: str, *, compiled: bool) -> Tried:
        return Tried(name, compiled, times[name, compiled])

    monkeypatch.setattr(pace, "_tried", measured)
    monkeypatch.setattr(pace, "bfloat16_is_fast", lambda: native)
    return choose(Student(), (2, 16), CPU, precision, compiling=compiling, steps=steps)


FASTER = {("float32", False): 100.0, ("bf16", False): 60.0, ("bf16", True): 40.0}
SLOWER = {("float32", False): 100.0, ("bf16", False): 120.0, ("float32", True): 99.0}


def test_what_is_measured_faster_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = chosen(monkeypatch, FASTER)
    assert (taken.precision, taken.compiled) == ("bf16", True)
    assert [t.ms_per_step for t in taken.tried] == [100.0, 60.0, 40.0]
    taken = chosen(monkeypatch, SLOWER)
    assert (taken.precision, taken.compiled) == ("float32", False)
    assert len(taken.tried) == 3


def test_no_processor_without_bfloat16_is_asked_to_emulate_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = chosen(monkeypatch, SLOWER, native=False)
    assert [t.precision for t in taken.tried] == ["float32", "float32"]


def test_what_is_asked_for_is_not_measured_against_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = chosen(monkeypatch, {}, precision="bf16", compiling=False)
    assert taken == Pace("bf16", False, ())
    assert chosen(monkeypatch, {}, compiling=False, native=False) == Pace("float32", False, ())


def test_short_runs_do_not_wait_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = chosen(monkeypatch, FASTER, steps=100)
    assert (taken.precision, taken.compiled) == ("bf16", False)
    assert len(taken.tried) == 2


def test_without_a_compiler_the_run_goes_on_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_compiler(*_: object, **__: object) -> object:
        def run(_: Tensor) -> Tensor:
            raise RuntimeError("no C++ compiler found\nand a page of advice")

        return run

    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(pace, "WORTH_COMPILING_S", 0)
    taken = choose(Student(), (2, 16), CPU, "float32", compiling=True, steps=LONG)
    assert (taken.precision, taken.compiled) == ("float32", False)
    assert taken.tried[1].ms_per_step is None
    assert taken.tried[1].reason == "RuntimeError: no C++ compiler found"


def test_a_trial_leaves_the_student_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "bfloat16_is_fast", lambda: True)
    student = Student()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    state = torch.get_rng_state()
    taken = choose(student, (2, 16), CPU, "auto", compiling=False, steps=1)
    assert all((t.ms_per_step or 0) > 0 for t in taken.tried)
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_share_of_the_peak_counts_six_operations_per_multiplication() -> None:
    # 2 Mpx/s of a network of 3 kMAC/px: 2e6 * 3e3 * 6 operations, of 72 billion.
    assert peak_share(2.0, 3.0, 72.0) == pytest.approx(0.5)
    assert matrix_peak_gflops(CPU, "float32") > 0.1


def test_speed_counts_pixels_of_the_steps_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 12.0, 20.0, 21.0])
    speed = Speed(CPU, Pace(), 3.0)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert speed.lap() == {}
    for _ in range(2):
        with speed.timed(Stage(0.0, 1000, 8)):
            pass
    cores = speed._cores
    assert speed.lap()["mpx_per_s_core"] == pytest.approx(4.0 / cores)
    with speed.timed(Stage(0.0, 1000, 8)):
        pass
    assert speed.lap()["mpx_per_s_core"] == pytest.approx(8.0 / cores)
    assert speed.whole()["mpx_per_s_core"] == pytest.approx(4.8 / cores)
