"""``whet models``: models, their cards and the runtimes as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli.console import out
from whet.cli.options import AsJson

if TYPE_CHECKING:
    from whet.artifact import Card
    from whet.runtime.installed import Standing

__all__ = ["card_text", "heavy_card", "heavy_text", "list_text", "models", "runtimes_text"]


def models(
    name: Annotated[str | None, typer.Argument(help="a model: print its card")] = None,
    runtimes: Annotated[
        bool, typer.Option("--runtimes", help="what can compute here, and what auto takes")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that come with whet, or print the card of one."""
    from whet.artifact import read_card, resolve, shipped
    from whet.studio import STUDIO

    if runtimes:
        from whet.runtime.installed import survey

        standings = survey()
        out(json.dumps([vars(s) for s in standings]) if as_json else runtimes_text(standings))
        return
    if name is not None and name in STUDIO:
        out(json.dumps(heavy_facts(name), indent=1) if as_json else heavy_card(name))
        return
    if name is not None:
        path = resolve(name)
        card = read_card(path)
        out(card.to_json() if as_json else card_text(card, path))
        return
    files = shipped()
    if as_json:
        out(json.dumps({n: json.loads(read_card(p).to_json()) for n, p in files.items()}))
        return
    out(list_text(files))
    out("\n" + heavy_text())


def list_text(files: Mapping[str, Path]) -> str:
    """Return one line per shipped model."""
    from whet.artifact import read_card

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


def heavy_facts(name: str) -> dict[str, object]:
    """Return what is known of a heavy network without opening it."""
    from whet.fetch.weights import FETCHABLE, cached
    from whet.studio import STUDIO

    named = STUDIO[name]
    item = FETCHABLE[named.weights]
    return {
        "name": name,
        "does": named.summary,
        "weights": named.weights,
        "here": cached(named.weights) is not None,
        "parameters": item.parameters,
        "licence": item.licence,
        "known_failures": list(named.known_failures),
    }


def heavy_card(name: str) -> str:
    """Return these facts as text."""
    from whet.studio import STUDIO

    facts, failures = heavy_facts(name), STUDIO[name].known_failures
    lines = [name]
    for key in ("does", "licence", "parameters"):
        lines.append(f"  {key:<11} {facts[key]}")
    here = "here" if facts["here"] else f"not here; run: whet data fetch {facts['weights']}"
    lines.append(f"  {'weights':<11} {facts['weights']}, {here}")
    lines += [f"  known failure: {text}" for text in failures]
    return "\n".join(lines)


def heavy_text() -> str:
    """Return one line per heavy network."""
    from whet.studio import STUDIO

    lines = [f"{'heavy':<14}{'weights':<13}{'here':<6}licence"]
    for name in STUDIO:
        facts = heavy_facts(name)
        here = "yes" if facts["here"] else "no"
        lines.append(f"{name:<14}{facts['weights']:<13}{here:<6}{facts['licence']}")
    return "\n".join(lines)


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
