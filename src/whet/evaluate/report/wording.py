"""How a report says its numbers, in Markdown and on the page alike."""

from __future__ import annotations

import math

from whet.evaluate.families import FamilyRow
from whet.evaluate.metrics import MEASURES
from whet.evaluate.results import PSNR_CEILING_DB, Estimate, Row, SuiteResult

__all__ = [
    "BEYOND",
    "ORACLE",
    "READING",
    "counts",
    "gain_text",
    "interval_text",
    "leads_of",
    "lost_text",
    "number",
    "percent",
    "provenance",
    "score_text",
    "shown_gains",
    "worst_text",
]

_MINUS = "\u2212"
READING = (
    "PSNR and SSIM are taken on full-resolution 8-bit RGB. SSIM has two definitions in use: "
    "Gaussian window, each channel on its own (scikit-image), and the value of MATLAB's ssim on an "
    "RGB array, whose window crosses the channels, which deblurring papers print. Intervals are "
    "95% intervals of the mean over scenes, since pictures of one scene are alike; a single scene "
    "has none. Gains are paired with the input, picture by picture. Made worse counts the pictures "
    "whose PSNR is below that of the input, and the worst case is the smallest gain of them all. "
    "The best baseline is the one with the highest mean PSNR on the suite; the difference is "
    "paired too."
)
ORACLE = (
    "best-mask is an oracle and nobody's to use: for each suite the best of several unsharp masks "
    "of Pillow, chosen by the very pictures that are scored. A point lost to a mask is a suite on "
    "which its mean PSNR is higher."
)
BEYOND = "PSNR over the best baseline"


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", _MINUS)


def score_text(name: str, estimate: Estimate) -> str:
    if name == "psnr" and estimate.mean >= PSNR_CEILING_DB:
        return "identical"
    return number(estimate.mean, MEASURES[name].decimals)


def interval_text(name: str, estimate: Estimate, *, signed: bool = False) -> str:
    if name == "psnr" and estimate.mean >= PSNR_CEILING_DB:
        return ""
    if math.isnan(estimate.low):
        return "one scene"
    decimals = MEASURES[name].decimals
    low, high = (number(v, decimals, signed=signed) for v in (estimate.low, estimate.high))
    return f"{low} to {high}"


def percent(share: float | None) -> str:
    """Return a share; one that is not nothing is not rounded to nothing."""
    if share is None:
        return ""
    return "<1%" if 0 < share < 0.005 else f"{100 * share:.0f}%"


def provenance(suite: SuiteResult) -> str:
    return f"{suite.description[:1].upper()}{suite.description[1:]}. {counts(suite)}"


def counts(suite: SuiteResult) -> str:
    pictures = len(suite.pictures)
    scenes = len({picture.scene for picture in suite.pictures})
    text = f"{pictures} picture{'s' * (pictures != 1)} of {scenes} scene{'s' * (scenes != 1)}."
    return text + "".join(f" {name}: {what}." for name, what in suite.settings.items())


def gain_text(name: str, gain: Estimate) -> str:
    interval = interval_text(name, gain, signed=True)
    mean = number(gain.mean, MEASURES[name].decimals, signed=True)
    return mean + (f" ({interval})" if interval else "")


def shown_gains(suite: SuiteResult) -> dict[str, str]:
    """Return metric -> heading of the column with its paired difference to the input."""
    shown = {
        "psnr": "PSNR gain",
        "ssim": "SSIM gain",
        "lpips": "LPIPS change (lower is better)",
        "dists": "DISTS change (lower is better)",
    }
    return {name: head for name, head in shown.items() if name in suite.rows[0].scores}


def worst_text(row: Row) -> str:
    return "" if row.worst_db is None else number(row.worst_db, 2, signed=True)


def lost_text(row: FamilyRow) -> str:
    return "" if row.lost is None else f"{row.lost} of {row.points}"


def leads_of(suite: SuiteResult) -> dict[str, tuple[str, Estimate]]:
    """Return restorer -> (best baseline, lead over it), for those that have one."""
    found = {row.restorer: suite.beyond(row.restorer) for row in suite.rows}
    return {restorer: beyond for restorer, beyond in found.items() if beyond}
