"""One clock for a file that holds several: recordings joined, a camera that restarted.

Streams carry the clock of whoever made them, and a seam carries two. As FFmpeg's own tool does,
what follows a seam is moved to where the stream before it was about to go on, and all streams by
the same amount, so that picture and sound stay together.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

from av.format import Flags

__all__ = ["BACK_S", "FORWARD_S", "Timeline", "move"]

BACK_S = Fraction(1, 10)
"""A packet that is due so many seconds before the one it follows comes behind a seam."""

FORWARD_S = Fraction(10)
"""So does one that is due so much later, in formats whose clocks are known to jump."""

_MAY_JUMP: int = cast(Any, Flags.ts_discont).value


class Timeline:
    """Moves the packets of a file, given in file order, onto one clock.

    Args:
        container: the open file.

    Attributes:
        may_jump: clocks of its format are known to.
        seams: jumps found so far.
    """

    def __init__(self, container: Any) -> None:
        self.may_jump = bool(container.format.flags & _MAY_JUMP)
        self._offset = Fraction(0)
        self._last: dict[int, tuple[Fraction, Fraction]] = {}  # stream -> its last packet, end
        self._latest: Fraction | None = None
        self.seams = 0

    def place(self, packet: Any) -> None:
        """Put the times of a packet right."""
        if packet.dts is None and packet.pts is None:
            return
        move(packet, self._offset)
        if packet.dts is None or packet.stream.type not in ("video", "audio"):
            return
        if jump := self._jump(packet):
            self.seams += 1
            self._offset -= jump
            move(packet, -jump)
        self._latest = packet.dts * packet.time_base
        self._last[packet.stream_index] = self._latest, self._latest + _length_s(packet)

    def _jump(self, packet: Any) -> Fraction:
        """Return by how many seconds a packet misses where its stream was to go on."""
        due = packet.dts * packet.time_base
        last, end = self._last.get(packet.stream_index, (None, self._latest))
        if end is None:
            return Fraction(0)
        back = last is not None and due + BACK_S < last
        if back or (self.may_jump and abs(due - end) > FORWARD_S):
            return cast(Fraction, due - end)
        return Fraction(0)


def move(packet: Any, by_s: Fraction) -> None:
    """Let a packet be due by so many seconds later."""
    steps = round(by_s / packet.time_base)
    if steps:
        packet.dts = None if packet.dts is None else packet.dts + steps
        packet.pts = None if packet.pts is None else packet.pts + steps


def _length_s(packet: Any) -> Fraction:
    if packet.duration:
        return cast(Fraction, packet.duration * packet.time_base)
    rate = packet.stream.average_rate if packet.stream.type == "video" else None
    return 1 / Fraction(rate) if rate else Fraction(0)
