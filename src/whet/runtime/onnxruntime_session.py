"""ONNX Runtime on the processor: runs everywhere."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT, OUTPUT
from whet.errors import ModelError
from whet.runtime import privacy
from whet.runtime.boundary import (
    BYTES_IN,
    BYTES_OUT,
    STRENGTH,
    Tail,
    byte_graph,
    from_blocks,
    to_blocks,
)

__all__ = ["open_engine"]


class _OnnxRuntimeEngine:
    def __init__(self, model: onnx.ModelProto, threads: int | None) -> None:
        self._model = model
        self._threads = threads
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}
        self._block = 1

    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        session = self._session("bytes" if strength == 1 else "blended bytes")
        feeds: dict[str, NDArray[Any]] = {BYTES_IN: to_blocks(image, self._block)}
        if strength != 1:
            feeds[STRENGTH] = np.array(strength, np.float32)
        (restored,) = session.run([BYTES_OUT], feeds)
        return from_blocks(restored, self._block)

    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        (restored,) = self._session("floats").run([OUTPUT], {INPUT: planes})
        return cast(NDArray[np.float32], restored[0].transpose(1, 2, 0))

    def _session(self, kind: str) -> Any:
        """Return the session for one kind of pixels, built at its first use."""
        # Building takes milliseconds; running, which ONNX Runtime itself makes safe, is unlocked.
        with self._lock:
            if kind not in self._opened:
                graph = self._model
                if kind != "floats":
                    built = byte_graph(graph, Tail.PIXELS, strength=kind != "bytes")
                    graph, self._block = built.model, built.block
                self._opened[kind] = self._build(graph)
            return self._opened[kind]

    def _build(self, graph: onnx.ModelProto) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads or 0
        # A waiting thread that spins steals the core from the decoder and the encoder beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own classes share no narrower base
            first = str(error).strip().splitlines()[0]
            raise ModelError(f"ONNX Runtime cannot open this model ({first})") from error


def open_engine(model: onnx.ModelProto, threads: int | None) -> _OnnxRuntimeEngine:
    """Return ``model`` in ONNX Runtime.

    Raises:
        ModelError: it does not run there.
    """
    privacy.silence()
    engine = _OnnxRuntimeEngine(model, threads)
    engine._session("bytes")
    return engine
