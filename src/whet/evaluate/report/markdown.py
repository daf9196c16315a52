"""An evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whet.evaluate.families import by_family, halves
from whet.evaluate.metrics import MEASURES
from whet.evaluate.report.sheets import FOLDER, sheet_name
from whet.evaluate.report.wording import (
    BEYOND,
    ORACLE,
    READING,
    counts,
    gain_text,
    interval_text,
    leads_of,
    lost_text,
    number,
    percent,
    provenance,
    score_text,
    shown_gains,
    worst_text,
)
from whet.evaluate.results import IDENTITY, PSNR_CEILING_DB, Evaluation, Row, SuiteResult

__all__ = ["to_markdown"]


def to_markdown(evaluation: Evaluation) -> str:
    """Return all gains in one table, then one per suite, with its groups where it has some.

    Suites with pictures refer to the sheets of :mod:`whet.evaluate.report.sheets` beside the text.
    """
    lines = [READING, "", *_markdown_origins(evaluation)]
    lines += _markdown_categories(evaluation.by_category())
    whole = evaluation.together()
    if len(evaluation.suites) > 1:
        lines += ["## overview", "", *_markdown_overview(evaluation.suites, whole)]
        lines += [*_markdown_families(evaluation.suites), *_markdown_halves(evaluation.suites)]
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
        *_head(["suite", *names]),
    ]
    for suite in every:
        rows = {row.restorer: row for row in suite.rows}
        cells = [_overview_text(rows[name]) if name in rows else "" for name in names]
        lines.append(_line([suite.name, *cells]))
    return [*lines, ""]


def _markdown_origins(evaluation: Evaluation) -> list[str]:
    """Return the command and the weights of every row that has some."""
    lines = [f"    {evaluation.command}", ""] if evaluation.command else []
    if evaluation.origins:
        lines += _head(["row", "weights", "sha256", "precision", "runtime"])
        lines += [
            _line([name, o.file, o.sha256[:16], o.precision, o.runtime])
            for name, o in evaluation.origins.items()
        ]
        lines.append("")
    return lines


def _markdown_categories(categories: Mapping[str, SuiteResult]) -> list[str]:
    """Return a line per category and restorer, over all suites of photographs."""
    if not categories:
        return []
    heads = ["category", "restorer", "scenes", "PSNR gain dB", "made worse", "worst case dB"]
    lines = ["## by category", "", *_head(heads)]
    for name, result in categories.items():
        scenes = str(len({picture.scene for picture in result.pictures}))
        for row in result.rows:
            if row.restorer != IDENTITY and row.gains:
                cells = [name, row.restorer, scenes, gain_text("psnr", row.gains["psnr"])]
                lines.append(_line([*cells, percent(row.made_worse), worst_text(row)]))
    return [*lines, ""]


def _markdown_families(suites: Sequence[SuiteResult]) -> list[str]:
    """Return a line per family and restorer, points lost to a mask among its cells."""
    found = by_family(suites)
    if not found:
        return []
    heads = ["family", "restorer", "pictures", "PSNR gain dB", "points lost to a mask"]
    lines = ["## by family", "", ORACLE, "", *_head([*heads, "made worse", "worst case dB"])]
    for line in found:
        row = line.row
        cells = [line.family, row.restorer, str(len(row.values["psnr"]))]
        cells += [gain_text("psnr", row.gains["psnr"]), lost_text(line)]
        lines.append(_line([*cells, percent(row.made_worse), worst_text(row)]))
    return [*lines, ""]


def _markdown_halves(suites: Sequence[SuiteResult]) -> list[str]:
    """Return what of its gain a soft half keeps beside a sharp one."""
    found = halves(suites)
    if not found:
        return []
    heads = ["soft half", "restorer", "gain dB", "gain alone dB", "kept", "sharp half dB"]
    lines = ["## half sharp, half soft", "", *_head(heads)]
    for row in found:
        gains = [number(gain, 2, signed=True) for gain in (row.gain_db, row.alone_db)]
        sharp = "identical" if row.sharp_db >= PSNR_CEILING_DB else number(row.sharp_db, 2)
        lines.append(_line([row.point, row.restorer, *gains, percent(row.kept), sharp]))
    return [*lines, ""]


def _head(heads: Sequence[str]) -> list[str]:
    return [_line(heads), f"|{'---|' * len(heads)}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _overview_text(row: Row) -> str:
    gain = row.gains.get("psnr")
    return gain_text("psnr", gain) if gain else score_text("psnr", row.scores["psnr"])


def _markdown_table(suite: SuiteResult) -> list[str]:
    labels = [f"{MEASURES[n].label} {MEASURES[n].unit}".rstrip() for n in suite.rows[0].scores]
    gains = shown_gains(suite)
    heads = ["restorer", *labels, *(f"{gains[n]} {MEASURES[n].unit}".rstrip() for n in gains)]
    heads += ["made worse", "worst case dB"]
    leads = leads_of(suite)
    heads += [f"{BEYOND} dB"] if leads else []
    lines = _head(heads)
    for row in suite.rows:
        cells = [row.restorer]
        for name, estimate in row.scores.items():
            interval = interval_text(name, estimate)
            cells.append(score_text(name, estimate) + (f" ({interval})" if interval else ""))
        for name in gains:
            gain = None if row.restorer == IDENTITY else row.gains.get(name)
            cells.append("" if gain is None else gain_text(name, gain))
        none = row.restorer == IDENTITY
        cells += ["", ""] if none else [percent(row.made_worse), worst_text(row)]
        if leads:
            rival, lead = leads.get(row.restorer, ("", None))
            cells.append(f"{gain_text('psnr', lead)} {rival}" if lead else "")
        lines.append(_line(cells))
    return [*lines, ""]
