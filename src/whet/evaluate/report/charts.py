"""Small charts as inline SVG, drawn here so that a report needs no plotting library.

Horizontal positions are percentages, so charts fit a phone and a desk alike
while their text keeps its size; colours come from the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from whet.evaluate.results import Row

__all__ = ["curves", "gain_strips", "ticks"]

ROW_PX = 46
_POINTS = 240  # per curve: more than a screen can show of a small chart


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about ``count`` round numbers that lie in [low, high]."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= count:
            step *= factor
            break
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def gain_strips(rows: Sequence[Row], pictures: Sequence[str]) -> str:
    """Draw the PSNR gain of every picture: one strip per restorer, its mean and interval on top.

    Args:
        rows: identity first; the others need gains.
        pictures: names, in the order of the rows' values.

    Returns:
        HTML, empty when no row has a gain.
    """
    identity, others = rows[0], [row for row in rows[1:] if row.gains]
    if not others:
        return ""
    gains = {
        row.restorer: [
            (name, after - before)
            for name, after, before in zip(
                pictures, row.values["psnr"], identity.values["psnr"], strict=True
            )
        ]
        for row in others
    }
    everything = [gain for dots in gains.values() for _, gain in dots] + [0.0]
    low, high = min(everything), max(everything)
    margin = 0.06 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def x(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    marks = ticks(low, high)
    strips = [_strip(row, gains[row.restorer], x, marks) for row in others]
    labels = "".join(f'<span style="left:{x(mark)}">{_mark(mark)}</span>' for mark in marks)
    axis = f'<div class="axis"><div>{labels}</div><p>PSNR gain over the input, dB</p></div>'
    return f'<div class="strips">{"".join(strips)}{axis}</div>'


def _mark(value: float) -> str:
    return f"{value:+g}".replace("-", "\u2212") if value else "0"


def _strip(row: Row, dots: Sequence[tuple[str, float]], x: object, marks: Sequence[float]) -> str:
    assert callable(x)
    middle = ROW_PX // 2
    shapes = [
        f'<line class="{"zero" if mark == 0 else "grid"}" x1="{x(mark)}" x2="{x(mark)}" '
        f'y1="0" y2="{ROW_PX}"/>'
        for mark in marks
    ]
    for index, (name, gain) in enumerate(dots):
        # Spread by the golden ratio: even, and the same in every report.
        y = middle + (((index * 0.618034) % 1) - 0.5) * (ROW_PX - 18)
        kind = "dot" if gain >= 0 else "dot worse"
        title = f"<title>{escape(name)}: {gain:+.2f} dB</title>"
        shapes.append(
            f'<circle class="{kind}" cx="{x(gain)}" cy="{y:.1f}" r="3.5">{title}</circle>'
        )
    mean = row.gains["psnr"]
    if not math.isnan(mean.low):
        shapes.append(
            f'<line class="interval" x1="{x(mean.low)}" x2="{x(mean.high)}" '
            f'y1="{middle}" y2="{middle}"/>'
        )
    shapes.append(f'<circle class="mean" cx="{x(mean.mean)}" cy="{middle}" r="5"/>')
    label = f"{escape(row.restorer)}: mean gain {mean.mean:+.2f} dB"
    return (
        f'<div class="strip"><b>{escape(row.restorer)}</b>'
        f'<svg height="{ROW_PX}" role="img" aria-label="{label}">{"".join(shapes)}</svg></div>'
    )


def curves(log: Sequence[Mapping[str, float]]) -> str:
    """Draw one small chart per named value of a training log.

    Args:
        log: records such as ``{"step": 100, "total": .12, "l1": .08}``; a name
            may be missing from some of them. Values that are not finite break the line.

    Returns:
        HTML, empty for an empty log.
    """
    names = dict.fromkeys(name for record in log for name in record if name != "step")
    charts = []
    for name in names:
        points = [
            (float(record["step"]), float(record[name]))
            for record in log
            if name in record and math.isfinite(record[name])
        ]
        if points:
            charts.append(_curve(name, _thinned(points)))
    return f'<div class="curves">{"".join(charts)}</div>' if charts else ""


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours until the chart can show every point."""
    size = math.ceil(len(points) / _POINTS)
    blocks = [points[i : i + size] for i in range(0, len(points), size)]
    return [
        (sum(step for step, _ in block) / len(block), sum(v for _, v in block) / len(block))
        for block in blocks
    ]


def _curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    values = [value for _, value in points]
    logarithmic = min(values) > 0 and max(values) > 10 * min(values)

    def scale(value: float) -> float:
        return math.log10(value) if logarithmic else value

    low, high = scale(min(values)), scale(max(values))
    first, last = points[0][0], points[-1][0]
    path = " ".join(
        f"{100 * (step - first) / ((last - first) or 1):.2f},"
        f"{56 - 52 * (scale(value) - low) / ((high - low) or 1):.2f}"
        for step, value in points
    )
    note = ", logarithmic" if logarithmic else ""
    return (
        f'<figure class="curve"><figcaption><b>{escape(name)}</b> '
        f"<span>{values[0]:.4g} → {values[-1]:.4g}</span></figcaption>"
        f'<div class="plot"><span>{max(values):.3g}</span>'
        f'<svg viewBox="0 0 100 60" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(name)} from {values[0]:.4g} to {values[-1]:.4g}">'
        f'<polyline points="{path}"/></svg><span>{min(values):.3g}</span></div>'
        f"<p>step {first:g} to {last:g}{note}</p></figure>"
    )
