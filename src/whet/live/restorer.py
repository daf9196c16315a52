"""A live frame through a model: in planes where the model has a way, by RGB where it has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whet.artifact import read_card, resolve, shipped
from whet.live.picture import Form
from whet.live.sources import Clock
from whet.runtime.session import planar_session
from whet.runtime.yuv420 import FORMATS, Planes
from whet.video.decode.rgb import RgbWay
from whet.video.stabilise import Stabiliser

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["TRIALS", "LiveRestorer", "Rung", "smaller_models"]

TRIALS = 3
"""Frames by which a run learns what a model costs: other programs disturb single ones."""

Way = Callable[[Planes, float], Planes]


@dataclass(frozen=True)
class Rung:
    """A model to choose from; without a session, frames pass as they are."""

    name: str
    session: Session | None


def smaller_models(model: str | Path) -> tuple[str, ...]:
    """Return the shipped models that compute less than ``model``, the largest first.

    Raises:
        ModelError: there is no such model.
    """
    wanted_kmac = read_card(resolve(model)).kmac_per_px
    cards = {name: read_card(path) for name, path in shipped().items()}
    kmac = {n: c.kmac_per_px for n, c in cards.items() if c.precision == "float32"}
    smaller = [name for name in kmac if kmac[name] < wanted_kmac]
    return tuple(sorted(smaller, key=lambda name: -kmac[name]))


class LiveRestorer:
    """The models of a run, ready for frames of one form. Used by one thread at a time.

    Args:
        rungs: models, best first.
        form: of the frames.
        strength: scales what restoration changes.
        steady: keep restoration from trembling; see :mod:`whet.video.stabilise`.
    """

    def __init__(
        self, rungs: Sequence[Rung], form: Form, *, strength: float = 1.0, steady: bool = True
    ) -> None:
        self._form, self._strength = form, strength
        self._stabiliser = Stabiliser() if steady else None
        self._last: int | None = None
        self._ways = [self._way(rung.session) for rung in rungs]

    def costs_ms(self, clock: Clock) -> tuple[float, ...]:
        """Return what a frame takes through each model once it is compiled: the least of a few.

        Args:
            clock: measures.
        """
        grey = Planes.empty(self._form.height, self._form.width)
        for plane in grey:
            plane[:] = 128
        grey.y[::2, ::2] = 90  # a flat picture is left alone
        costs = []
        for index in range(len(self._ways)):
            self.restore(index, grey)
            times_s = []
            for _ in range(TRIALS):
                began_s = clock.now()
                self.restore(index, grey)
                times_s.append(clock.now() - began_s)
            costs.append(1000 * min(times_s))
        self._last = None
        return tuple(costs)

    def restore(self, rung: int, planes: Planes) -> Planes:
        """Return a frame as the model of a rung restores it."""
        if rung != self._last and self._stabiliser is not None:
            self._stabiliser.reset()
        self._last = rung
        return self._ways[rung](planes, self._strength)

    def _way(self, session: Session | None) -> Way:
        if session is None:
            return lambda planes, _: planes
        planar = planar_session(session, self._form.colours)
        rgb = RgbWay(self._form.matrix, self._form.full_range, deep=False)

        def in_planes(planes: Planes, strength: float) -> Planes:
            assert planar is not None
            blocks = planar.blocks(planes)
            restored = planar.restore(blocks, strength) if strength else blocks
            if self._stabiliser is not None:
                restored = self._stabiliser(blocks, restored)
            return planar.planes(restored, *planes.shape)

        def by_rgb(planes: Planes, strength: float) -> Planes:
            pixels = rgb.to_rgb(planes.frame)
            restored = session.restore(pixels, strength)
            if self._stabiliser is not None:
                restored = self._stabiliser(pixels, restored)
            return Planes(rgb.from_rgb(restored, FORMATS[0]))

        return by_rgb if planar is None else in_planes
