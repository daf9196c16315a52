"""From scores to something to read: Markdown, or one HTML page that stands alone.

The page asks the network for nothing: pictures are lossless WebP inside it, charts
are SVG, and a content security policy forbids the rest. It works in light and
dark, on a desk and on a phone, and stays below a size that mail still carries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from whet.errors import InputError
from whet.evaluate.charts import curves, gain_strips
from whet.evaluate.results import (
    IDENTITY,
    PSNR_CEILING_DB,
    Estimate,
    Evaluation,
    Row,
    SuiteResult,
)
from whet.evaluate.sheets import FOLDER, sheet_name, write_sheets
from whet.evaluate.viewer import viewers
from whet.image import replacing
from whet.metrics import METRICS

__all__ = ["MAX_BYTES", "to_html", "to_markdown", "write_report"]

MAX_BYTES = 14_000_000
"""Upper limit of a page, below the 15 MB that people can still send around."""

_MINUS = "\u2212"
_READING = (
    "PSNR and SSIM are taken on full-resolution 8-bit RGB. SSIM has two definitions in use: "
    "Gaussian window, each channel on its own (scikit-image), and the value of MATLAB's ssim on an "
    "RGB array, whose window crosses the channels, which deblurring papers print. Intervals are "
    "95% bootstrap intervals of the mean over pictures; gains are paired with the input, picture "
    "by picture. Not worse counts the pictures whose PSNR is at least that of the input. The best "
    "baseline is the one with the highest mean PSNR on the suite; the difference is paired too."
)
_BEYOND = "PSNR over the best baseline"


def write_report(
    evaluation: Evaluation,
    target: Path,
    *,
    log: Sequence[Mapping[str, float]] = (),
    title: str = "How much sharper",
    intro: str = "",
    overwrite: bool = False,
) -> None:
    """Write the evaluation in the format that the suffix names: .json, .md or .html.

    Args:
        evaluation: what was scored.
        target: file to write, completely or not at all; Markdown has its pictures in the
            folder ``pictures`` beside it.
        log: training log for the page's loss curves, see :func:`to_html`.
        title: heading of the page.
        intro: one paragraph of plain text below it.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: unknown suffix, or ``target`` exists or cannot be written.
    """
    suffix = target.suffix.lower()
    if suffix == ".json":
        evaluation.write(target, overwrite=overwrite)
        return
    if suffix == ".md":
        write_sheets(evaluation.suites, target.parent / FOLDER, overwrite=overwrite)
        text = to_markdown(evaluation)
    elif suffix in (".html", ".htm"):
        text = to_html(evaluation, log=log, title=title, intro=intro)
    else:
        raise InputError(f"{target}: a report is .json, .md or .html; choose one of these suffixes")
    with replacing(target, overwrite=overwrite, error=InputError) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_markdown(evaluation: Evaluation) -> str:
    """Return all gains in one table, then one per suite, with its groups where it has some.

    Suites with pictures refer to the sheets of :mod:`whet.evaluate.sheets` beside the text.
    """
    lines = [_READING, ""]
    whole = evaluation.together()
    if len(evaluation.suites) > 1:
        lines += ["## overview", "", *_markdown_overview(evaluation.suites, whole)]
    if whole:
        lines += ["## together", "", _provenance(whole), "", *_markdown_table(whole)]
    for suite in evaluation.suites:
        lines += [f"## {suite.name}", "", _provenance(suite), "", *_markdown_table(suite)]
        if suite.triplets:
            lines += [f"![{suite.name}, 100%]({FOLDER}/{sheet_name(suite.name)})", ""]
        for name, group in suite.groups().items():
            lines += [f"### {suite.name}: {name}", "", _counts(group), ""]
            lines += _markdown_table(group)
    return "\n".join(lines)


def to_html(
    evaluation: Evaluation,
    *,
    log: Sequence[Mapping[str, float]] = (),
    title: str = "How much sharper",
    intro: str = "",
    max_bytes: int = MAX_BYTES,
) -> str:
    """Return one self-contained page.

    Args:
        evaluation: what was scored; its triplets become zoomable pictures.
        log: records ``{"step": n, name: value, ...}`` of a training run.
        title: heading.
        intro: one paragraph of plain text.
        max_bytes: crops shrink, then pictures are left out, until the page fits.
    """
    figures = viewers(evaluation.suites, max_bytes - 400_000)
    parts = [_header(evaluation, title, intro), _navigation(evaluation, bool(log)), "<main>"]
    if len(evaluation.suites) > 1:
        parts.append(_overview(evaluation.suites, evaluation.together()))
    for number, (suite, pictures) in enumerate(zip(evaluation.suites, figures, strict=True)):
        parts.append(_section(number, suite, pictures))
    if chart := curves(log):
        parts.append(f'<section id="training"><h2>Training</h2><p></p>{chart}</section>')
    parts.append(f"</main><footer><p>{escape(_READING)}</p></footer>")
    page = resources.files("whet.evaluate").joinpath("report.html").read_text(encoding="utf-8")
    return page.replace("{{title}}", escape(title)).replace("{{body}}", "\n".join(parts))


def _number(value: float, decimals: int, *, signed: bool = False) -> str:
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", _MINUS)


def _score(name: str, estimate: Estimate) -> str:
    if name == "psnr" and estimate.mean >= PSNR_CEILING_DB:
        return "identical"
    return _number(estimate.mean, METRICS[name].decimals)


def _interval(name: str, estimate: Estimate, *, signed: bool = False) -> str:
    if math.isnan(estimate.low) or (name == "psnr" and estimate.mean >= PSNR_CEILING_DB):
        return ""
    decimals = METRICS[name].decimals
    low, high = (_number(v, decimals, signed=signed) for v in (estimate.low, estimate.high))
    return f"{low} to {high}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def _provenance(suite: SuiteResult) -> str:
    return f"{suite.description[:1].upper()}{suite.description[1:]}. {_counts(suite)}"


def _counts(suite: SuiteResult) -> str:
    pictures = len(suite.pictures)
    scenes = len({picture.scene for picture in suite.pictures})
    text = f"{pictures} picture{'s' * (pictures != 1)} of {scenes} scene{'s' * (scenes != 1)}."
    if scenes * 2 <= pictures:
        text += " Pictures of one scene are alike: intervals over as many scenes would be wider."
    return text


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
    return _gain_text("psnr", gain) if gain else _score("psnr", row.scores["psnr"])


def _markdown_table(suite: SuiteResult) -> list[str]:
    labels = [f"{m.label}{f' {m.unit}' if m.unit else ''}" for m in METRICS.values()]
    heads = ["restorer", *labels, "PSNR gain dB", "SSIM gain", "not worse"]
    leads = _leads(suite)
    heads += [f"{_BEYOND} dB"] if leads else []
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in suite.rows:
        cells = [row.restorer]
        for name, estimate in row.scores.items():
            interval = _interval(name, estimate)
            cells.append(_score(name, estimate) + (f" ({interval})" if interval else ""))
        for name in ("psnr", "ssim"):
            gain = None if row.restorer == IDENTITY else row.gains.get(name)
            cells.append("" if gain is None else _gain_text(name, gain))
        cells.append("" if row.restorer == IDENTITY else _percent(row.not_worse))
        if leads:
            rival, lead = leads.get(row.restorer, ("", None))
            cells.append(f"{_gain_text('psnr', lead)} {rival}" if lead else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _leads(suite: SuiteResult) -> dict[str, tuple[str, Estimate]]:
    """Return restorer -> (best baseline, lead over it), for those that have one."""
    found = {row.restorer: suite.beyond(row.restorer) for row in suite.rows}
    return {restorer: beyond for restorer, beyond in found.items() if beyond}


def _gain_text(name: str, gain: Estimate) -> str:
    interval = _interval(name, gain, signed=True)
    mean = _number(gain.mean, METRICS[name].decimals, signed=True)
    return mean + (f" ({interval})" if interval else "")


def _header(evaluation: Evaluation, title: str, intro: str) -> str:
    pictures = sum(len(suite.pictures) for suite in evaluation.suites)
    suites = len(evaluation.suites)
    facts = f"{pictures} pictures in {suites} suite{'s' * (suites != 1)}"
    lead = f'<p class="lead">{escape(intro)}</p>' if intro else ""
    return (
        f"<header><p>whet {escape(evaluation.whet_version)} · {facts}</p>"
        f"<h1>{escape(title)}</h1>{lead}</header>"
    )


def _navigation(evaluation: Evaluation, training: bool) -> str:
    links = [("overview", "Overview")] if len(evaluation.suites) > 1 else []
    links += [(f"suite-{i}", suite.name) for i, suite in enumerate(evaluation.suites)]
    links += [("training", "Training")] if training else []
    anchors = "".join(f'<a href="#{target}">{escape(text)}</a>' for target, text in links)
    return f'<nav aria-label="Suites"><div>{anchors}</div></nav>'


def _cell(main: str, small: str, verdict: str = "") -> str:
    css = f' class="{verdict}"' if verdict else ""
    return f"<td{css}>{main}<small>{small}</small></td>"


def _gain_cell(name: str, row: Row | None) -> str:
    gain = None if row is None or row.restorer == IDENTITY else row.gains.get(name)
    return "<td></td>" if gain is None else _difference_cell(name, gain)


def _difference_cell(name: str, gain: Estimate, small: str = "") -> str:
    """Return a coloured cell; coloured only where the interval excludes zero."""
    verdict = "good" if gain.low > 0 else "bad" if gain.high < 0 else ""
    mean = _number(gain.mean, METRICS[name].decimals, signed=True)
    return _cell(mean, f"{_interval(name, gain, signed=True)} {small}".strip(), verdict)


def _overview_cell(row: Row | None) -> str:
    """Return the gain, or the PSNR itself where the input was sharp and nothing can be gained."""
    if row is None or row.gains:
        return _gain_cell("psnr", row)
    psnr_db = row.scores["psnr"]
    if psnr_db.mean >= PSNR_CEILING_DB:
        return _cell("identical", "to the input")
    return _cell(f"{_score('psnr', psnr_db)} dB", "to the input")


def _overview(suites: Sequence[SuiteResult], whole: SuiteResult | None) -> str:
    names = dict.fromkeys(row.restorer for suite in suites for row in suite.rows)
    heads = "".join(
        f'<th><a href="#suite-{i}">{escape(s.name)}</a></th>' for i, s in enumerate(suites)
    )
    heads += "<th>together</th>" if whole else ""
    columns = [*suites, whole] if whole else suites
    lines = []
    for name in names:
        if name == IDENTITY:
            continue
        rows = [{row.restorer: row for row in suite.rows}.get(name) for suite in columns]
        cells = "".join(_overview_cell(row) for row in rows)
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return (
        '<section id="overview"><h2>Overview</h2><p>Mean PSNR gain over the input in dB; coloured '
        "where the 95% interval excludes zero. Where the input was sharp already: PSNR against it."
        "</p>"
        f'<div class="scroll"><table><tr><th></th>{heads}</tr>{"".join(lines)}</table></div>'
        "</section>"
    )


def _table(suite: SuiteResult) -> str:
    heads = [f"{m.label}{f', {m.unit}' if m.unit else ''}" for m in METRICS.values()]
    gainful = any(row.gains for row in suite.rows)
    if gainful:
        heads += ["PSNR gain, dB", "SSIM gain", "not worse"]
    leads = _leads(suite)
    heads += [f"{_BEYOND}, dB"] if leads else []
    lines = []
    for row in suite.rows:
        reference = row.restorer == IDENTITY
        cells = "".join(_cell(_score(n, e), _interval(n, e)) for n, e in row.scores.items())
        if gainful:
            share = "" if reference else _percent(row.not_worse)
            cells += f"{_gain_cell('psnr', row)}{_gain_cell('ssim', row)}<td>{share}</td>"
        if leads:
            rival, lead = leads.get(row.restorer, ("", None))
            cells += _difference_cell("psnr", lead, escape(rival)) if lead else "<td></td>"
        css = ' class="reference"' if reference else ""
        lines.append(f"<tr{css}><td>{escape(row.restorer)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _section(number: int, suite: SuiteResult, pictures: Sequence[str]) -> str:
    parts = [f'<section><h2 id="suite-{number}">{escape(suite.name)}</h2>']
    if suite.resized_to:
        width, height = suite.resized_to
        parts.append(
            f'<p class="warning">Scored on pictures RESIZED to {width} x {height}: '
            "not comparable with full-resolution scores.</p>"
        )
    parts.append(f"<p>{escape(_provenance(suite))}</p>{_table(suite)}")
    if strips := gain_strips(suite.rows, [picture.name for picture in suite.pictures]):
        parts.append(f"<h3>Every picture</h3>{strips}")
    if groups := suite.groups():
        tables = "".join(
            f"<h3>{escape(name)}</h3><p>{escape(_counts(group))}</p>{_table(group)}"
            for name, group in groups.items()
        )
        parts.append(f"<details><summary>By group ({len(groups)})</summary>{tables}</details>")
    parts += pictures
    return "".join(parts) + "</section>"
