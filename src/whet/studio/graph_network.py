"""A graph written for one size, in OpenVINO or ONNX Runtime.

Measured for MAXIM, one tile of 256 px, CPU seconds of one core with AVX-512 (an EPYC of 2023), in
one run of ``scripts/studio.py``: PyTorch 5.2, the same graph in ONNX Runtime 4.7, in OpenVINO 4.2,
and 2.4 there in bfloat16, which is 56 dB away from float32 where the restored picture is right to
34. So OpenVINO it is, in bfloat16 where the processor multiplies it natively. Nothing is kept but
the weights, as writing and compiling the graph takes about as long as a tile or two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT, OUTPUT
from whet.errors import ModelError
from whet.runtime import providers
from whet.runtime.cpu_features import bfloat16_is_fast
from whet.runtime.openvino_engine import properties
from whet.runtime.telemetry import silence
from whet.studio.tiles import Tiling

__all__ = ["GraphNetwork", "GraphRuntime", "precision_of"]

Floats = NDArray[np.float32]
GraphRuntime = Literal["openvino", "onnxruntime"]
Run = Callable[[Floats], Floats]


def precision_of(runtime: str) -> str:
    """Return what a runtime computes in here."""
    return "bf16" if runtime == "openvino" and bfloat16_is_fast() else "f32"


class GraphNetwork:
    """See :class:`~whet.studio.session.HeavyNetwork`.

    Args:
        write: returns the graph for (height, width).
        tiling: how it wants pictures cut.
        runtime: what computes.
        threads: of computation; None takes all cores.
    """

    def __init__(
        self,
        write: Callable[[int, int], onnx.ModelProto],
        tiling: Tiling,
        runtime: GraphRuntime,
        threads: int | None,
    ) -> None:
        self.tiling = tiling
        self.precision = precision_of(runtime)
        self._write, self._runtime, self._threads = write, runtime, threads
        self._prepared: tuple[tuple[int, int], Run] | None = None

    def prepare(self, height: int, width: int) -> Run:
        """Write and compile the graph for a size; only the last one is held."""
        if self._prepared is None or self._prepared[0] != (height, width):
            self._prepared = None
            model = self._write(height, width).SerializeToString()
            compiled = self._openvino(model) if self._runtime == "openvino" else self._ort(model)
            self._prepared = (height, width), _between_pixels(compiled)
        return self._prepared[1]

    def _openvino(self, model: bytes) -> Run:
        silence()
        import openvino

        core = openvino.Core()
        options = {**properties(self._threads), "INFERENCE_PRECISION_HINT": self.precision}
        try:
            request = core.compile_model(core.read_model(model), "CPU", options)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot run this network ({str(error).splitlines()[0]}); "
                "use runtime onnxruntime"
            ) from error
        infer = request.create_infer_request()

        def run(planes: Floats) -> Floats:
            infer.infer([planes])
            return cast(Floats, infer.get_output_tensor().data)

        return run

    def _ort(self, model: bytes) -> Run:
        silence()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self._threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        names = [providers.PROVIDERS[key].name for key in providers.candidates(providers.present())]
        session = onnxruntime.InferenceSession(model, options, providers=names)
        return lambda planes: cast(Floats, session.run([OUTPUT], {INPUT: planes})[0])


def _between_pixels(run: Run) -> Run:
    def restore(image: Floats) -> Floats:
        planes: Any = run(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
        return np.array(planes[0].transpose(1, 2, 0))

    return restore
