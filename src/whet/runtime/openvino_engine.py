"""OpenVINO: the fastest runtime on x86-64 processors."""

from __future__ import annotations

import math
import os
import threading
from collections import Counter
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.errors import ModelError
from whet.graph.uint8_io import COLOURS, Tail, byte_graph, from_blocks, to_blocks
from whet.graph.yuv420_io import Colours, planar_model
from whet.runtime import telemetry
from whet.runtime.yuv420 import Planar

__all__ = ["open_engine", "properties"]

WORTH_PX = 4_000_000
"""Pixels of one size after which it gets a network compiled for it: of all so far while there is
room, and else twice as many since a kept size was last used, whose place it takes. Sizes that
take turns therefore leave each other alone, whatever their number.

A network for any size takes longer by 25-34 ms of CPU time per megapixel (nano and small, int8
and float32, 720p; nano int8 nearly doubles), compiling for a size takes 60-130 ms. Until a size
is worth it, it shares the network for any size, except the very first: something must be compiled
for that one anyway."""

KEPT = 4
"""Sizes with a network of their own: each holds the activations of one picture."""

MOST_LANES = 4
"""Frames of a video at once: each holds its activations."""

Array = NDArray[Any]
Shape = tuple[int, ...]


class _Compiled:
    """A compiled network and its buffers, for as many threads at a time as it has lanes."""

    def __init__(self, compiled: Any, lanes: int) -> None:
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(lanes):
            self._requests.put(compiled.create_infer_request())

    def run(self, inputs: list[Array]) -> Array:
        """Return the output for ``inputs``, of the shape and type of the first."""
        import openvino

        # Wrapped, not copied: the network reads and writes the arrays in place.
        tensors = [openvino.Tensor(array, shared_memory=True) for array in inputs]
        restored = np.empty_like(inputs[0])
        request = self._requests.get()
        try:
            request.set_output_tensor(openvino.Tensor(restored, shared_memory=True))
            for index, tensor in enumerate(tensors):
                request.set_input_tensor(index, tensor)
            request.infer()
        finally:
            self._requests.put(request)
        return restored


class _AnySize:
    """A network, compiled as its use asks for."""

    def __init__(self, core: Any, graph: onnx.ModelProto, lanes: int = 1) -> None:
        self._core, self._lanes = core, lanes
        self._graph = graph.SerializeToString()
        self._lock = threading.Lock()
        self._fixed: dict[Shape, _Compiled] = {}
        self._rivals: dict[Shape | None, Counter[Shape]] = {None: Counter()}
        """Pixels of sizes without a network, since each that has one was used; None for room."""
        self._free: _Compiled | None = None

    def run(self, inputs: list[Array]) -> Array:
        return self.compiled(inputs[0].shape).run(inputs)

    def compiled(self, shape: Shape) -> _Compiled:
        """Return the network to use for a picture of ``shape``."""
        with self._lock:
            if shape in self._fixed:
                self._rivals[shape].clear()
            elif self._earned(shape, math.prod(shape) // COLOURS):
                self._fixed[shape] = self._compile(shape)
            else:
                self._free = self._free or self._compile(None)
                return self._free
            return self._fixed[shape]

    def _earned(self, shape: Shape, pixels: int) -> bool:
        """Return whether ``shape`` gets a network of its own; make room for it if so."""
        for rivals in self._rivals.values():
            rivals[shape] += pixels
        place = max(self._rivals, key=lambda kept: self._rivals[kept][shape])
        needed_px = WORTH_PX if place is None else 2 * WORTH_PX
        if self._fixed and self._rivals[place][shape] < needed_px:
            return False
        if place is not None:
            del self._fixed[place], self._rivals[place]
        for rivals in self._rivals.values():
            del rivals[shape]
        self._rivals[shape] = Counter()
        if len(self._rivals) > KEPT:
            self._rivals.pop(None, None)
        return True

    def _compile(self, shape: Shape | None) -> _Compiled:
        network = self.read()
        try:
            if shape is not None:
                network.reshape({network.inputs[0]: list(shape)})
            options = {"NUM_STREAMS": self._lanes}
            return _Compiled(self._core.compile_model(network, "CPU", options), self._lanes)
        except RuntimeError as error:
            raise _refusal(error) from error

    def read(self) -> Any:
        """Return the network as OpenVINO reads it.

        Raises:
            ModelError: it holds an operator that OpenVINO does not know.
        """
        try:
            return self._core.read_model(self._graph)
        except RuntimeError as error:
            raise _refusal(error) from error


def _refusal(error: RuntimeError) -> ModelError:
    # Its messages begin with places in its source and end with a summary.
    lines = [line for line in str(error).partition("Summary:")[2].splitlines() if line.strip()]
    reason = (lines or str(error).strip().splitlines())[0].removeprefix("-- ")
    return ModelError(f"OpenVINO cannot run this model ({reason}); use runtime onnxruntime")


class _Bytes:
    """A model between blocks of bytes, with and without a strength."""

    def __init__(
        self, core: Any, model: onnx.ModelProto, lanes: int = 1, *, planar: bool = False
    ) -> None:
        plain, blended = (
            byte_graph(model, Tail.PLANES, strength=strength, planar=planar)
            for strength in (False, True)
        )
        self.block = plain.block
        self.plain = _AnySize(core, plain.model, lanes)
        self._blended = _AnySize(core, blended.model, lanes)

    def run(self, blocks: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        if strength == 1:
            return self.plain.run([blocks])
        return self._blended.run([blocks, np.array(strength, np.float32)])


class _OpenVinoEngine:
    def __init__(self, model: onnx.ModelProto, threads: int | None) -> None:
        import openvino

        core = self._core = openvino.Core()
        core.set_property("CPU", properties(threads))
        self._model, self._threads = model, threads
        # Each is compiled at its first picture, when its size is known.
        self._bytes = _Bytes(core, model)
        self._floats = _AnySize(core, model)
        self._bytes.plain.read()

    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        block = self._bytes.block
        return from_blocks(self._bytes.run(to_blocks(image, block), strength), block)

    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        restored = self._floats.run([planes])
        return cast(NDArray[np.float32], restored[0].transpose(1, 2, 0))

    def planar(self, colours: Colours) -> Planar | None:
        model = planar_model(self._model, colours)
        if model is None:
            return None
        lanes = _lanes(self._threads)
        blocks = _Bytes(self._core, model, lanes, planar=True)
        return Planar(blocks.block, blocks.run, lanes)


def _lanes(threads: int | None) -> int:
    """Return how many frames of a video are restored at once: threads that share a frame wait."""
    return min(threads or os.cpu_count() or 1, MOST_LANES)


def properties(threads: int | None) -> dict[str, Any]:
    """Return how OpenVINO is to compile a network: for one picture at a time, in float32."""
    chosen: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # bfloat16, the default on AMX, would miss the promised 1/255.
        "INFERENCE_PRECISION_HINT": "f32",
        # Two sessions in one process would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        chosen["INFERENCE_NUM_THREADS"] = threads
    return chosen


def open_engine(model: onnx.ModelProto, threads: int | None) -> _OpenVinoEngine:
    """Return ``model`` in OpenVINO.

    Raises:
        ModelError: it does not run there.
    """
    telemetry.silence()
    return _OpenVinoEngine(model, threads)
