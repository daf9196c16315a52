"""From a trained student to the one file that travels.

The student is fused, clamped, traced with free height and width, rewritten
exactly (:mod:`whet.graph.canonical`), stripped, and then run in ONNX Runtime
against PyTorch. Only a file that agrees is ever written.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whet.artifact import INPUT, OUTPUT, Card, write_model
from whet.errors import ExportError, MissingExtraError
from whet.graph.canonical import canonicalise, strip
from whet.models import ModelSpec
from whet.runtime import telemetry

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "PARITY_BOUND", "export", "parity"]

OPSET = 18
"""Understood by ONNX Runtime, OpenVINO and onnxruntime-web alike."""

PARITY_BOUND = 1 / 255
"""Largest tolerated difference anywhere: one step of an 8-bit picture."""


class _Clamped(nn.Module):
    """The student as the artifact promises it: output in [0, 1]."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, degraded: Tensor) -> Tensor:
        return cast(Tensor, self.student(degraded)).clamp(0, 1)


def export(student: nn.Module, spec: ModelSpec, target: Path, card: Card) -> Card:
    """Write ``student`` as a model file.

    Args:
        student: has ``fuse() -> nn.Module``; float32, on any device; not modified.
        spec: its line in ``whet.models.MODELS``.
        target: file to write; replaced if it exists, untouched on failure.
        card: what is known of the training. Name, provenance and scores are kept; architecture,
            multiple, halo, compute, size, precision, parity and hash are filled in here.

    Returns:
        The card as written.

    Raises:
        ExportError: ONNX Runtime and PyTorch differ by more than 1/255 somewhere, or the student
            does not take every size that ``spec`` promises.
        MissingExtraError: onnxscript is not installed.
    """
    fused = cast(Any, student).fuse().cpu().float().eval()
    model = _trace(_Clamped(fused), spec)
    canonicalise(model)
    strip(model)
    worst = parity(model, _Clamped(fused), spec.multiple)
    # A comparison that a NaN fails as well.
    if not worst <= PARITY_BOUND:
        raise ExportError(
            f"{spec.name}: ONNX Runtime and PyTorch differ by {worst * 255:.2f}/255; "
            "nothing was written; report this with your versions of torch and onnxruntime"
        )
    return write_model(
        target,
        model,
        replace(
            card,
            architecture=spec.name,
            multiple=spec.multiple,
            halo=spec.halo,
            kmac_per_px=spec.kmac_per_px,
            parameters=sum(p.numel() for p in fused.parameters()),
            precision="float32",
            parity=worst,
            int8_drop_db=None,
            float_sha256="",
        ),
    )


def parity(model: onnx.ModelProto, reference: nn.Module, multiple: int) -> float:
    """Return the largest absolute difference between ONNX Runtime and PyTorch, in [0, 1] units.

    Both run the same pictures (:func:`probes`) at several sizes.

    Raises:
        ExportError: one of them cannot.
    """
    telemetry.silence()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    worst = 0.0
    for picture in probes(multiple):
        try:
            with torch.inference_mode():
                expected = reference(torch.from_numpy(picture)).numpy()
            (actual,) = session.run([OUTPUT], {INPUT: picture})
            difference = np.abs(actual - expected).max()
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise ExportError(
                f"does not run on {picture.shape[3]}x{picture.shape[2]} pixels; sides that are "
                f"multiples of {multiple} must do: {_first_line(error)}"
            ) from error
        # max() of Python would drop a NaN that comes second.
        worst = float(np.maximum(worst, difference))
    return worst


def probes(multiple: int) -> Iterator[NDArray[np.float32]]:
    """Yield float32 (1, 3, H, W) pictures in [0, 1] that exercise a restoration network.

    Spectrum like a photograph's (amplitude falling as 1/f: Field, JOSA A 1987) with hard edges,
    then the extremes: noise over the full range, a checkerboard, black and white.
    """
    rng = np.random.default_rng(0)
    for rows, columns in ((3, 5), (8, 4), (1, 1), (6, 7)):
        # At least 16 pixels, so that every network has something to see.
        blocks = -(-16 // multiple)
        height, width = rows * blocks * multiple, columns * blocks * multiple
        yield _photograph_like(rng, height, width)
    shape = (1, 3, height, width)
    yield rng.random(shape, np.float32)
    checkers = np.indices((height, width)).sum(0) % 2
    yield np.broadcast_to(checkers.astype(np.float32), shape).copy()
    yield np.zeros(shape, np.float32)
    yield np.ones(shape, np.float32)


def _photograph_like(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    spectrum = np.fft.fft2(rng.standard_normal((3, height, width)))
    picture = np.fft.ifft2(spectrum / (frequency + 1 / max(height, width))).real
    picture[:, height // 3 : height // 2, width // 4 :] += picture.std()
    low, high = picture.min(), picture.max()
    return cast(NDArray[np.float32], ((picture - low) / (high - low))[None].astype(np.float32))


def _trace(network: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    if find_spec("onnxscript") is None:
        raise MissingExtraError("onnxscript", "train")
    dim = torch.export.Dim
    example = torch.rand(1, 3, 8 * spec.multiple, 12 * spec.multiple)
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(
                    {2: spec.multiple * dim("rows"), 3: spec.multiple * dim("columns")},
                ),
                opset_version=OPSET,
                verbose=False,
                custom_translation_table={torch.ops.aten.pixel_unshuffle.default: _unshuffle},
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ExportError(
            f"{spec.name} cannot be traced for sides that are multiples of {spec.multiple}: "
            f"{_first_line(error)}"
        ) from error
    assert program is not None
    return program.model_proto


def _unshuffle(self: Any, downscale_factor: int) -> Any:
    """Translate ``pixel_unshuffle`` of an RGB picture to one operator and a channel order.

    PyTorch's own translation computes shapes at run time with ten operators.
    """
    from onnxscript import opset18 as op

    positions, colours = downscale_factor**2, 3
    order = [p * colours + c for c in range(colours) for p in range(positions)]
    blocks = op.SpaceToDepth(self, blocksize=downscale_factor)
    return op.Gather(blocks, op.Constant(value_ints=order), axis=1)  # type: ignore[type-var]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide the exporter's remarks about torchvision and about PyTorch's own internals."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
