"""The card of a model file: what it says about itself, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from whet.errors import ModelError
from whet.operators import in_short, is_text

__all__ = ["SCHEMA", "Card", "Precision"]

Precision = Literal["float32", "int8"]

SCHEMA = 1
"""Version of the JSON layout. A reader refuses any other, rather than guess."""

MAX_TEXT = 2**17
"""Letters of a card. Those that come with whet have 2,000."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model file says about itself.

    Attributes:
        name: name of these weights, as in ``--model``.
        version: version of these weights.
        architecture: key of ``whet.models.MODELS``.
        multiple: height and width must be multiples of this (pixels).
        halo: margin in pixels that makes tiles join without a seam.
        kmac_per_px: multiply-accumulates per input pixel, in thousands.
        parameters: number of weights after fusion.
        precision: what the convolutions compute in.
        recipe: the training recipe, enough to run it again.
        data: the data sets it was trained on.
        licences: of the weights and of the data.
        hardware: what it was trained on.
        hours: for how long.
        scores: suite -> metric -> number, as ``whet evaluate`` measured it.
        known_failures: what it does badly, in words.
        parity: largest difference from PyTorch in [0, 1] units, anywhere, at export.
        int8_drop_db: PSNR that quantisation cost, in dB (int8 only).
        weights_sha256: over all weights in this file; set when it is written.
        float_sha256: ``weights_sha256`` of the float file this was quantised from.
    """

    name: str
    architecture: str
    multiple: int
    halo: int
    kmac_per_px: float
    parameters: int
    version: str = "0"
    precision: Precision = "float32"
    recipe: str = ""
    data: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    hardware: str = ""
    hours: float = 0.0
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    known_failures: tuple[str, ...] = ()
    parity: float | None = None
    int8_drop_db: float | None = None
    weights_sha256: str = ""
    float_sha256: str = ""

    def to_json(self) -> str:
        """Return the card as compact JSON, keys sorted; fields at their default are left out."""
        known = {f.name: f.default for f in fields(self)}
        filled = {k: v for k, v in asdict(self).items() if v != known[k] and v not in ((), {})}
        return json.dumps(
            {"schema": SCHEMA, **filled}, sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read a card and check every field.

        Raises:
            ModelError: not a card, a schema this version does not know, or a field out of range.
        """
        if len(text) > MAX_TEXT:
            raise ModelError(f"its card is longer than {MAX_TEXT} letters; export the model again")
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError("its card is not valid JSON; fetch the file again") from error
        if not isinstance(raw, dict):
            raise ModelError("its card is not a JSON object; fetch the file again")
        schema = raw.pop("schema", None)
        if schema != SCHEMA:
            raise ModelError(
                f"its card has schema {in_short(schema)}, this version reads {SCHEMA}; "
                "upgrade whet or export the model again"
            )
        values = {}
        for f in fields(cls):
            if f.name in raw:
                values[f.name] = _checked(f.name, str(f.type), raw[f.name])
        missing = [n for n in _REQUIRED if n not in values]
        if missing:
            raise ModelError(f"its card lacks {', '.join(missing)}; export the model again")
        return cls(**values)


_REQUIRED = ("name", "architecture", "multiple", "halo", "kmac_per_px", "parameters")
_LIMITS = {"multiple": (1, 256), "halo": (0, 4096), "parameters": (0, 10**9)}
_LARGEST = 1e12  # of any other number
_NAMES = ("name", "version", "architecture", "weights_sha256", "float_sha256")
_MAX_NAME, _MAX_LINE, _MAX_ITEMS = 100, 2000, 100


def _checked(name: str, kind: str, value: Any) -> Any:
    """Return ``value`` in the Python type that the annotation ``kind`` names, or refuse it."""
    valid = False
    if kind == "str":
        valid = _is_line(value, _MAX_NAME if name in _NAMES else _MAX_LINE)
    elif kind == "Precision":
        valid = value in ("float32", "int8")
    elif kind == "int":
        low, high = _LIMITS[name]
        valid = _is_number(value) and isinstance(value, int) and low <= value <= high
    elif kind.startswith("float"):
        valid = (value is None and "None" in kind) or _is_number(value)
    elif kind.startswith("tuple"):
        valid = isinstance(value, list) and len(value) <= _MAX_ITEMS
        valid = valid and all(_is_line(item, _MAX_LINE) for item in value)
        value = tuple(value) if valid else value
    elif kind.startswith("Mapping"):
        valid = _is_table(value) and all(
            _is_table(suite) and all(map(_is_number, suite.values())) for suite in value.values()
        )
    if not valid:
        raise ModelError(
            f"its card has an unusable {name}: {in_short(value)}; export the model again"
        )
    return value


def _is_number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and -_LARGEST <= value <= _LARGEST  # which a NaN is not either


def _is_line(value: Any, most: int) -> bool:
    return isinstance(value, str) and is_text(value, most)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= _MAX_ITEMS
        and all(_is_line(key, _MAX_NAME) for key in value)
    )
