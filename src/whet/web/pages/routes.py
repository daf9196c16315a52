"""The pages, under addresses without endings, and the files that they load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from whet.web.pages.example import example
from whet.web.pages.template import FOLDER, PAGES, Page, assembled

__all__ = ["add_pages", "html"]

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
    for address, page in PAGES.items():
        routes.add_api_route(address, _serving(page), methods=["GET", "HEAD"])

    @routes.get("/api/example/{name}")
    def example_picture(name: Literal["soft.png", "sharp.png"]) -> Response:
        return Response(example(name), media_type="image/png")

    app.include_router(routes)
    app.mount("/app", Revalidated(directory=FOLDER / "app"), name="app")


def html(page: Page, status: int = 200) -> HTMLResponse:
    """Return a page as an answer."""
    return HTMLResponse(assembled(page), status, headers=_UNCHANGED)


def _serving(page: Page) -> Callable[[], Awaitable[HTMLResponse]]:
    async def serve() -> HTMLResponse:
        return html(page)

    return serve
