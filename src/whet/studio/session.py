"""A heavy network behind the face of every session: checks, tiles, strength, notes, time left."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.card import Card
from whet.image.sharpness import sharpness
from whet.runtime.session import check_picture
from whet.runtime.tiling import pad_to_multiple
from whet.studio.kept_tiles import KeptTiles, forget_old
from whet.studio.pace import Pace
from whet.studio.tiles import Box, Tiling, astray, blend_rows, boxes

__all__ = ["HeavyNetwork", "StudioSession", "TileDone", "expected_seconds"]

Floats = NDArray[np.float32]
Pixels = NDArray[Any]

_KEPT_PICTURES = 32
"""Finished pictures whose tiles stay until the results are safe: more than a part of a video."""
_FULL = np.float32(65535)
_SHARP = 0.24  # as the gate of videos has it


class HeavyNetwork(Protocol):
    """A network that takes tiles of one size at a time."""

    tiling: Tiling
    precision: str
    """What it computes in, such as ``bf16``."""

    def prepare(self, height: int, width: int) -> Callable[[Floats], Floats]:
        """Return what restores (height, width, 3) float32 RGB in [0, 1]; not clamped.

        May take seconds; asked for the same size again it does not.
        """


@dataclass(frozen=True)
class TileDone:
    """A tile that is finished.

    Attributes:
        number: how many are finished, this one included.
        total: of the picture.
        box: where it lies.
        pixels: what it became, of the picture's type, before blending with its neighbours.
        seconds_left: for the picture; None while only kept tiles were read.
    """

    number: int
    total: int
    box: Box
    pixels: Pixels
    seconds_left: float | None


class StudioSession:
    """See :class:`whet.runtime.Session`; one picture at a time.

    Args:
        card: of the network.
        runtime: what computes, in a word.
        network: the network.

    Attributes:
        on_tile: called after every tile; what it raises ends the run, whose tiles are kept.
        keeps_tiles: on disk, so that a run that breaks off goes on.
        slow: marks sessions that take seconds or minutes for a picture.
    """

    slow = True

    def __init__(self, card: Card, runtime: str, network: HeavyNetwork) -> None:
        self.card = card
        self.runtime = runtime
        self.keeps_tiles = True
        self.on_tile: Callable[[TileDone], None] | None = None
        self.pace = _pace(card.name, runtime, network.precision, network.tiling)
        self._network = network
        self._finished: list[KeptTiles] = []
        # Whoever forgets to forget leaves nothing behind either, unless the process is killed.
        weakref.finalize(self, _remove, self._finished)
        self._notes: list[str] = []
        forget_old()

    def __repr__(self) -> str:
        return f"<{self.card.name} {self._network.precision} in {self.runtime}>"

    def restore(self, image: Pixels, strength: float = 1.0) -> Pixels:
        """See :meth:`whet.runtime.Session.restore`."""
        check_picture(image, strength)
        if strength == 0:
            return image.copy()
        tiling, network = self._network.tiling, self._network
        height, width = image.shape[:2]
        rows = boxes(height, width, tiling)
        kept = KeptTiles(image, self.card.weights_sha256, self.runtime, network.precision, tiling)
        kept.off = not self.keeps_tiles
        run = _Run(self, image, rows, kept)
        restored = np.empty_like(image)
        for top, band in blend_rows(rows, tiling.overlap, run.tile):
            part = slice(top, top + len(band))
            restored[part] = _mixed(image[part], band, strength)
        self._notes += run.notes
        measured = sharpness(image)
        if measured is not None and measured >= _SHARP:
            self._notes.append(
                f"the picture looked sharp before, which {self.card.name} is not made for; "
                "compare the two, or give a smaller --strength"
            )
        self._finish(kept)
        return restored

    def estimate_seconds(self, height: int, width: int) -> float:
        """Return about how long a picture takes: as the last ones did, or by its arithmetic."""
        tiling, size = self._network.tiling, (height, width)
        return _expected(self.pace, tiling, self.card.kmac_per_px, size)

    def take_notes(self) -> tuple[str, ...]:
        """Return what was to be said since the last call, in sentences."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def forget(self) -> None:
        """Remove the kept tiles of finished pictures; call it when their results are safe.

        The end of the process does so too.
        """
        _remove(self._finished)

    def hold(self) -> None:
        """Let them outlive this process, as their results could not be written."""
        self._finished.clear()

    def run_tile(self, image: Pixels) -> NDArray[np.uint16] | None:
        """Restore one tile; None where the network went astray."""
        degraded = _unit(image)
        padded = pad_to_multiple(degraded, self._network.tiling.multiple)
        restored = self._network.prepare(*padded.shape[:2])(np.ascontiguousarray(padded))
        restored = restored[: image.shape[0], : image.shape[1]]
        if astray(degraded, restored):
            return None
        return np.rint(restored.clip(0, 1) * _FULL).astype(np.uint16)

    def prepare(self, box: Box) -> None:
        """Compile for a tile, so that its time is its own."""
        multiple = self._network.tiling.multiple
        height, width = (-(-side // multiple) * multiple for side in (box.height, box.width))
        self._network.prepare(height, width)

    def _finish(self, kept: KeptTiles) -> None:
        self._finished.append(kept)
        if len(self._finished) > _KEPT_PICTURES:
            self._finished.pop(0).remove()


def expected_seconds(
    name: str,
    runtime: str,
    precision: str,
    tiling: Tiling,
    kmac_per_px: float,
    size: tuple[int, int],
) -> float:
    """Return about how long a network takes for a picture of (height, width), unopened."""
    return _expected(_pace(name, runtime, precision, tiling), tiling, kmac_per_px, size)


def _pace(name: str, runtime: str, precision: str, tiling: Tiling) -> Pace:
    return Pace(f"{name} {runtime} {tiling.size}", precision)


def _expected(pace: Pace, tiling: Tiling, kmac_per_px: float, size: tuple[int, int]) -> float:
    tiles = sum(len(row) for row in boxes(*size, tiling))
    return tiles * pace.seconds(kmac_per_px * 1e3 * tiling.size**2)


def _remove(finished: list[KeptTiles]) -> None:
    while finished:
        finished.pop().remove()


class _Run:
    """One picture on its way through its tiles."""

    def __init__(
        self, session: StudioSession, image: Pixels, rows: Sequence[Sequence[Box]], kept: KeptTiles
    ) -> None:
        self._session, self._image, self._kept = session, image, kept
        self._total = sum(len(row) for row in rows)
        self._done = 0
        self._computed = 0
        self._left_as_they_were: list[Box] = []

    @property
    def notes(self) -> list[str]:
        notes = []
        if boxes_ := self._left_as_they_were:
            places = ", ".join(f"({box.left}, {box.top})" for box in boxes_[:5])
            more = f" and {len(boxes_) - 5} more" if len(boxes_) > 5 else ""
            side = f"{boxes_[0].width} x {boxes_[0].height} pixels"
            notes.append(
                f"{self._session.card.name} went astray in {len(boxes_)} of {self._total} tiles, "
                f"which were left as they were: {side} at {places}{more}"
            )
        if self._kept.full:
            notes.append(
                "the cache took no more tiles, so that a run that breaks off begins anew; "
                "free some space or set WHET_CACHE to another folder"
            )
        return notes

    def tile(self, box: Box) -> Floats:
        """Return a tile, kept or computed, as float32 in [0, 1]."""
        number, degraded = self._done, box.of(self._image)
        known = self._kept.left_as_it_was(number)
        restored = None if known else self._kept.load(number, degraded.shape)
        if restored is None and not known:
            restored = self._compute(number, box, degraded)
        if restored is None:
            self._left_as_they_were.append(box)
        values = _unit(degraded if restored is None else restored)
        self._done += 1
        if self._session.on_tile is not None:
            pixels = _mixed(degraded, values, 1.0)
            left = self._session.pace.measured if self._computed else None
            seconds = None if left is None else left * (self._total - self._done)
            self._session.on_tile(TileDone(self._done, self._total, box, pixels, seconds))
        return values

    def _compute(self, number: int, box: Box, degraded: Pixels) -> NDArray[np.uint16] | None:
        self._session.prepare(box)
        started = time.perf_counter()
        restored = self._session.run_tile(degraded)
        self._session.pace.took(time.perf_counter() - started, anew=self._computed == 0)
        self._computed += 1
        self._kept.keep(number, restored)
        return restored


def _unit(image: Pixels) -> Floats:
    """Return bytes or 16-bit values as float32 in [0, 1]."""
    values: Floats = np.divide(image, np.iinfo(image.dtype).max, dtype=np.float32)
    return values


def _mixed(degraded: Pixels, restored: Floats, strength: float) -> Pixels:
    """Return ``degraded + strength * (restored - degraded)``, rounded to the type of ``degraded``.

    What was not changed comes back exactly: float32 holds every value of 16 bits.
    """
    full = np.iinfo(degraded.dtype).max
    if not math.isclose(strength, 1.0):
        before = _unit(degraded)
        restored = before + np.float32(strength) * (restored - before)
    return np.rint(restored.clip(0, 1) * np.float32(full)).astype(degraded.dtype)
