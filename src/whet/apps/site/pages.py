"""The pages: static files of the package, under addresses without endings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from whet.apps.site.example import example

__all__ = ["FOLDER", "PAGES", "add_pages"]

FOLDER = Path(__file__).parent / "pages"

PAGES: Mapping[str, str] = {
    "/": "index.html",
    "/live": "live.html",
    "/reports": "reports.html",
    "/study": "study.html",
}
"""Address -> file; a new page is one line here and its file."""

_UNCHANGED = {"Cache-Control": "no-cache"}  # ask each time, but take "not modified" for an answer


class Revalidated(StaticFiles):
    """Static files that browsers keep, and ask about before each use."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-cache")]
            await send(message)

        await super().__call__(scope, receive, send_with_header)


def add_pages(app: FastAPI) -> None:
    """Let the application serve its pages and what they load."""
    routes = APIRouter(include_in_schema=False)
    for address, name in PAGES.items():
        routes.add_api_route(address, _page(FOLDER / name), methods=["GET", "HEAD"])

    @routes.get("/api/example/{name}")
    def example_picture(name: Literal["soft.png", "sharp.png"]) -> Response:
        return Response(example(name), media_type="image/png")

    app.include_router(routes)
    app.mount("/app", Revalidated(directory=FOLDER / "app"), name="app")


def _page(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def page() -> FileResponse:
        return FileResponse(path, headers=_UNCHANGED)

    return page
