"""An evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from whet.evaluate.metrics import MEASURES
from whet.evaluate.report.sheets import FOLDER, sheet_name
from whet.evaluate.report.wording import (
    BEYOND,
    READING,
    counts,
    gain_text,
    interval_text,
    leads_of,
    percent,
    provenance,
    score_text,
    shown_gains,
)
from whet.evaluate.results import IDENTITY, Evaluation, Row, SuiteResult

__all__ = ["to_markdown"]


def to_markdown(evaluation: Evaluation) -> str:
    """Return all gains in one table, then one per suite, with its groups where it has some.

    Suites with pictures refer to the sheets of :mod:`whet.evaluate.report.sheets` beside the text.
    """
    lines = [READING, ""]
    whole = evaluation.together()
    if len(evaluation.suites) > 1:
        lines += ["## overview", "", *_markdown_overview(evaluation.suites, whole)]
    if whole:
        lines += ["## together", "", provenance(whole), "", *_markdown_table(whole)]
    for suite in evaluation.suites:
        lines += [f"## {suite.name}", "", provenance(suite), "", *_markdown_table(suite)]
        if suite.triplets:
            lines += [f"![{suite.name}, 100%]({FOLDER}/{sheet_name(suite.name)})", ""]
        for name, group in suite.groups().items():
            lines += [f"### {suite.name}: {name}", "", counts(group), ""]
            lines += _markdown_table(group)
    return "\n".join(lines)


def _markdown_overview(suites: Sequence[SuiteResult], whole: SuiteResult | None) -> list[str]:
    """Return PSNR gains, a line per suite and a column per restorer."""
    every = [*suites, whole] if whole else suites
    names = dict.fromkeys(row.restorer for suite in suites for row in suite.rows)
    del names[IDENTITY]
    lines = [
        "PSNR gain over the input in dB with its interval; PSNR against a sharp input.",
        "",
        f"| suite | {' | '.join(names)} |",
        f"|{'---|' * (len(names) + 1)}",
    ]
    for suite in every:
        rows = {row.restorer: row for row in suite.rows}
        cells = [_overview_text(rows[name]) if name in rows else "" for name in names]
        lines.append(f"| {suite.name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _overview_text(row: Row) -> str:
    gain = row.gains.get("psnr")
    return gain_text("psnr", gain) if gain else score_text("psnr", row.scores["psnr"])


def _markdown_table(suite: SuiteResult) -> list[str]:
    labels = [f"{MEASURES[n].label} {MEASURES[n].unit}".rstrip() for n in suite.rows[0].scores]
    gains = shown_gains(suite)
    heads = ["restorer", *labels, *(f"{gains[n]} {MEASURES[n].unit}".rstrip() for n in gains)]
    heads += ["not worse"]
    leads = leads_of(suite)
    heads += [f"{BEYOND} dB"] if leads else []
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in suite.rows:
        cells = [row.restorer]
        for name, estimate in row.scores.items():
            interval = interval_text(name, estimate)
            cells.append(score_text(name, estimate) + (f" ({interval})" if interval else ""))
        for name in gains:
            gain = None if row.restorer == IDENTITY else row.gains.get(name)
            cells.append("" if gain is None else gain_text(name, gain))
        cells.append("" if row.restorer == IDENTITY else percent(row.not_worse))
        if leads:
            rival, lead = leads.get(row.restorer, ("", None))
            cells.append(f"{gain_text('psnr', lead)} {rival}" if lead else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
