"""Benchmarks: turns, percentiles and ratios as they should be added up. Never how fast it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commandline import whet
from whet.artifact import shipped
from whet.bench import contestants
from whet.bench import run as benchmark
from whet.bench.contestants import (
    FOUNDING,
    RIVALS,
    Contestant,
    Opened,
    models_of,
    open_contestant,
    rivals_here,
)
from whet.bench.energy import Meter
from whet.bench.first_picture import probe
from whet.bench.matmul_peak import Gemm, gemms_here, open_gemm, peaks
from whet.bench.report import markdown
from whet.bench.run import BenchOptions, Report, Row, Timing, ratios, sides_of, take_turns
from whet.bench.video_files import file_to_file
from whet.errors import InputError


class Machine:
    """A clock, and runs that move it."""

    def __init__(self) -> None:
        self.wall_s, self.cpu_s = 10.0, 5.0
        self.calls: list[str] = []

    def run(self, name: str, wall_s: float, cpu_s: float = 0.0) -> Callable[[], None]:
        def work() -> None:
            self.calls.append(name)
            self.wall_s += wall_s
            self.cpu_s += cpu_s

        return work

    def turns(
        self, runs: dict[str, Callable[[], None]], rounds: int, seconds: float = 1e9
    ) -> dict[str, Timing]:
        return take_turns(runs, rounds, seconds, wall=lambda: self.wall_s, cpu=lambda: self.cpu_s)


# Turns


def test_contestants_alternate_after_one_untimed_turn_each() -> None:
    machine = Machine()
    timings = machine.turns({"a": machine.run("a", 1), "b": machine.run("b", 2)}, 3)
    assert machine.calls == ["a", "b"] + ["a", "b"] * 3
    assert timings["a"].wall_ms == pytest.approx((1000, 1000, 1000))
    assert timings["b"].wall_ms == pytest.approx((2000, 2000, 2000))


def test_a_slow_contestant_sits_out_but_never_before_three_turns() -> None:
    machine = Machine()
    runs = {"slow": machine.run("slow", 9), "fast": machine.run("fast", 1)}
    timings = machine.turns(runs, 30, seconds=10)
    assert len(timings["slow"].wall_ms) == 3
    assert len(timings["fast"].wall_ms) == 10


def test_processor_time_is_counted_apart() -> None:
    machine = Machine()
    (timing,) = machine.turns({"a": machine.run("a", 1, 0.25)}, 4).values()
    assert timing.cpu_ms == pytest.approx((250,) * 4)


def test_summary_holds_percentiles_and_the_rate_at_the_median() -> None:
    wall_ms = tuple(float(n) for n in range(1, 102))  # 1 ... 101
    summary = Timing(wall_ms, (3.0, 1.0, 2.0)).summary()
    assert summary == {
        "turns": 101,
        "latency_p50_ms": 51.0,
        "latency_p95_ms": 96.0,
        "fps": pytest.approx(1000 / 51),
        "cpu_p50_ms": 2.0,
    }


# Rows and ratios


def row(name: str, runtime: str, p50_ms: float, **other: Any) -> dict[str, Any]:
    return {
        "name": name,
        "precision": "float32",
        "runtime": runtime,
        "threads": None,
        "width": 640,
        "height": 360,
        "latency_p50_ms": p50_ms,
        "latency_p95_ms": 2 * p50_ms,
        "fps": 1000 / p50_ms,
        "cpu_p50_ms": 3 * p50_ms,
        **other,
    }


def test_ratios_are_to_the_founding_student_of_the_same_run() -> None:
    nano, founding_ort, founding_ov, founding_int8 = ratios(
        [
            row("nano", "openvino", 5),
            row(FOUNDING, "onnxruntime", 1000, cpu_p50_ms=1500.0),
            row(FOUNDING, "openvino", 800),
            row(FOUNDING, "openvino", 200, precision="int8"),
        ]
    )
    assert nano["times_founding"] == 200
    assert nano["times_founding_same_runtime"] == 160
    assert nano["times_founding_cpu"] == 100
    assert founding_ort["times_founding"] == 1
    assert founding_ov["times_founding_same_runtime"] == 1
    assert nano["times_founding_int8"] == 40
    assert founding_int8["times_founding"] == 5
    assert founding_ort["times_founding_int8"] is None, "its runtime has no int8 here"


@pytest.mark.parametrize("other", [{"width": 1280}, {"threads": 1}, {"name": "dncnn"}])
def test_ratios_never_cross_sizes_or_threads(other: dict[str, Any]) -> None:
    founding = {**row(FOUNDING, "onnxruntime", 1000), **other}
    nano, _ = ratios([row("nano", "onnxruntime", 5), founding])
    assert nano["times_founding"] is None
    assert nano["times_founding_same_runtime"] is None


def test_operations_follow_from_the_cost_per_pixel() -> None:
    contestant = Contestant("m", "model", "openvino", "int8", 1, "m.onnx", kmac_per_px=2.0)
    made = Row(contestant, (1000, 500), Timing((10.0,) * 3, (1.0,) * 3), {"file_fps": 7.0})
    numbers = made.to_json()
    # 2,000 MAC/px * 500,000 px = 1 GMAC = 2 G operations in 10 ms.
    assert numbers["gops"] == pytest.approx(200)
    assert numbers["file_fps"] == 7.0
    assert "file" not in numbers
    filter_row = Row(Contestant("f", "f", "ffmpeg", "uint8"), (10, 10), Timing((1.0,), (1.0,)), {})
    assert filter_row.to_json()["gops"] is None


@pytest.mark.parametrize(
    ("size", "sides"), [("720p", (1280, 720)), ("4k", (3840, 2160)), ("96x64", (96, 64))]
)
def test_sizes_have_names_or_sides(size: str, sides: tuple[int, int]) -> None:
    assert sides_of(size) == sides


@pytest.mark.parametrize("size", ["", "720", "x", "0x5", "5x0", "-1x5", "axb"])
def test_other_words_are_no_sizes(size: str) -> None:
    with pytest.raises(InputError, match="choose from 360p, 720p"):
        sides_of(size)


def report(rows: list[dict[str, Any]]) -> Report:
    machine = {
        "processor": "Test", "processors": 2, "system": "Linux", "whet": "0", "python": "3",
        "versions": {"numpy": "2"}, "load_before": 0.1, "load_after": 0.2,
    }  # fmt: skip
    return Report(machine, {}, ratios(rows), {"640x360": {"veryfast": 99.5}})


def test_tables_stand_apart_by_size_and_threads_and_put_the_fastest_first() -> None:
    text = markdown(
        report(
            [
                row("slow", "openvino", 50),
                row("quick", "openvino", 5),
                row("quick", "openvino", 9, threads=1),
                row("quick", "openvino", 20, width=1280, height=720),
            ]
        )
    )
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## 640 x 360, threads as the runtime likes",
        "## 640 x 360, 1 threads",
        "## 1280 x 720, threads as the runtime likes",
    ]
    assert text.index("| quick float32 | openvino | 5.0 |") < text.index("| slow float32")
    assert "Decoding and encoding alone: 99.5 fps with veryfast." in text
    assert "x founding |" not in text.split("## ", 1)[1]  # nothing to compare with: no column


# Peaks


@pytest.mark.parametrize("gemm", gemms_here((1,), side=64) + gemms_here((None,), side=64)[:1])
def test_matrix_products_are_what_they_say(gemm: Gemm) -> None:
    rng = np.random.default_rng(0)  # as the measurement draws them
    product = open_gemm(gemm)()
    assert product.shape == (64, 64)
    assert gemm.operations == 2 * 64 * 64 * 64
    if gemm.precision == "float32":
        left, right = (rng.random((64, 64), np.float32) for _ in range(2))
        np.testing.assert_allclose(product, left.astype(float) @ right, rtol=1e-4)
    else:
        left = rng.integers(0, 256, (64, 64), np.uint8).astype(float)
        right = rng.integers(-63, 64, (64, 64), np.int8).astype(float)
        expected = (left @ right / 128**2 + 128).clip(0, 255)
        np.testing.assert_allclose(product, expected, atol=1.01)


def test_the_best_product_of_a_precision_and_threads_is_the_peak() -> None:
    gemms = [Gemm("numpy", "float32", None, 100), Gemm("openvino", "float32", None, 100),
             Gemm("openvino", "int8", None, 100), Gemm("openvino", "int8", 1, 100)]  # fmt: skip
    timed = [Timing((ms, 9.0), (2 * ms,) * 3) for ms in (4.0, 2.0, 1.0, 8.0)]
    found = peaks(gemms, dict(zip([g.label for g in gemms], timed, strict=True)))
    assert [row["gops"] for row in found.rows] == pytest.approx([0.5, 1.0, 2.0, 0.25])
    assert found.gops == pytest.approx(
        {("float32", None): 1.0, ("int8", None): 2.0, ("int8", 1): 0.25}
    )
    network = {"precision": "int8", "threads": 1, "gops": 0.1, "latency_p50_ms": 3.0}
    shares = found.shares({**network, "cpu_p50_ms": 1.5})
    assert shares == pytest.approx({"of_peak": 0.1 / 0.25, "of_peak_cpu": 0.2 / 0.125})
    nothing = {"of_peak": None, "of_peak_cpu": None}
    assert found.shares({**network, "gops": None, "cpu_p50_ms": 1.5}) == nothing
    assert found.shares({**network, "precision": "float", "cpu_p50_ms": 1.5}) == nothing


# Energy


def counters(folder: Path, *states_uj: int) -> Path:
    for index, state in enumerate(states_uj):
        package = folder / f"intel-rapl:{index}"
        package.mkdir(exist_ok=True)
        (package / "energy_uj").write_text(f"{state}\n")
        (package / "max_energy_range_uj").write_text("999999\n")
        (folder / f"intel-rapl:{index}:0").mkdir(exist_ok=True)  # a part, counted already
    return folder


def test_energy_is_summed_over_processors_and_survives_a_wrap(tmp_path: Path) -> None:
    meter = Meter.find(counters(tmp_path, 5_000, 990_000))
    before = meter.read_uj()
    counters(tmp_path, 7_500, 10_000)
    assert before == (5_000, 990_000)
    assert meter.spent_mj(before, meter.read_uj()) == pytest.approx(2.5 + 20.0)
    assert "other work included" in meter.note


def test_energy_that_cannot_be_read_is_said_and_left_out(tmp_path: Path) -> None:
    meter = Meter.find(tmp_path)
    assert meter.note == "not readable: this system shows no RAPL counters"
    assert meter.spent_mj(meter.read_uj(), meter.read_uj()) is None
    assert "energy_p50_mj" not in Timing((1.0,), (1.0,)).summary()
    (tmp_path / "intel-rapl:0").mkdir()
    assert Meter.find(tmp_path).note.startswith("not readable")


def test_turns_are_charged_with_the_energy_they_took(tmp_path: Path) -> None:
    meter = Meter.find(counters(tmp_path, 0))
    state = [0]

    def work() -> None:
        state[0] += 3_000
        counters(tmp_path, state[0])

    timing = take_turns({"a": work, "b": lambda: None}, 4, 1e9, meter=meter)
    assert timing["a"].energy_mj == (3.0,) * 4
    assert timing["b"].energy_mj == (0.0,) * 4
    assert timing["a"].summary()["energy_p50_mj"] == 3.0


# Contestants


def rival(name: str) -> Opened:
    if name not in {contestant.name for contestant in rivals_here()}:
        pytest.skip(f"{RIVALS[name].packages} are not all installed")
    return RIVALS[name].open(1)


def test_the_net_that_doubles_gives_back_the_whole_picture(picture: Any) -> None:
    opened = rival("realesr-compact-x2")
    whole = picture(64, 96)
    half = opened.prepare(whole)
    assert half.shape == (32, 48, 3)
    restored = opened.restore(half)
    assert (restored.shape, restored.dtype) == (whole.shape, np.uint8)
    doubled = np.kron(half, np.ones((2, 2, 1)))
    assert np.abs(restored - doubled).mean() < 0.5 * np.abs(doubled - doubled.mean()).mean()
    assert not np.array_equal(restored, doubled)


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "realesr-compact-x2"])
def test_filters_sharpen_a_soft_edge(name: str) -> None:
    opened = rival(name)
    soft = np.repeat(np.linspace(60, 190, 32), 2).astype(np.uint8)
    soft[:24], soft[40:] = 60, 190
    picture = np.broadcast_to(soft[None, :, None], (48, 64, 3)).copy()
    restored = opened.restore(opened.prepare(picture))
    if not isinstance(restored, np.ndarray):
        plane = restored.planes[0]
        restored = np.frombuffer(plane, np.uint8).reshape(48, plane.line_size)[:, :64, None]
    middle = restored[24, :, 0].astype(int)
    assert np.diff(middle).max() > np.diff(soft.astype(int) * 219 // 255).max()


def test_rivals_are_only_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "find_spec", lambda name: name if name == "av" else None)
    assert [c.name for c in rivals_here((1, 2))] == ["ffmpeg-unsharp"] * 2 + ["ffmpeg-cas"] * 2


def test_a_file_runs_in_every_runtime_that_takes_it(tiny_artifact: Path) -> None:
    found = models_of([str(tiny_artifact)], ["onnxruntime", "torch"], (1, 2))
    assert [(c.precision, c.runtime, c.threads) for c in found] == [
        ("float32", "onnxruntime", 1),
        ("float32", "onnxruntime", 2),
        ("float32", "torch", 1),
        ("float32", "torch", 2),
    ]
    assert len({c.label for c in found}) == 4
    with pytest.raises(InputError, match="choose from: openvino"):
        models_of([str(tiny_artifact)], ["abacus"])


@pytest.mark.skipif(not {"nano", "nano-int8"} <= set(shipped()), reason="no nano in this copy")
def test_a_shipped_name_brings_both_precisions() -> None:
    found = models_of(["nano"], ["onnxruntime", "torch"])
    expected = [("float32", "onnxruntime"), ("float32", "torch"), ("int8", "onnxruntime")]
    assert [(c.precision, c.runtime) for c in found] == expected  # PyTorch takes no int8


def test_the_founding_student_is_left_out_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contestants, "find_spec", lambda name: None)
    assert contestants.founding_files(tmp_path) == []


def test_the_founding_student_runs_in_float_and_int8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whet.models
    from whet.models.students.dncnn import DnCNN

    smaller = DnCNN(width=4, blocks=1)
    monkeypatch.setattr(whet.models, "build", lambda name: smaller)
    found = models_of([str(path) for path in contestants.founding_files(tmp_path)], ["openvino"])
    assert [(c.name, c.precision) for c in found] == [(FOUNDING, "float32"), (FOUNDING, "int8")]
    assert {c.kmac_per_px for c in found} == {whet.models.MODELS["dncnn"].kmac_per_px}
    for contestant in found:
        assert open_contestant(contestant).restore(benchmark.picture(40, 24)).shape == (24, 40, 3)


def test_memory_and_first_picture_come_from_another_process(tiny_artifact: Path) -> None:
    (contestant,) = models_of([str(tiny_artifact)], ["onnxruntime"], (1,))
    measured = probe(contestant, 64, 48)
    assert measured.keys() == {"first_frame_ms", "peak_rss_mb", "idle_rss_mb"}
    assert measured["first_frame_ms"] > 0  # type: ignore[operator]
    assert measured["peak_rss_mb"] > measured["idle_rss_mb"] > 1  # type: ignore[operator]
    gone = Contestant("gone", "model", "onnxruntime", "float32", 1, "gone.onnx")
    with pytest.raises(InputError, match="gone float32 in onnxruntime, 1 threads cannot run"):
        probe(gone, 64, 48)


def test_file_to_file_restores_the_whole_clip(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    from whet.bench import video_files as module

    restore = module.restore_video

    def counted(*args: Any, **options: Any) -> Any:
        done = restore(*args, **options)
        seen.append(done.frames)
        return done

    monkeypatch.setattr(module, "restore_video", counted)
    (contestant,) = models_of([str(tiny_artifact)], ["onnxruntime"], (1,))
    frames = [benchmark.picture(64, 48, index) for index in range(5)]
    assert not np.array_equal(frames[0], frames[1])
    fps, limits = file_to_file([contestant], frames)
    assert seen == [5] * 4  # decoding and encoding alone, and the model, with two presets
    assert fps.keys() == {contestant.label}
    measures = {"planes_fps", "planes_cpu_ms", "file_fps", "fast_file_fps"}
    assert fps[contestant.label].keys() == measures
    assert limits.keys() == {"veryfast", "ultrafast"}
    assert min(*limits.values(), *fps[contestant.label].values()) > 0


def test_opened_models_restore(tiny_artifact: Path) -> None:
    (contestant,) = models_of([str(tiny_artifact)], ["onnxruntime"], (1,))
    opened = open_contestant(contestant)
    picture = benchmark.picture(40, 24)
    restored = opened.restore(opened.prepare(picture))
    assert restored.shape == (24, 40, 3)
    assert not np.array_equal(restored, picture)


# The command


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.bench.matmul_peak.SIDE", 64)


@pytest.fixture
def founding(monkeypatch: pytest.MonkeyPatch, tiny_artifact: Path) -> None:
    """A founding student of 10,000 weights: the real one takes seconds."""

    def small(folder: Path) -> list[Path]:
        from dataclasses import replace

        from whet.artifact import read_model, write_model

        model, card = read_model(tiny_artifact)
        write_model(folder / "founding.onnx", model, replace(card, name=FOUNDING))
        return [folder / "founding.onnx"]

    monkeypatch.setattr(benchmark, "founding_files", small)


def test_bench_writes_json_and_markdown_with_every_contestant(
    tmp_path: Path, tiny_artifact: Path, founding: None
) -> None:
    words = ["bench", "-m", tiny_artifact, "--runtime", "onnxruntime", "--threads", 1]
    words += ["--sizes", "64x48", "--rounds", 3, "--frames", 3, "--no-memory", "-o", tmp_path / "b"]
    outcome = whet(*words)
    assert outcome.code == 0, outcome.err
    made = json.loads((tmp_path / "b" / "bench.json").read_text())
    by_name = {row["name"]: row for row in made["rows"]}
    expected = {"tiny", FOUNDING, "ffmpeg-unsharp", "ffmpeg-cas"}
    assert expected <= by_name.keys() <= expected | {"opencv-unsharp", "realesr-compact-x2"}
    assert by_name[FOUNDING]["times_founding"] == 1
    tiny = by_name["tiny"]
    assert tiny["times_founding"] == pytest.approx(
        by_name[FOUNDING]["latency_p50_ms"] / tiny["latency_p50_ms"]
    )
    assert tiny["turns"] == 3
    assert tiny["file_fps"] > 0
    assert tiny["fast_file_fps"] > 0
    assert tiny["planes_fps"] > 0
    assert "file_fps" not in by_name[FOUNDING]
    assert made["limits"].keys() == {"64x48"}
    fastest = max(p["gops"] for p in made["peaks"]["64x48"] if p["precision"] == "float32")
    assert tiny["of_peak"] == pytest.approx(tiny["gops"] / fastest)
    assert by_name["ffmpeg-cas"]["of_peak"] is None
    assert made["machine"]["energy"]
    text = (tmp_path / "b" / "bench.md").read_text()
    assert outcome.out == text + "\n"
    assert all(f"| {name} " in text for name in expected)
    again = whet(*words)
    assert again.code == 2
    assert "--overwrite replaces it" in again.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--sizes", "huge"), "choose from 360p"),
        (("--runtime", "abacus"), "choose from: openvino"),
        (("-m", "nope"), "no model 'nope'"),
        (("-o", "taken"), "cannot be a folder"),
    ],
)
def test_errors_name_the_remedy(
    words: tuple[str, ...],
    remedy: str,
    tmp_path: Path,
    tiny_artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    model = () if "-m" in words else ("-m", tiny_artifact)
    outcome = whet("bench", "--no-rivals", "--frames", 0, "--no-memory", *model, *words)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert remedy in line
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_options_of_the_command_are_those_of_the_measurement() -> None:
    assert BenchOptions().models == ("nano", "small")
    assert set(BenchOptions().sizes) <= set(benchmark.SIZES)
