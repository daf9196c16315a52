"""How fast this machine multiplies matrices: the limit that a network's speed is compared with.

A plain product of two square matrices has no memory traffic to speak of and no change of layout,
so what a runtime reaches there is what its convolutions could reach at best. It is measured in the
benchmark's own run, in turn with the models and with their number of threads: numpy (float32, on
all cores), and one matrix product in ONNX Runtime and in OpenVINO, in float32 and, as uint8 times
int8 between quantisations, in int8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from whet.bench.turns import Timing
from whet.runtime import telemetry

__all__ = ["SIDE", "Gemm", "Peaks", "gemms_here", "open_gemm", "peaks"]

SIDE = 768
"""Of the matrices: 0.9 billion operations, 2.4 MB each in float32."""


@dataclass(frozen=True)
class Gemm:
    """A matrix product to time.

    Attributes:
        runtime: ``numpy``, ``onnxruntime`` or ``openvino``.
        precision: what it multiplies.
        threads: None leaves it to the runtime.
        side: of both matrices.
    """

    runtime: str
    precision: str
    threads: int | None = None
    side: int = SIDE

    @property
    def label(self) -> str:
        """Name that is unique in a benchmark and no contestant's."""
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"matrix product, {self.precision} in {self.runtime}{threads}"

    @property
    def operations(self) -> int:
        """Of one product; a multiplication and an addition are two."""
        return 2 * self.side**3


def gemms_here(threads: Sequence[int | None], side: int | None = None) -> list[Gemm]:
    """Return every product that can be timed here."""
    side = SIDE if side is None else side
    found = [Gemm("numpy", "float32", None, side)] if None in threads else []
    return found + [
        Gemm(runtime, precision, count, side)
        for count in threads
        for runtime in ("onnxruntime", "openvino")
        if find_spec(runtime)
        for precision in ("float32", "int8")
    ]


def open_gemm(gemm: Gemm) -> Callable[[], NDArray[Any]]:
    """Return a function that multiplies once and returns the product."""
    rng = np.random.default_rng(0)
    shape = (gemm.side, gemm.side)
    if gemm.precision == "int8":
        left: NDArray[Any] = rng.integers(0, 256, shape, np.uint8)
        # 7 bits: sums of two products of 8 overflow in processors without VNNI.
        right: NDArray[Any] = rng.integers(-63, 64, shape, np.int8)
    else:
        left, right = (rng.random(shape, np.float32) for _ in range(2))
    if gemm.runtime == "numpy":
        out = np.empty(shape, np.float32)
        return lambda: np.matmul(left, right, out=out)
    telemetry.silence()
    model = _graph(right, gemm.precision)
    opener = _in_openvino if gemm.runtime == "openvino" else _in_onnxruntime
    return opener(model, left, gemm.threads)


def _graph(right: NDArray[Any], precision: str) -> bytes:
    """Return an ONNX model that multiplies its input by ``right``."""
    side = len(right)
    if precision == "float32":
        kind = TensorProto.FLOAT
        nodes = [helper.make_node("MatMul", ["left", "right"], ["product"])]
        constants = [numpy_helper.from_array(right, "right")]
    else:
        kind = TensorProto.UINT8
        nodes = [
            helper.make_node("DequantizeLinear", ["left", "scale", "zero"], ["a"]),
            helper.make_node("DequantizeLinear", ["right", "scale", "zero_signed"], ["b"]),
            helper.make_node("MatMul", ["a", "b"], ["c"]),
            helper.make_node("QuantizeLinear", ["c", "large", "middle"], ["product"]),
        ]
        values = {
            "right": right,
            "scale": np.array(1 / 128, np.float32),
            "zero": np.array(0, np.uint8),
            "zero_signed": np.array(0, np.int8),
            "large": np.array(1, np.float32),
            "middle": np.array(128, np.uint8),
        }
        constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    left, product = (
        helper.make_tensor_value_info(name, kind, [side, side]) for name in ("left", "product")
    )
    graph = helper.make_graph(nodes, "product", [left], [product], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _in_onnxruntime(
    model: bytes, left: NDArray[Any], threads: int | None
) -> Callable[[], NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(None, {"left": left})[0])


def _in_openvino(
    model: bytes, left: NDArray[Any], threads: int | None
) -> Callable[[], NDArray[Any]]:
    import openvino

    from whet.runtime.openvino_engine import properties

    core = openvino.Core()
    request = core.compile_model(
        core.read_model(model), "CPU", properties(threads)
    ).create_infer_request()
    tensor = openvino.Tensor(left, shared_memory=True)

    def multiply() -> NDArray[Any]:
        request.set_input_tensor(tensor)  # which must outlive this function's caller
        request.infer()
        return np.asarray(request.get_output_tensor().data)

    return multiply


@dataclass(frozen=True)
class Peaks:
    """What plain products reached, by (precision, threads).

    Attributes:
        rows: one per product, for machines.
        gops: billions of operations per second of the fastest product, at its best turn.
        cpu_gops: the same per second of processor time, over all threads, at the median.
    """

    rows: Sequence[Mapping[str, Any]]
    gops: Mapping[tuple[str, int | None], float]
    cpu_gops: Mapping[tuple[str, int | None], float]

    def shares(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        """Return which share of both a contestant's row reaches; None where nothing compares."""
        key = (row["precision"], row["threads"])
        peak, cpu_peak, gops = self.gops.get(key), self.cpu_gops.get(key), row["gops"]
        if not (peak and cpu_peak and gops and row["cpu_p50_ms"]):
            return {"of_peak": None, "of_peak_cpu": None}
        cpu_gops = gops * row["latency_p50_ms"] / row["cpu_p50_ms"]
        return {"of_peak": gops / peak, "of_peak_cpu": cpu_gops / cpu_peak}


def peaks(gemms: Sequence[Gemm], timings: Mapping[str, Timing]) -> Peaks:
    """Return what the products reached.

    On a busy machine a long turn loses more of its wall time to others than a short one does, and
    a network may then seem faster than the limit. Processor time does not have that fault.

    Args:
        gemms: that were timed.
        timings: by label.
    """
    rows: list[dict[str, Any]] = []
    best: dict[tuple[str, int | None], float] = {}
    cpu_best: dict[tuple[str, int | None], float] = {}
    for gemm in gemms:
        taken = timings[gemm.label]
        best_ms, cpu_ms = min(taken.wall_ms), float(np.median(taken.cpu_ms))
        gops = gemm.operations / 1e6 / best_ms
        cpu_gops = gemm.operations / 1e6 / cpu_ms if cpu_ms else 0.0
        key = (gemm.precision, gemm.threads)
        best[key] = max(gops, best.get(key, 0.0))
        cpu_best[key] = max(cpu_gops, cpu_best.get(key, 0.0))
        rows.append({**asdict(gemm), "best_ms": best_ms, "gops": gops, "cpu_gops": cpu_gops})
    return Peaks(rows, best, cpu_best)
