"""Models, their cards and the runtimes as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whet.artifact import Card, read_card

if TYPE_CHECKING:
    from whet.runtime.installed import Standing

__all__ = ["card_text", "list_text", "runtimes_text"]


def list_text(files: Mapping[str, Path]) -> str:
    """Return one line per shipped model."""
    if not files:
        return "no models came with this copy of whet"
    lines = [f"{'model':<14}{'precision':<11}{'kMAC/px':>8}{'parameters':>12}{'bytes':>10}"]
    for name, path in files.items():
        card = read_card(path)
        lines.append(
            f"{name:<14}{card.precision:<11}{card.kmac_per_px:>8.2f}"
            f"{card.parameters:>12,}{path.stat().st_size:>10,}"
        )
    return "\n".join([*lines, "", "`whet models NAME` prints a card"])


def runtimes_text(standings: Sequence[Standing]) -> str:
    """Return one line per runtime; a star marks what ``auto`` takes."""
    lines = [f"  {'runtime':<13}{'version':<13}{'computes on':<13}{'files':<9}"]
    for s in standings:
        star = "*" if s.automatic else " "
        files = s.precision if s.version else "-"
        lines.append(
            f"{star} {s.name:<13}{s.version or '-':<13}{s.device or '-':<13}{files:<9}{s.reason}"
        )
    return "\n".join([*lines, "", "* what --runtime auto takes; `whet bench` measures all of them"])


def card_text(card: Card, path: Path) -> str:
    """Return the whole card of one model."""
    rows = [
        ("architecture", card.architecture),
        ("version", card.version),
        ("precision", card.precision),
        ("compute", f"{card.kmac_per_px:.2f} kMAC/px"),
        ("parameters", f"{card.parameters:,}"),
        ("file", f"{path.stat().st_size:,} bytes"),
        ("size multiple, halo", f"{card.multiple} px, {card.halo} px"),
        ("recipe", card.recipe),
        ("data", "; ".join(card.data)),
        ("licences", "; ".join(card.licences)),
        ("trained on", f"{card.hardware}, {card.hours:.1f} h" if card.hardware else ""),
        ("parity", "" if card.parity is None else f"{card.parity * 255:.4f}/255 from PyTorch"),
        ("int8 drop", "" if card.int8_drop_db is None else f"{card.int8_drop_db:.3f} dB"),
        ("weights sha256", card.weights_sha256),
    ]
    width = max(len(key) for key, _ in rows)
    lines = [card.name, *(f"  {key:<{width}}  {value}" for key, value in rows if value)]
    for suite, values in card.scores.items():
        numbers = ", ".join(f"{metric} {value:.4g}" for metric, value in values.items())
        lines.append(f"  score {suite}: {numbers}")
    lines += [f"  known failure: {text}" for text in card.known_failures]
    return "\n".join(lines)
