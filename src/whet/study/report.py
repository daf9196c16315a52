"""A result as JSON, Markdown, CSV and plots; a value is never written without N and interval."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whet.errors import InputError, Kind
from whet.files import reason, replacing
from whet.study.design import Rating
from whet.study.plan import PROTOCOLS
from whet.study.statistics.inference import Estimate
from whet.study.statistics.result import Result

__all__ = ["FILES", "plot", "to_markdown", "write_result"]

FILES = ("results.json", "results.md", "scores.csv", "items.csv", "contrasts.csv", "ratings.csv")
PLOT_FILE = "results.svg"

_READING = (
    "Conditions of this study are compared by the bias-removed column; MOS says what another panel "
    "would answer, and its interval also holds how strict people are. "
    "All intervals are 95% intervals over participants; each participant's ratings are averaged "
    "before, so N is the number of people. They speak of other people looking at these scenes, not "
    "of other scenes. MOS: mean opinion score, Student's t interval. Bias removed: ITU-T P.913 "
    "12.4, interval after Morey (2008), for comparisons within this panel. DMOS: ITU-T P.910, "
    "rating minus rating of the hidden reference plus the top of the scale. Recovered: maximum "
    "likelihood with bias and inconsistency of each participant, ITU-T P.910 Annex E (Li and "
    "Bampis 2017)."
)
_READING_PAIRS = (
    "Strengths are Bradley-Terry log-odds with mean 0: a difference of 1.1 means being preferred "
    "three times in four. Intervals are 95% intervals over participants (sandwich covariance, "
    "Student's t). They speak of other people looking at these scenes, not of other scenes."
)
_TESTS = "Every condition against every other; p is corrected for their number (Holm 1979)."


def write_result(
    result: Result, ratings: Iterable[Rating], folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Write all of :data:`FILES`, and a plot where matplotlib is installed.

    Args:
        result: of :func:`whet.study.statistics.analysis.analyse`.
        ratings: what it came from, for ratings.csv: everything needed to compute it anew.
        folder: created where missing.
        overwrite: whether files of an earlier analysis may be replaced.

    Returns:
        The files.

    Raises:
        InputError: a file exists, or the folder cannot be written.
    """
    # One list decides what is asked about and what is written.
    names = [*FILES, *([PLOT_FILE] if find_spec("matplotlib") else [])]
    taken = [name for name in names if (folder / name).exists()]
    if taken and not overwrite:
        raise InputError(f"{folder / taken[0]} exists already", Kind.EXISTS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be a folder of results: {reason(error)}") from error
    writers: Mapping[str, Callable[[], str]] = {
        "results.json": lambda: json.dumps(result.to_json(), indent=1),
        "results.md": lambda: to_markdown(result),
        "scores.csv": lambda: _csv(_score_rows(result)),
        "items.csv": lambda: _csv(_item_rows(result)),
        "contrasts.csv": lambda: _csv(_contrast_rows(result)),
        "ratings.csv": lambda: _csv([vars(rating) for rating in ratings]),
        PLOT_FILE: lambda: plot(result),
    }
    for name in names:
        with replacing(folder / name, overwrite=overwrite) as temporary:
            temporary.write_text(writers[name](), encoding="utf-8")
    return [folder / name for name in names]


def to_markdown(result: Result) -> str:
    """Return the result as a document: scores, contrasts, participants, how to read them."""
    paired = bool(result.preferences)
    lines = [
        f"# {result.title}",
        "",
        f"{PROTOCOLS[result.protocol].title}; {result.scenes} scenes; {result.kept} of "
        f"{len(result.raters)} participants.",
        "",
        f"Question: {result.question}",
        "",
    ]
    if result.scale:
        numbered = (f"{i} {label}" for i, label in enumerate(result.scale, start=1))
        lines += [f"Scale: {', '.join(numbered)}.", ""]
    if not result.screened:
        lines += ["**Not screened**: only unfinished participants are left out.", ""]
    lines += _preference_table(result) if paired else _score_table(result)
    lines += ["", "## Differences", "", _TESTS, ""]
    head = ["first", "second", "difference", "95% interval", "N", "p (Holm)", ""]
    rows = [
        [
            c.first,
            c.second,
            f"{c.difference.value:+.2f}",
            f"{c.difference.low:+.2f} to {c.difference.high:+.2f}",
            str(c.difference.n),
            "<0.001" if c.p_holm < 0.001 else f"{c.p_holm:.3f}",
            "differ" if c.significant else "",
        ]
        for c in result.contrasts
    ]
    lines += [*_table(head, rows), "", "## Participants", ""]
    left_out = [rater for rater in result.raters if rater.rejected]
    lines += [f"- participant {r.participant}: {r.rejected}" for r in left_out]
    lines += [] if left_out else ["Nobody was left out."]
    return "\n".join([*lines, "", "## Reading", "", _READING_PAIRS if paired else _READING, ""])


def _score_table(result: Result) -> list[str]:
    head = ["condition", "N", "ratings", "bias removed", "DMOS", "recovered", "MOS"]
    rows = [
        [
            s.condition,
            str(s.mos.n),
            str(s.ratings),
            _text(s.unbiased),
            _text(s.dmos) if s.dmos else "reference",
            _text(s.recovered),
            _text(s.mos),
        ]
        for s in sorted(result.scores, key=lambda s: -s.mos.value)
    ]
    return _table(head, rows)


def _preference_table(result: Result) -> list[str]:
    head = ["condition", "N", "chosen", "of", "strength"]
    rows = [
        [p.condition, str(p.strength.n), str(p.wins), str(p.choices), _text(p.strength)]
        for p in sorted(result.preferences, key=lambda p: -p.strength.value)
    ]
    return _table(head, rows)


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    # A method is called what its author calls it; a bar would end the cell.
    safe = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *safe]]


def _spread(name: str, estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {name: "", f"{name}_low": "", f"{name}_high": "", f"{name}_n": ""}
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_n": estimate.n,
    }


def _score_rows(result: Result) -> list[dict[str, Any]]:
    rated = [
        {
            "condition": s.condition,
            "ratings": s.ratings,
            **_spread("mos", s.mos),
            **_spread("mos_bias_removed", s.unbiased),
            **_spread("dmos", s.dmos),
            **_spread("recovered", s.recovered),
        }
        for s in result.scores
    ]
    chosen = [
        {
            "condition": p.condition,
            "wins": p.wins,
            "choices": p.choices,
            **_spread("strength", p.strength),
        }
        for p in result.preferences
    ]
    return rated or chosen


def _item_rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "scene": i.scene,
            "condition": i.condition,
            **_spread("mos", i.mos),
            **_spread("recovered", i.recovered),
        }
        for i in result.items
    ]


def _contrast_rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "first": c.first,
            "second": c.second,
            **_spread("difference", c.difference),
            "p": c.p,
            "p_holm": c.p_holm,
        }
        for c in result.contrasts
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def plot(result: Result) -> str:
    """Return an SVG: each condition with its interval, and each participant's character.

    Needs matplotlib; the same result gives the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    pairs = [(p.condition, p.strength) for p in result.preferences]
    shown = pairs or [(s.condition, s.unbiased) for s in result.scores]
    shown.sort(key=lambda entry: entry[1].value)
    names, estimates = [name for name, _ in shown], [estimate for _, estimate in shown]
    known = [r for r in result.raters if r.bias is not None]
    height = 1.4 + 0.4 * len(shown)
    with matplotlib.rc_context({"svg.hashsalt": "whet", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10 if known else 6, max(height, 3)), layout="constrained")
        axes = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
        axes[0].errorbar(
            [e.value for e in estimates],
            range(len(estimates)),
            xerr=[[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]],
            fmt="o",
            capsize=4,
        )
        axes[0].set_yticks(range(len(names)), names)
        label = "strength (log-odds)" if pairs else "mean opinion score, bias removed"
        axes[0].set_xlabel(f"{label}, 95% interval, N = {estimates[0].n}")
        if known:
            axes[1].scatter([r.bias for r in known], [r.inconsistency for r in known])
            axes[1].set_xlabel("bias of a participant")
            axes[1].set_ylabel("inconsistency")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
