"""PyTorch: the same model file on an NVIDIA GPU, or on the processor to compare with.

The file's few operators are interpreted as PyTorch calls, so no checkpoint has
to travel. On a GPU the convolutions compute in bfloat16, channels last; the
residual is added in float32, so an 8-bit step is never lost to the skip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from whet.artifact import INPUT, OUTPUT
from whet.errors import ModelError
from whet.graph.yuv420_io import Colours
from whet.runtime.yuv420 import Planar

__all__ = ["OPERATORS", "ArtifactModule", "open_engine"]

Attributes = Mapping[str, Any]


def _conv(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    x, weight, *bias = inputs
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        x = F.pad(x, (left, right, top, bottom))
        top = left = 0
    return F.conv2d(
        x.to(weight.dtype),
        weight,
        bias[0] if bias else None,
        tuple(attributes.get("strides", [1, 1])),
        (top, left),
        tuple(attributes.get("dilations", [1, 1])),
        attributes.get("group", 1),
    )


def _space_to_depth(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    (x,), block = inputs, attributes["blocksize"]
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _depth_to_space(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    (x,), block = inputs, attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)


OPERATORS: Mapping[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Clip": lambda inputs, _: inputs[0].clamp(inputs[1], inputs[2]),
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Relu": lambda inputs, _: F.relu(inputs[0]),
    "SpaceToDepth": _space_to_depth,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
}
"""What our exporter writes for a student. Definitions: the ONNX operator reference."""


class ArtifactModule(nn.Module):
    """The graph of a float model file. Float32 NCHW RGB in [0, 1] in and out.

    Convolution weights take ``dtype``; everything else promotes to float32 where it must.
    """

    def __init__(self, model: onnx.ModelProto, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        graph = model.graph
        unknown = sorted({node.op_type for node in graph.node} - set(OPERATORS))
        if unknown:
            raise ModelError(f"PyTorch does not run {', '.join(unknown)}; use another runtime")
        weights = {name for n in graph.node if n.op_type == "Conv" for name in n.input[1:]}
        # By number: a name may be one that a module has already, or hold a dot.
        self._buffers_by_name = {t.name: f"w{i}" for i, t in enumerate(graph.initializer)}
        for tensor in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            value = value.to(dtype) if tensor.name in weights else value
            self.register_buffer(self._buffers_by_name[tensor.name], value)
        self._steps = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in graph.node
        ]

    def forward(self, degraded: Tensor) -> Tensor:
        values: dict[str, Tensor] = {INPUT: degraded}
        for kind, inputs, output, attributes in self._steps:
            tensors = [
                values[n] if n in values else self.get_buffer(self._buffers_by_name[n])
                for n in inputs
            ]
            values[output] = OPERATORS[kind](tensors, attributes)
        return values[OUTPUT]


class _TorchEngine:
    def __init__(self, model: onnx.ModelProto, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        network = ArtifactModule(model, torch.bfloat16 if on_gpu else torch.float32)
        # The type stubs do not know that modules take a memory format.
        self._network = cast(Any, network).to(device, memory_format=torch.channels_last)
        self._device = device

    @torch.inference_mode()
    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        # Bytes cross to the device; the tensor is channels-last as it comes.
        pixels = torch.from_numpy(image).to(self._device)
        degraded = pixels.permute(2, 0, 1)[None].float() / 255
        restored = self._network(degraded)
        if strength != 1:
            restored = degraded + strength * (restored - degraded)
        rounded = restored.mul(255).round_().clamp_(0, 255).byte()
        return cast(NDArray[np.uint8], rounded[0].permute(1, 2, 0).contiguous().cpu().numpy())

    @torch.inference_mode()
    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        degraded = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None]
        restored = self._network(degraded)[0].permute(1, 2, 0)
        return cast(NDArray[np.float32], restored.cpu().numpy())

    def planar(self, colours: Colours) -> Planar | None:
        del colours  # on a GPU, where this runtime belongs, converting costs next to nothing
        return None


def open_engine(model: onnx.ModelProto, threads: int | None) -> _TorchEngine:
    """Return ``model`` in PyTorch, on a GPU when there is one.

    Args:
        model: a float model file's graph.
        threads: set for PyTorch as a whole, which has no number per network.

    Raises:
        ModelError: it has operators that are not interpreted here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return _TorchEngine(model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
