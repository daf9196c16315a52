"""How a report says its numbers, in Markdown and on the page alike."""

from __future__ import annotations

import math

from whet.evaluate.metrics import MEASURES
from whet.evaluate.results import PSNR_CEILING_DB, Estimate, SuiteResult

__all__ = [
    "BEYOND",
    "READING",
    "counts",
    "gain_text",
    "interval_text",
    "leads_of",
    "number",
    "percent",
    "provenance",
    "score_text",
    "shown_gains",
]

_MINUS = "\u2212"
READING = (
    "PSNR and SSIM are taken on full-resolution 8-bit RGB. SSIM has two definitions in use: "
    "Gaussian window, each channel on its own (scikit-image), and the value of MATLAB's ssim on an "
    "RGB array, whose window crosses the channels, which deblurring papers print. Intervals are "
    "95% bootstrap intervals of the mean over pictures; gains are paired with the input, picture "
    "by picture. Not worse counts the pictures whose PSNR is at least that of the input. The best "
    "baseline is the one with the highest mean PSNR on the suite; the difference is paired too."
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
    if math.isnan(estimate.low) or (name == "psnr" and estimate.mean >= PSNR_CEILING_DB):
        return ""
    decimals = MEASURES[name].decimals
    low, high = (number(v, decimals, signed=signed) for v in (estimate.low, estimate.high))
    return f"{low} to {high}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def provenance(suite: SuiteResult) -> str:
    return f"{suite.description[:1].upper()}{suite.description[1:]}. {counts(suite)}"


def counts(suite: SuiteResult) -> str:
    pictures = len(suite.pictures)
    scenes = len({picture.scene for picture in suite.pictures})
    text = f"{pictures} picture{'s' * (pictures != 1)} of {scenes} scene{'s' * (scenes != 1)}."
    if scenes * 2 <= pictures:
        text += " Pictures of one scene are alike: intervals over as many scenes would be wider."
    return text


def gain_text(name: str, gain: Estimate) -> str:
    interval = interval_text(name, gain, signed=True)
    mean = number(gain.mean, MEASURES[name].decimals, signed=True)
    return mean + (f" ({interval})" if interval else "")


def shown_gains(suite: SuiteResult) -> dict[str, str]:
    """Return metric -> heading of the column with its paired difference to the input."""
    shown = {"psnr": "PSNR gain", "ssim": "SSIM gain", "lpips": "LPIPS change (lower is better)"}
    return {name: head for name, head in shown.items() if name in suite.rows[0].scores}


def leads_of(suite: SuiteResult) -> dict[str, tuple[str, Estimate]]:
    """Return restorer -> (best baseline, lead over it), for those that have one."""
    found = {row.restorer: suite.beyond(row.restorer) for row in suite.rows}
    return {restorer: beyond for restorer, beyond in found.items() if beyond}
