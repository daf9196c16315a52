"""The session that every runtime shares: checks, strength, bit depth, tiles."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.artifact import Card
from whet.errors import InputError
from whet.graph.yuv420_io import Colours
from whet.runtime.flat_areas import keep_flat, keep_flat_blocks
from whet.runtime.tiling import TILE_PX, restore_tiled
from whet.runtime.yuv420 import Planar, Planes, from_blocks, to_blocks

__all__ = [
    "ArtifactSession",
    "Engine",
    "PlanarSession",
    "check_picture",
    "check_strength",
    "planar_session",
]

MOST_STRENGTH = 2.0


class Engine(Protocol):
    """What a runtime must be able to do, from several threads at once.

    Heights and widths are multiples of the card's.
    """

    def restore_bytes(self, image: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
        """Restore C-contiguous uint8 (H, W, 3); blend in float32, round to nearest."""

    def restore_floats(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restore float32 (H, W, 3) in [0, 1]."""

    def planar(self, colours: Colours) -> Planar | None:
        """Return what restores 4:2:0 video of ``colours``; None where there is no such way."""


class ArtifactSession:
    """A model file opened in one runtime. See :class:`whet.runtime.Session`."""

    def __init__(self, card: Card, runtime: str, engine: Engine) -> None:
        self._card = card
        self._runtime = runtime
        self._engine = engine

    @property
    def card(self) -> Card:
        return self._card

    @property
    def runtime(self) -> str:
        return self._runtime

    def __repr__(self) -> str:
        return f"<{self._card.name} {self._card.precision} in {self._runtime}>"

    def restore(self, image: NDArray[Any], strength: float = 1.0) -> NDArray[Any]:
        """See :meth:`whet.runtime.Session.restore`."""
        check_picture(image, strength)
        if strength == 0:
            return image.copy()

        def run(tile: NDArray[Any]) -> NDArray[Any]:
            if tile.dtype == np.uint8:
                return self._engine.restore_bytes(tile, strength)
            return self._restore_deep(tile, strength)

        restored = restore_tiled(run, image, multiple=self._card.multiple, halo=self._card.halo)
        # Whatever layout an engine or a crop leaves.
        return np.ascontiguousarray(keep_flat(image, restored))

    def planar(self, colours: Colours) -> PlanarSession | None:
        """Return what restores 4:2:0 frames of 8 bits without a detour over RGB.

        Args:
            colours: of all the frames to come.

        Returns:
            None where the model or the runtime has no way to do so.
        """
        engine = self._engine.planar(colours)
        return None if engine is None else PlanarSession(self._card, engine)

    def _restore_deep(self, tile: NDArray[np.uint16], strength: float) -> NDArray[np.uint16]:
        # float32 holds every 16-bit value exactly: no residual, no change.
        degraded: NDArray[np.float32] = np.divide(tile, 65535, dtype=np.float32)
        restored = self._engine.restore_floats(degraded)
        if strength != 1:
            restored = degraded + np.float32(strength) * (restored - degraded)
        return np.rint(restored.clip(0, 1) * np.float32(65535)).astype(np.uint16)


class PlanarSession:
    """Restores 4:2:0 frames; see :meth:`ArtifactSession.planar`.

    Attributes:
        at_once: frames that are best restored at the same time, by as many threads.
    """

    def __init__(self, card: Card, engine: Planar) -> None:
        self._engine, self._card = engine, card
        self.at_once = engine.at_once

    def blocks(self, planes: Planes) -> NDArray[np.uint8]:
        """Return a frame of any size as :meth:`restore` takes it."""
        return to_blocks(planes, self._engine.block, self._card.multiple)

    def restore(self, blocks: NDArray[np.uint8], strength: float = 1.0) -> NDArray[np.uint8]:
        """Return ``degraded + strength * (restored - degraded)``, rounded to bytes.

        Args:
            blocks: from :meth:`blocks`; not modified.
            strength: above 0; 1 is what the network makes of it.

        Returns:
            C-contiguous, of the shape of ``blocks``.
        """
        block = self._engine.block

        def run(tile: NDArray[Any]) -> NDArray[Any]:
            restored: NDArray[Any] = self._engine.run(tile[None], strength)[0]
            return restored

        restored = restore_tiled(
            run,
            blocks,
            multiple=max(1, self._card.multiple // block),
            halo=-(-self._card.halo // block),
            tile=TILE_PX // block,
        )
        return keep_flat_blocks(np.ascontiguousarray(blocks), restored, block)

    def planes(self, blocks: NDArray[np.uint8], height: int, width: int) -> Planes:
        """Invert :meth:`blocks`."""
        return from_blocks(blocks, self._engine.block, height, width)


def planar_session(session: Any, colours: Colours) -> PlanarSession | None:
    """Return the planar side of a session; None where it has none, as those of other people."""
    planar = getattr(session, "planar", None)
    return None if planar is None else planar(colours)


def check_picture(image: NDArray[Any], strength: float) -> None:
    """Raise InputError unless a session can restore ``image`` with ``strength``."""
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        kind = getattr(image, "dtype", type(image).__name__)
        raise InputError(f"a picture is a uint8 or uint16 array, not {kind}; convert it first")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"a picture has shape (H, W, 3), not {image.shape}; drop alpha, add RGB")
    check_strength(strength)


def check_strength(strength: float, error: type[InputError] = InputError) -> None:
    """Refuse a strength beyond 0 to 2, the one rule for pictures, videos and live streams.

    Raises:
        InputError: it is outside, or no number, as ``error``.
    """
    if not 0 <= strength <= MOST_STRENGTH:
        raise error(f"strength is {strength}; choose 0 (nothing) to 2, 1 is normal")
