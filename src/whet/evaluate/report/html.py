"""From scores to something to read: Markdown, or one HTML page that stands alone.

The page asks the network for nothing: pictures are lossless WebP inside it, charts
are SVG, and a content security policy forbids the rest. It works in light and
dark, on a desk and on a phone, and stays below a size that mail still carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from whet.errors import InputError
from whet.evaluate.families import by_family, halves
from whet.evaluate.metrics import MEASURES
from whet.evaluate.report.charts import curves, gain_strips
from whet.evaluate.report.markdown import to_markdown
from whet.evaluate.report.sheets import FOLDER, write_sheets
from whet.evaluate.report.viewer import viewers
from whet.evaluate.report.wording import (
    BEYOND,
    ORACLE,
    READING,
    counts,
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
from whet.evaluate.results import (
    IDENTITY,
    PSNR_CEILING_DB,
    Estimate,
    Evaluation,
    Row,
    SuiteResult,
)
from whet.files import replacing

__all__ = ["MAX_BYTES", "to_html", "to_markdown", "write_report"]

MAX_BYTES = 14_000_000
"""Upper limit of a page, below the 15 MB that people can still send around."""


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
    with replacing(target, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    parts.append(_categories(evaluation))
    if len(evaluation.suites) > 1:
        parts.append(_overview(evaluation.suites, evaluation.together()))
        parts += [_families(evaluation.suites), _halves(evaluation.suites)]
    for index, (suite, pictures) in enumerate(zip(evaluation.suites, figures, strict=True)):
        parts.append(_section(index, suite, pictures))
    if chart := curves(log):
        parts.append(f'<section id="training"><h2>Training</h2><p></p>{chart}</section>')
    parts.append(_origins(evaluation))
    parts.append(f"</main><footer><p>{escape(READING)}</p></footer>")
    page = (
        resources.files("whet.evaluate.report").joinpath("report.html").read_text(encoding="utf-8")
    )
    return page.replace("{{title}}", escape(title)).replace("{{body}}", "\n".join(parts))


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
    if verdict and not MEASURES[name].higher_is_better:
        verdict = "bad" if verdict == "good" else "good"
    mean = number(gain.mean, MEASURES[name].decimals, signed=True)
    return _cell(mean, f"{interval_text(name, gain, signed=True)} {small}".strip(), verdict)


def _overview_cell(row: Row | None) -> str:
    """Return the gain, or the PSNR itself where the input was sharp and nothing can be gained."""
    if row is None or row.gains:
        return _gain_cell("psnr", row)
    psnr_db = row.scores["psnr"]
    if psnr_db.mean >= PSNR_CEILING_DB:
        return _cell("identical", "to the input")
    return _cell(f"{score_text('psnr', psnr_db)} dB", "to the input")


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


def _categories(evaluation: Evaluation) -> str:
    """Return a line per category and restorer, over all suites of photographs."""
    lines = []
    for name, result in evaluation.by_category().items():
        scenes = len({picture.scene for picture in result.pictures})
        for row in result.rows:
            if row.restorer != IDENTITY and row.gains:
                cells = f"<td>{escape(name)}</td><td>{escape(row.restorer)}</td><td>{scenes}</td>"
                cells += _gain_cell("psnr", row) + f"<td>{percent(row.made_worse)}</td>"
                lines.append(f"<tr>{cells}<td>{worst_text(row)}</td></tr>")
    heads = ["category", "restorer", "scenes", "PSNR gain, dB", "made worse", "worst case, dB"]
    return _summary("By category", "Over all suites of photographs.", heads, lines)


def _families(suites: Sequence[SuiteResult]) -> str:
    """Return a line per family and restorer, points lost to a mask among its cells."""
    found = by_family(suites)
    heads = ["family", "restorer", "PSNR gain, dB", "points lost to a mask", "made worse"]
    lines = []
    for line in found:
        row = line.row
        cells = f"<td>{escape(line.family)}</td><td>{escape(row.restorer)}</td>"
        cells += _gain_cell("psnr", row)
        for text in (lost_text(line), percent(row.made_worse), worst_text(row)):
            cells += f"<td>{text}</td>"
        lines.append(f"<tr>{cells}</tr>")
    return _summary("By family", ORACLE, [*heads, "worst case, dB"], lines)


def _halves(suites: Sequence[SuiteResult]) -> str:
    """Return what of its gain a soft half keeps beside a sharp one."""
    heads = ["soft half", "restorer", "gain, dB", "gain alone, dB", "kept", "sharp half, dB"]
    lines = []
    for row in halves(suites):
        sharp = "identical" if row.sharp_db >= PSNR_CEILING_DB else number(row.sharp_db, 2)
        gains = (number(gain, 2, signed=True) for gain in (row.gain_db, row.alone_db))
        cells = [escape(row.point), escape(row.restorer), *gains, percent(row.kept), sharp]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _summary("Half sharp, half soft", "", heads, lines)


def _origins(evaluation: Evaluation) -> str:
    """Return the command and the weights of every row that has some."""
    lines = [
        "<tr>"
        + "".join(
            f"<td>{escape(cell)}</td>" for cell in (name, o.file, o.sha256, o.precision, o.runtime)
        )
        + "</tr>"
        for name, o in evaluation.origins.items()
    ]
    heads = ["row", "weights", "sha256", "precision", "runtime"]
    return _summary("What was scored", evaluation.command, heads, lines)


def _summary(title: str, words: str, heads: Sequence[str], lines: Sequence[str]) -> str:
    if not lines:
        return ""
    head = "".join(f"<th>{text}</th>" for text in heads)
    table = f"<table><tr>{head}</tr>{''.join(lines)}</table>"
    return (
        f"<section><h2>{title}</h2><p>{escape(words)}</p>"
        f'<div class="scroll">{table}</div></section>'
    )


def _table(suite: SuiteResult) -> str:
    measures = [MEASURES[name] for name in suite.rows[0].scores]
    heads = [f"{m.label}{f', {m.unit}' if m.unit else ''}" for m in measures]
    gainful = any(row.gains for row in suite.rows)
    gains = shown_gains(suite)
    if gainful:
        heads += ["PSNR gain, dB", *list(gains.values())[1:], "made worse", "worst case, dB"]
    leads = leads_of(suite)
    heads += [f"{BEYOND}, dB"] if leads else []
    lines = []
    for row in suite.rows:
        reference = row.restorer == IDENTITY
        cells = "".join(_cell(score_text(n, e), interval_text(n, e)) for n, e in row.scores.items())
        if gainful:
            worse = ("", "") if reference else (percent(row.made_worse), worst_text(row))
            cells += "".join(_gain_cell(name, row) for name in gains)
            cells += "".join(f"<td>{text}</td>" for text in worse)
        if leads:
            rival, lead = leads.get(row.restorer, ("", None))
            cells += _difference_cell("psnr", lead, escape(rival)) if lead else "<td></td>"
        css = ' class="reference"' if reference else ""
        lines.append(f"<tr{css}><td>{escape(row.restorer)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _section(index: int, suite: SuiteResult, pictures: Sequence[str]) -> str:
    parts = [f'<section><h2 id="suite-{index}">{escape(suite.name)}</h2>']
    if suite.resized_to:
        width, height = suite.resized_to
        parts.append(
            f'<p class="warning">Scored on pictures RESIZED to {width} x {height}: '
            "not comparable with full-resolution scores.</p>"
        )
    parts.append(f"<p>{escape(provenance(suite))}</p>{_table(suite)}")
    if strips := gain_strips(suite.rows, [picture.name for picture in suite.pictures]):
        parts.append(f"<h3>Every picture</h3>{strips}")
    if groups := suite.groups():
        tables = "".join(
            f"<h3>{escape(name)}</h3><p>{escape(counts(group))}</p>{_table(group)}"
            for name, group in groups.items()
        )
        parts.append(f"<details><summary>By group ({len(groups)})</summary>{tables}</details>")
    parts += pictures
    return "".join(parts) + "</section>"
