"""Quality against time: what a benchmark and an evaluation say together, as one SVG.

Run as ``python -m whet.bench.pareto BENCH.json EVALUATION.json -o PLOT.svg``. A point is one
row of the benchmark whose name the evaluation knows. The front joins those that no other beats in
both: nobody is faster and at least as good. An evaluation scores a model by its name, so the
quality of int8 and float32 is the same there; what int8 costs is on the model's card.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from whet.errors import InputError, WhetError
from whet.evaluate.report.charts import ticks
from whet.evaluate.results import Evaluation
from whet.files import replacing

__all__ = ["Point", "front", "plot", "points"]

_WIDTH, _HEIGHT = 980, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 340, 50, 60
_TIMES_MS = tuple(n * 10.0**e for e in range(-2, 6) for n in (1, 2, 5))


@dataclass(frozen=True)
class Point:
    """One contestant.

    Attributes:
        label: who, in which precision and runtime.
        ms: median time of one picture.
        gain_db: mean PSNR over the untouched picture's.
    """

    label: str
    ms: float
    gain_db: float


def points(
    bench: Mapping[str, Any],
    evaluation: Evaluation,
    *,
    suite: str | None = None,
    size: str | None = None,
    names: Mapping[str, str] | None = None,
) -> list[Point]:
    """Return what both know, the fastest first.

    Args:
        bench: JSON of a benchmark.
        evaluation: of the same models.
        suite: whose gains to take; None takes all suites together, or the only one.
        size: WIDTHxHEIGHT of the benchmark; None takes its first.
        names: name in the benchmark -> in the evaluation, where they differ.

    Raises:
        InputError: no such suite or size, or nothing in common.
    """
    results = {result.name: result for result in evaluation.suites}
    result = results.get(suite) if suite else evaluation.together() or evaluation.suites[0]
    if result is None:
        raise InputError(f"no suite {suite!r} in the evaluation; choose from {', '.join(results)}")
    gains = {row.restorer: row.gains["psnr"].mean for row in result.rows if row.gains}
    try:
        rows = [(f"{row['width']}x{row['height']}", row) for row in bench["rows"]]
        sizes = list(dict.fromkeys(found for found, _ in rows))
        wanted = size or sizes[0]
        found = [
            Point(_label(row), float(row["latency_p50_ms"]), gains[name])
            for at, row in rows
            if at == wanted and (name := (names or {}).get(row["name"], row["name"])) in gains
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"the benchmark is incomplete ({error}); run whet bench again") from error
    if wanted not in sizes:
        raise InputError(f"no size {wanted!r} in the benchmark; choose from {', '.join(sizes)}")
    if not found:
        raise InputError(
            "benchmark and evaluation have no model in common with a gain; use the same -m in both"
        )
    return sorted(found, key=lambda point: point.ms)


def _label(row: Mapping[str, Any]) -> str:
    threads = "" if row["threads"] is None else f", {row['threads']} threads"
    return f"{row['name']} {row['precision']}, {row['runtime']}{threads}"


def front(candidates: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in time and quality, the fastest first."""
    best: list[Point] = []
    for point in sorted(candidates, key=lambda p: (p.ms, -p.gain_db)):
        if not best or point.gain_db > best[-1].gain_db:
            best.append(point)
    return best


def plot(candidates: Sequence[Point], title: str) -> str:
    """Return an SVG: time to the right, logarithmic; gain upwards; the front as steps."""
    times = [point.ms for point in candidates]
    gains = [point.gain_db for point in candidates] + [0.0]
    first, last = min(times) / 1.4, max(times) * 1.4
    margin = 0.1 * (max(gains) - min(gains)) or 0.1
    low, high = min(gains) - margin, max(gains) + margin
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(ms: float) -> float:
        return _LEFT + (right - _LEFT) * math.log(ms / first) / math.log(last / first)

    def y(gain: float) -> float:
        return bottom - (bottom - _TOP) * (gain - low) / (high - low)

    shapes = [_text(_LEFT, 28, title, "title")]
    for ms in (ms for ms in _TIMES_MS if first <= ms <= last):
        shapes.append(f'<path class="grid" d="M{x(ms):.1f} {_TOP}V{bottom}"/>')
        shapes.append(_text(x(ms), bottom + 20, f"{ms:g}", "middle"))
    for gain in ticks(low, high):
        kind = "zero" if gain == 0 else "grid"
        shapes.append(f'<path class="{kind}" d="M{_LEFT} {y(gain):.1f}H{right}"/>')
        shapes.append(_text(_LEFT - 8, y(gain) + 4, f"{gain:+g}" if gain else "0", "end"))
    shapes.append(_text((_LEFT + right) / 2, _HEIGHT - 14, "ms per picture (p50)", "middle"))
    shapes.append(_text(14, _TOP - 8, "gain, dB PSNR", ""))
    best = front(candidates)
    steps = "".join(f"H{x(p.ms):.1f}V{y(p.gain_db):.1f}" for p in best[1:])
    start = f"M{x(best[0].ms):.1f} {y(best[0].gain_db):.1f}"
    shapes.append(f'<path class="front" d="{start}{steps}H{right}"/>')
    for number, point in enumerate(candidates, 1):
        kind = "dot best" if point in best else "dot"
        at = f'cx="{x(point.ms):.1f}" cy="{y(point.gain_db):.1f}"'
        told = f"{point.label}: {point.ms:.1f} ms, {point.gain_db:+.2f} dB"
        shapes.append(f'<circle class="{kind}" {at} r="6"><title>{escape(told)}</title></circle>')
        shapes.append(_text(x(point.ms), y(point.gain_db) - 10, str(number), "middle"))
        shapes.append(_text(right + 16, _TOP + 18 * number, f"{number} {point.label}", ""))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>{"".join(shapes)}</svg>\n'
    )


_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:16px;font-weight:600}"
    ".middle{text-anchor:middle}.end{text-anchor:end}path{fill:none}.grid{stroke:#ddd}"
    ".zero{stroke:#888}.front{stroke:#0b6e4f;stroke-width:2}.dot{fill:#999}.best{fill:#0b6e4f}"
)


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); check the path") from error


def main(words: Sequence[str] | None = None) -> int:
    """Write the plot; return 2 after one line on stderr where it cannot be made."""
    parser = argparse.ArgumentParser(prog="whet.bench.pareto")
    parser.add_argument("bench", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("pareto.svg"))
    parser.add_argument("--suite")
    parser.add_argument("--size", help="WIDTHxHEIGHT; default: the benchmark's first")
    parser.add_argument("--same", action="append", default=[], metavar="BENCH=EVALUATION")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args(words)
    try:
        names = dict(pair.split("=", 1) for pair in given.same if "=" in pair)
        bench, evaluation = _read(given.bench), Evaluation.from_json(_read(given.evaluation))
        found = points(bench, evaluation, suite=given.suite, size=given.size, names=names)
        title = f"Quality against time, {given.suite or 'all suites'}"
        with replacing(given.output, overwrite=given.overwrite) as temporary:
            temporary.write_text(plot(found, title), encoding="utf-8")
    except WhetError as error:
        print(f"whet: {error}", file=sys.stderr)
        return 2
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
