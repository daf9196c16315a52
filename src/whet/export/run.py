"""From a checkpoint to model files: what ``whet export`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.artifact import Card
from whet.data.sources import list_pairs
from whet.degrade.pictures import degraded_picture
from whet.degrade.registry import EVERYDAY
from whet.errors import InputError, ModelError
from whet.export.onnx import export
from whet.export.quantize import quantize
from whet.files import check_target, reason
from whet.models import MODELS
from whet.models.checkpoints import load_student

__all__ = ["export_checkpoint"]

_CALIBRATION_PICTURES = 24
_DROP_PICTURES = 16
_WINDOW_PX = 512

_FREE_FIELDS = (
    "name", "version", "recipe", "data", "licences", "hardware", "hours", "scores",
    "known_failures",
)  # fmt: skip
"""What a card file may say; the rest is measured at export."""


def export_checkpoint(
    checkpoint: Path,
    target: Path,
    *,
    student: str | None = None,
    int8: bool = False,
    photos: Path | None = None,
    card_file: Path | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the float model file of a checkpoint, and the int8 one beside it if asked.

    Args:
        target: the float file; the int8 one is called ``NAME-int8.onnx``.
        photos: sharp photographs, degraded for calibration and for measuring what int8 costs.
        card_file: JSON with what the card should say of the training.

    Returns:
        The paths written.

    Raises:
        InputError: a file exists already or cannot be written, or ``int8`` without ``photos``.
        ExportError: see :func:`whet.export.onnx.export` and :func:`whet.export.quantize.quantize`.
    """
    quantised = target.with_name(f"{target.stem}-int8{target.suffix}")
    wanted = [target, quantised] if int8 else [target]
    _check_targets(wanted, overwrite)
    if int8 and photos is None:
        raise InputError("int8 is calibrated on real pictures; name a folder with --photos")
    pairs = _pictures(photos) if int8 and photos else ()
    name, network = load_student(checkpoint, student)
    spec = MODELS[name]
    blank = Card(
        name=target.stem,
        architecture=spec.name,
        multiple=spec.multiple,
        halo=spec.halo,
        kmac_per_px=spec.kmac_per_px,
        parameters=0,
    )
    card = _filled(blank, card_file) if card_file else blank
    try:
        export(network, spec, target, card)
        if int8:
            quantize(
                target,
                quantised,
                [degraded for degraded, _ in pairs[:_CALIBRATION_PICTURES]],
                validation=pairs[_CALIBRATION_PICTURES:],
            )
    except OSError as error:
        raise InputError(f"{target} cannot be written: {reason(error)}") from error
    return wanted


def _check_targets(paths: Sequence[Path], overwrite: bool) -> None:
    """Raise InputError where a file cannot or must not be written, before the work is done."""
    for path in paths:
        if path.suffix != ".onnx":
            raise InputError(f"{path} is no name of a model file; end it with .onnx")
        check_target(path, overwrite=overwrite)


def _filled(blank: Card, card_file: Path) -> Card:
    """Return the card with what a JSON file says of the training."""
    try:
        said = json.loads(card_file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{card_file} is no JSON that can be read: {error}") from None
    if not isinstance(said, dict):
        raise InputError(f"{card_file} is no JSON object; it may say: {', '.join(_FREE_FIELDS)}")
    if unknown := sorted(set(said) - set(_FREE_FIELDS)):
        raise InputError(f"{card_file} may say: {', '.join(_FREE_FIELDS)}; not {unknown[0]!r}")
    try:
        return Card.from_json(json.dumps({**json.loads(blank.to_json()), **said}))
    except ModelError as error:
        raise InputError(f"{card_file} cannot be used: {error}") from None


def _pictures(photos: Path) -> Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return (degraded, sharp) windows, each photograph spoilt in turn in everyday ways.

    Never clean: a network that leaves a clean picture alone has an infinite PSNR there.
    """
    paths = [pair.sharp for pair in list_pairs("photos", photos, split="all")]
    kinds = sorted(set(EVERYDAY) - {"clean"})
    chosen = []
    for i in range(_CALIBRATION_PICTURES + _DROP_PICTURES):
        # Every round starts one kind later: few photographs meet all of them.
        turn, which = divmod(i, len(paths))
        chosen.append(degraded_picture(paths[which], kinds[(which + turn) % len(kinds)]))
    windows = []
    for picture in chosen:
        height, width = picture.sharp.shape[:2]
        top, left = max(0, height - _WINDOW_PX) // 2, max(0, width - _WINDOW_PX) // 2
        cut = (slice(top, top + _WINDOW_PX), slice(left, left + _WINDOW_PX))
        windows.append((picture.degraded[cut].copy(), picture.sharp[cut].copy()))
    return windows
