"""Networks of other people in ONNX, scored beside ours and never shipped.

Whoever enlarges gets the picture before it was enlarged. Scale, layout and range of values are
found by one small picture, so that any file with one RGB input and one output will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whet.degrade.codecs.programs import Pixels, in_bytes
from whet.errors import InputError, ModelError
from whet.evaluate.results import Origin
from whet.files import file_sha256
from whet.metrics import psnr
from whet.runtime import telemetry

__all__ = ["Rival", "open_rival"]

_MULTIPLE = 16
"""Sides are extended to it: nets that halve four times take nothing else."""
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_LEAST_DB = 12.0
"""A probe that comes back farther than this from its bicubic enlargement was misunderstood."""


@dataclass(frozen=True)
class Rival:
    """A network as a function of one uint8 HWC picture, which comes back ``scale`` times larger.

    Attributes:
        session: of ONNX Runtime.
        channels_last: whether it takes NHWC.
        peak: what white is to it: 1 or 255.
        scale: 1 for a network that keeps the size.
        origin: for the report.
    """

    session: Any
    channels_last: bool
    peak: int
    scale: int
    origin: Origin

    def __call__(self, picture: Pixels) -> Pixels:
        """Return the picture restored; (H, W, 3) to (scale H, scale W, 3)."""
        height, width = picture.shape[:2]
        margin = ((0, -height % _MULTIPLE), (0, -width % _MULTIPLE), (0, 0))
        output = _run(self.session, np.pad(picture, margin, "edge"), self.channels_last, self.peak)
        return in_bytes(output[: height * self.scale, : width * self.scale] * (255 / self.peak))


def open_rival(given: str) -> tuple[str, Rival]:
    """Open ``FILE.onnx`` or ``FILE.onnx=SCALE``; return the name of its row and the network.

    Raises:
        InputError: no such file, or a scale that is no whole number or not the network's.
        ModelError: the file cannot be run, or is not a network of one RGB picture.
    """
    text, _, scale = given.rpartition("=") if _is_scaled(given) else (given, "", "")
    path = Path(text)
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a network as FILE.onnx or FILE.onnx=SCALE")
    session = _session(path)
    kind = session.get_inputs()[0].type
    last = _channels_last(path, session)
    peaks = (255,) if kind == "tensor(uint8)" else (1, 255)
    found = max((_probe(path, session, last, peak) for peak in peaks), key=lambda f: f[0])
    fit_db, peak, measured = found
    if fit_db < _LEAST_DB:
        raise ModelError(
            f"{path} returns no picture for one in 0..1 or 0..255 ({fit_db:.1f} dB from a bicubic "
            "enlargement); a rival takes RGB and returns RGB"
        )
    if scale and int(scale) != measured:
        raise InputError(f"{path} enlarges by {measured}, not {scale}; leave ={scale} out")
    precision = "float16" if kind == "tensor(float16)" else "float32"
    origin = Origin(path.name, file_sha256(path), precision, "onnxruntime")
    return path.stem, Rival(session, last, peak, measured, origin)


def _is_scaled(given: str) -> bool:
    return given.rpartition("=")[2].isdecimal() and not Path(given).exists()


def _session(path: Path) -> Any:
    telemetry.silence()
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, undocumented
        raise ModelError(f"{path} cannot be run by ONNX Runtime ({error})") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type not in _TYPES:
        raise ModelError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs of type "
            f"{inputs[0].type if inputs else 'none'}; a rival takes and returns one picture"
        )
    return session


def _channels_last(path: Path, session: Any) -> bool:
    """Return whether the input is NHWC; it must have 3 channels, and sides of any size."""
    shape = session.get_inputs()[0].shape
    if len(shape) == 4 and (shape[0] in (1, None) or isinstance(shape[0], str)):
        for last, sides in ((False, shape[2:]), (True, shape[1:3])):
            if shape[3 if last else 1] == 3 and not any(isinstance(side, int) for side in sides):
                return last
    raise ModelError(
        f"{path} takes {shape}; a rival takes (1, 3, H, W) or (1, H, W, 3) of any height and "
        "width: export it with dynamic sides"
    )


def _run(session: Any, picture: Pixels, last: bool, peak: int) -> NDArray[np.float32]:
    """Return what the network makes of (H, W, 3) as float32 (sH, sW, 3), in its own range."""
    given = session.get_inputs()[0]
    values = picture.astype(_TYPES[given.type])
    if peak == 1:
        values = values / values.dtype.type(255)
    tensor = values[None] if last else np.ascontiguousarray(values.transpose(2, 0, 1)[None])
    (output,) = session.run(None, {given.name: tensor})
    image = output[0] if output.ndim == 4 else output
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
        image = image.transpose(1, 2, 0)
    return np.asarray(image, np.float32)


def _probe(path: Path, session: Any, last: bool, peak: int) -> tuple[float, int, int]:
    """Return (PSNR against a bicubic enlargement, ``peak``, measured scale)."""
    coarse = np.random.default_rng(0).integers(40, 216, (6, 6, 3), dtype=np.uint8)
    small = Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC)
    try:
        output = _run(session, np.array(small), last, peak)
    except Exception as error:  # ONNX Runtime raises classes of its own, undocumented
        raise ModelError(f"{path} fails on a picture of 48 x 32 ({error})") from error
    scale = output.shape[0] // 32 if output.ndim == 3 else 0
    if scale < 1 or output.shape != (32 * scale, 48 * scale, 3):
        raise ModelError(
            f"{path} returns {output.shape} for a picture of (32, 48, 3); a rival returns RGB of "
            "the same or a whole multiple of the size"
        )
    large = small.resize((48 * scale, 32 * scale), Image.Resampling.BICUBIC)
    return psnr(in_bytes(output * (255 / peak)), np.array(large)), peak, scale
