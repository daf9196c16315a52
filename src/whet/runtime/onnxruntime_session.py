"""ONNX Runtime: runs everywhere, on the processor or on what its build knows besides."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT, OUTPUT
from whet.errors import ModelError
from whet.runtime import privacy, providers
from whet.runtime.boundary import (
    BYTES_IN,
    BYTES_OUT,
    STRENGTH,
    Tail,
    byte_graph,
    from_blocks,
    to_blocks,
)
from whet.runtime.planes import Colours, Planar
from whet.runtime.yuv import planar_model

__all__ = ["open_engine"]


class _OnnxRuntimeEngine:
    def __init__(self, model: onnx.ModelProto, threads: int | None) -> None:
        self._model = model
        self._threads = threads
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._running: AbstractContextManager[Any] = nullcontext()
        self._opened: dict[str, Any] = {}
        self._candidates = list(providers.candidates(providers.present()))
        self._block = 1

    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        session = self._session("bytes" if strength == 1 else "blended bytes")
        feeds: dict[str, NDArray[Any]] = {BYTES_IN: to_blocks(image, self._block)}
        if strength != 1:
            feeds[STRENGTH] = np.array(strength, np.float32)
        with self._running:
            (restored,) = session.run([BYTES_OUT], feeds)
        return from_blocks(restored, self._block)

    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        session = self._session("floats")
        with self._running:
            (restored,) = session.run([OUTPUT], {INPUT: planes})
        return cast(NDArray[np.float32], restored[0].transpose(1, 2, 0))

    def planar(self, colours: Colours) -> Planar | None:
        model = planar_model(self._model, colours)
        if model is None:
            return None
        graphs = {
            strength: byte_graph(model, Tail.PIXELS, strength=strength, planar=True)
            for strength in (False, True)
        }
        opened: dict[bool, Any] = {}

        def run(blocks: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
            blended = strength != 1
            feeds: dict[str, NDArray[Any]] = {BYTES_IN: blocks}
            if blended:
                feeds[STRENGTH] = np.array(strength, np.float32)
            with self._lock:
                if blended not in opened:
                    opened[blended] = self._build(graphs[blended].model)
            with self._running:
                (restored,) = opened[blended].run([BYTES_OUT], feeds)
            return cast(NDArray[np.uint8], restored)

        return Planar(graphs[False].block, run)

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

    @property
    def provider(self) -> str:
        """Key of :data:`~whet.runtime.providers.PROVIDERS` that computes."""
        return self._candidates[0]

    def _build(self, graph: onnx.ModelProto) -> Any:
        """Open ``graph`` on the first candidate that works; forget those that do not."""
        data = graph.SerializeToString()
        while True:
            provider = providers.PROVIDERS[self.provider]
            reason = "its libraries are not complete"
            try:
                session = _open(data, provider, self._threads)
                # One that finds its libraries missing is left out without an error.
                if provider.name in session.get_providers():
                    self._running = nullcontext() if provider.parallel else self._one_at_a_time
                    return session
            except Exception as error:  # ONNX Runtime's own classes share no narrower base
                reason = str(error).strip().splitlines()[0]
            if len(self._candidates) == 1:
                raise ModelError(f"ONNX Runtime cannot open this model ({reason})")
            del self._candidates[0]


def _open(data: bytes, provider: providers.Provider, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    # A waiting thread that spins steals the core from the decoder and the encoder beside it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = provider.parallel  # which DirectML cannot do either
    chosen: list[Any] = [(provider.name, dict(provider.options))]
    if provider.name != providers.PROVIDERS["cpu"].name:
        chosen.append(providers.PROVIDERS["cpu"].name)  # for operators that it lacks
    # Its own way back to the processor prints to stdout, where a picture may go.
    return onnxruntime.InferenceSession(data, options, providers=chosen, enable_fallback=0)


def open_engine(model: onnx.ModelProto, threads: int | None) -> _OnnxRuntimeEngine:
    """Return ``model`` in ONNX Runtime.

    Raises:
        ModelError: it does not run there.
    """
    privacy.silence()
    engine = _OnnxRuntimeEngine(model, threads)
    engine._session("bytes")
    return engine
