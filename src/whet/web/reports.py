"""Reports of ``whet evaluate``, found in the folders that were named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from whet.web.problems import RefusedError

__all__ = ["Report", "add_reports", "find_reports"]

_SCHEMA = "whet-evaluation/"
_MAX_BYTES = 2**26

_REPORT_HEADERS = {
    # Reports carry their script and pictures inside; they get no access to anything else.
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ),
}


class Gain(BaseModel):
    """PSNR in dB gained over the untouched picture, with its 95% interval; null for one scene."""

    restorer: str
    mean: float
    low: float | None
    high: float | None


class Suite(BaseModel):
    """One suite of a report."""

    name: str
    description: str
    pictures: int
    psnr_degraded: float | None
    gains: list[Gain]


class Report(BaseModel):
    """What the list shows of a report."""

    id: str
    name: str
    written: datetime
    page: bool
    suites: list[Suite] = Field(description="those in which something was to be gained")


def add_reports(app: FastAPI, folders: Sequence[Path]) -> None:
    """Let the application list the reports below ``folders`` and show their pages."""
    routes = APIRouter(tags=["reports"])

    @routes.get("/api/reports", summary="Evaluation reports on this machine")
    def listed() -> list[Report]:
        found = (_read(id, path) for id, path in find_reports(folders).items())
        return sorted(filter(None, found), key=lambda report: report.written, reverse=True)

    @routes.get("/reports/{id}", include_in_schema=False)
    def page(id: str) -> FileResponse:
        path = find_reports(folders).get(id)
        html = path and path.with_suffix(".html")
        if html is None or not html.is_file():
            raise RefusedError(404, "there is no such report; reload the list")
        return FileResponse(html, media_type="text/html", headers=_REPORT_HEADERS)

    app.include_router(routes)


def find_reports(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the JSON files of reports by an id that holds no path.

    Args:
        folders: each holds reports, or folders of reports.
    """
    found: dict[str, Path] = {}
    for number, folder in enumerate(folders, 1):
        for path in sorted(_candidates(folder)):
            inside = path.relative_to(folder).with_suffix("").parts
            found["-".join((str(number), *inside))] = path
    return found


def _candidates(folder: Path) -> Iterator[Path]:
    for pattern in ("*.json", "*/*.json"):
        yield from (path for path in folder.glob(pattern) if path.is_file())


def _read(id: str, path: Path) -> Report | None:
    """Return what a file says, or None for JSON that is no report."""
    try:
        status = path.stat()
        if status.st_size > _MAX_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        if not str(content["schema"]).startswith(_SCHEMA):
            return None
        return Report(
            id=id,
            name=path.parent.resolve().name if path.stem == "report" else path.stem,
            written=datetime.fromtimestamp(status.st_mtime, UTC),
            page=path.with_suffix(".html").is_file(),
            suites=[suite for suite in map(_suite, content["suites"]) if suite.gains],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _suite(suite: dict[str, Any]) -> Suite:
    rows = {row["restorer"]: row for row in suite["rows"]}
    untouched = rows.pop("identity", None)
    gains = [
        Gain(restorer=name, **{key: row["gains"]["psnr"][key] for key in ("mean", "low", "high")})
        for name, row in rows.items()
        if "psnr" in (row.get("gains") or {})
    ]
    return Suite(
        name=suite["name"],
        description=suite["description"],
        pictures=len(suite["pictures"]),
        psnr_degraded=untouched and untouched["scores"]["psnr"]["mean"],
        gains=gains,
    )
