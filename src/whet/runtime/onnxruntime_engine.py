"""ONNX Runtime: runs everywhere, on the processor or on what its build knows besides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from whet.artifact import INPUT, OUTPUT
from whet.errors import ModelError
from whet.graph.uint8_io import (
    BYTES_IN,
    BYTES_OUT,
    STRENGTH,
    Tail,
    byte_graph,
    from_blocks,
    to_blocks,
)
from whet.graph.yuv420_io import Colours, planar_model
from whet.runtime import providers, telemetry
from whet.runtime.yuv420 import Planar

__all__ = ["open_engine"]


class _Network:
    """A graph, opened at its first use."""

    def __init__(self, engine: _OnnxRuntimeEngine, graph: Callable[[], onnx.ModelProto]) -> None:
        self._engine, self._graph = engine, graph
        self._session: Any = None

    def open(self) -> Any:
        # Opening takes milliseconds; running, which ONNX Runtime itself makes safe, is unlocked.
        with self._engine.opening:
            if self._session is None:
                self._session = self._engine.build(self._graph())
            return self._session

    def run(self, output: str, feeds: dict[str, NDArray[Any]]) -> Any:
        session = self.open()
        with self._engine.running:
            (result,) = session.run([output], feeds)
        return result


class _Bytes:
    """A model between blocks of bytes, with and without a strength."""

    def __init__(
        self, engine: _OnnxRuntimeEngine, model: onnx.ModelProto, *, planar: bool = False
    ) -> None:
        made = partial(byte_graph, model, Tail.PIXELS, planar=planar)
        plain = made()
        self.block = plain.block
        self.plain = _Network(engine, lambda: plain.model)
        self._blended = _Network(engine, lambda: made(strength=True).model)

    def run(self, blocks: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        feeds: dict[str, NDArray[Any]] = {BYTES_IN: blocks}
        if strength == 1:
            return cast(NDArray[np.uint8], self.plain.run(BYTES_OUT, feeds))
        feeds[STRENGTH] = np.array(strength, np.float32)
        return cast(NDArray[np.uint8], self._blended.run(BYTES_OUT, feeds))


class _OnnxRuntimeEngine:
    def __init__(self, model: onnx.ModelProto, threads: int | None) -> None:
        self._model = model
        self._threads = threads
        self._one_at_a_time = threading.Lock()
        self.opening = threading.Lock()
        """Held while a network is opened, which may strike a provider off."""
        self.running: AbstractContextManager[Any] = nullcontext()
        """Held while a network runs."""
        self._candidates = list(providers.candidates(providers.present()))
        self._bytes = _Bytes(self, model)
        self._floats = _Network(self, lambda: model)
        self._bytes.plain.open()

    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        block = self._bytes.block
        return from_blocks(self._bytes.run(to_blocks(image, block), strength), block)

    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        restored = self._floats.run(OUTPUT, {INPUT: planes})
        return cast(NDArray[np.float32], restored[0].transpose(1, 2, 0))

    def planar(self, colours: Colours) -> Planar | None:
        model = planar_model(self._model, colours)
        if model is None:
            return None
        blocks = _Bytes(self, model, planar=True)
        return Planar(blocks.block, blocks.run)

    @property
    def provider(self) -> str:
        """Key of :data:`~whet.runtime.providers.PROVIDERS` that computes."""
        return self._candidates[0]

    def build(self, graph: onnx.ModelProto) -> Any:
        """Open ``graph`` on the first candidate that works; forget those that do not."""
        data = graph.SerializeToString()
        while True:
            provider = providers.PROVIDERS[self.provider]
            reason = "its libraries are not complete"
            try:
                session = _open(data, provider, self._threads)
                # One that finds its libraries missing is left out without an error.
                if provider.name in session.get_providers():
                    self.running = nullcontext() if provider.parallel else self._one_at_a_time
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
    telemetry.silence()
    return _OnnxRuntimeEngine(model, threads)
