"""Pages put together: what is said on every page stands in one file, ``frame.html``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

__all__ = ["FOLDER", "PAGES", "PARTICIPANT", "Page", "assembled"]

FOLDER = Path(__file__).parent.parent / "static"


@dataclass(frozen=True)
class Page:
    """A page: a file with its own part, and what the frame says of it.

    Attributes:
        body: name of the file, in :data:`FOLDER`.
        title: what tabs show.
        script: name of its module below ``app``.
        kind: class of the body element.
        label: in the navigation; "" for a page without one.
        skip: where the first link of the page leads.
        styles: names of its style sheets below ``app``.
        root: the way from the page's address to the site's.
    """

    body: str
    title: str
    script: str
    kind: str = ""
    label: str = ""
    skip: str = ""
    styles: tuple[str, ...] = ("style.css",)
    root: str = ""


_STUDY_STYLES = ("style.css", "study.css")

PAGES: Mapping[str, Page] = {
    "/": Page("index.html", "sharpen pictures", "restore.js", "restore", "Restore", "the picture"),
    "/live": Page("live.html", "your camera, sharper", "live.js", "live", "Live", "the camera"),
    "/reports": Page(
        "reports.html", "evaluation reports", "reports.js", "", "Reports", "the reports"
    ),
    "/study": Page(
        "study.html", "opinion studies", "studies.js", "", "Study", "the studies", _STUDY_STYLES
    ),
}
"""Address -> page; a new page is one line here and its file."""

PARTICIPANT = Page(
    "participant.html", "opinion study", "study.js", "study", styles=_STUDY_STYLES, root="../"
)
"""The page of those who take part: it leads nowhere else."""


def assembled(page: Page, *, alone: bool = False, policy: str = "") -> str:
    """Return a page as HTML.

    Args:
        page: one of :data:`PAGES`, or :data:`PARTICIPANT`.
        alone: leave out the links to other pages.
        policy: a Content-Security-Policy to stand inside, for servers that send none.
    """
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n' if policy else ""
    links = (f'<link rel="stylesheet" href="{page.root}app/{name}">' for name in page.styles)
    top = ""
    if page.label:
        nav = "" if alone else _navigation(page)
        top = Template(_text("top.html")).substitute(skip=page.skip, nav=nav)
    return Template(_text("frame.html")).substitute(
        policy=meta,
        title=page.title,
        root=page.root,
        styles="\n".join(links),
        script=page.script,
        kind=page.kind,
        top=top,
        body=_text(page.body),
    )


def _navigation(page: Page) -> str:
    lines = ["", '  <nav aria-label="Pages">']
    for address, other in PAGES.items():
        here = ' aria-current="page"' if other is page else ""
        lines.append(f'    <a href="{address[1:] or "./"}"{here}>{other.label}</a>')
    return "\n".join([*lines, "  </nav>"])


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
