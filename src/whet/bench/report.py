"""A benchmark as Markdown, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whet.bench.run import Report
from whet.errors import InputError, Kind
from whet.files import replacing

__all__ = ["check_folder", "markdown", "write_files"]

_FILES = ("bench.json", "bench.md")

_COLUMNS: Sequence[tuple[str, str, str]] = (
    ("p50 ms", "latency_p50_ms", ".1f"),
    ("p95 ms", "latency_p95_ms", ".1f"),
    ("CPU ms", "cpu_p50_ms", ".1f"),
    ("fps", "fps", ".1f"),
    ("planes fps", "planes_fps", ".1f"),
    ("planes CPU ms", "planes_cpu_ms", ".1f"),
    ("file fps", "file_fps", ".1f"),
    ("fastest file fps", "fast_file_fps", ".1f"),
    ("first ms", "first_frame_ms", ".0f"),
    ("peak MiB", "peak_rss_mb", ".0f"),
    ("mJ", "energy_p50_mj", ".0f"),
    ("GOPS", "gops", ".1f"),
    ("of peak", "of_peak", ".0%"),
    ("of peak, CPU time", "of_peak_cpu", ".0%"),
    ("x founding", "times_founding", ".2f"),
    ("x, same runtime", "times_founding_same_runtime", ".2f"),
    ("x, its int8", "times_founding_int8", ".2f"),
    ("x, CPU time", "times_founding_cpu", ".2f"),
)


def markdown(report: Report) -> str:
    """Return one table per size and number of threads, the fastest first."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        "# Benchmark",
        "",
        f"{machine['processor']}, {machine['processors']} processors, {machine['system']}; "
        f"whet {machine['whet']}, Python {machine['python']}, {versions}.",
        f"Load average {machine['load_before']} before, {machine['load_after']} after: "
        "ratios and CPU time say more than milliseconds where the machine is busy.",
        "",
        "All rows of a table took turns in one run. *CPU ms* adds up all threads. *x founding*: "
        "times as fast as the founding student in float32 in ONNX Runtime; *same runtime*: as in "
        "the row's own runtime; *its int8*: as its int8 there. *Planes*: frames per second of "
        "restoring alone in the way of `whet video`, from planes to planes; *file*: of `whet "
        "video`, with x264's `veryfast` and with its fastest preset. FFmpeg's filters get 4:2:0 "
        "frames and pay for no conversion. "
        "*Of peak*: GOPS, conversions included, over those of the fastest plain matrix product "
        "in the same precision and threads, which took turns too, at its best turn. *CPU time*: "
        "the same per second of processor time, which others on the machine do not change.",
        f"Energy: {machine.get('energy', 'not measured')}.",
    ]
    for width, height, threads in _groups(report.rows):
        rows = [
            row
            for row in report.rows
            if (row["width"], row["height"], row["threads"]) == (width, height, threads)
        ]
        counted = "threads as the runtime likes" if threads is None else f"{threads} threads"
        lines += ["", f"## {width} x {height}, {counted}", ""]
        limit = report.limits.get(f"{width}x{height}")
        if limit is not None:
            said = ", ".join(f"{fps:.1f} fps with {preset}" for preset, fps in limit.items())
            lines += [f"Decoding and encoding alone: {said}.", ""]
        lines += _peaks(report.peaks.get(f"{width}x{height}", ()), threads)
        lines += _table(sorted(rows, key=lambda row: float(row["latency_p50_ms"])))
    return "\n".join(lines) + "\n"


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, int | None]]:
    return list(dict.fromkeys((row["width"], row["height"], row["threads"]) for row in rows))


def _peaks(peaks: Sequence[Mapping[str, Any]], threads: int | None) -> list[str]:
    shown = [
        f"{peak['precision']} in {peak['runtime']} {peak['gops']:.1f} ({peak['cpu_gops']:.1f})"
        for peak in peaks
        if peak["threads"] == threads
    ]
    return [f"Matrix products, GOPS (per CPU second): {', '.join(shown)}.", ""] if shown else []


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    used = [column for column in _COLUMNS if any(row.get(column[1]) is not None for row in rows)]
    lines = ["| contestant | in | " + " | ".join(title for title, _, _ in used) + " |"]
    lines.append("|---|---|" + "---:|" * len(used))
    for row in rows:
        cells = ["" if row.get(key) is None else format(row[key], style) for _, key, style in used]
        name = f"{row['name']} {row['precision']}"
        lines.append(f"| {name} | {row['runtime']} | " + " | ".join(cells) + " |")
    return lines


def check_folder(folder: Path, overwrite: bool) -> None:
    """Make ``folder`` ready for the files of a benchmark, before the hours of measuring.

    Raises:
        InputError: it holds a benchmark, or cannot be made.
    """
    for name in _FILES:
        if (folder / name).exists() and not overwrite:
            raise InputError(f"{folder / name} exists already", Kind.EXISTS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be a folder of results: {error.strerror}") from error


def write_files(report: Report, folder: Path, *, overwrite: bool) -> None:
    """Write ``bench.json`` and ``bench.md``, each when complete."""
    texts = (json.dumps(report.to_json(), indent=1), markdown(report))
    for name, text in zip(_FILES, texts, strict=True):
        with replacing(folder / name, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
