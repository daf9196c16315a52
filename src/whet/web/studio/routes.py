"""The addresses of heavy networks: list, send, ask, look, fetch, delete."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from whet import image
from whet.fetch.weights import FETCHABLE
from whet.studio import STUDIO
from whet.web.pictures.schemas import MEDIA_TYPES
from whet.web.problems import RefusedError, documented
from whet.web.settings import Settings
from whet.web.studio.queue import SlowPicture, State, StudioQueue, heavy_names
from whet.web.uploads import read_body

__all__ = ["studio_routes"]

Id = Annotated[str, Path(max_length=64)]

_BINARY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": dict.fromkeys((*MEDIA_TYPES.values(), "application/octet-stream"), _BINARY),
    }
}


class StudioOptions(BaseModel):
    """How a picture is restored; in the query."""

    model: str = Field("maxim", description="name of a heavy network")
    strength: float = Field(
        1.0, ge=0, le=2, allow_inf_nan=False, description="0 changes nothing, 1 is full"
    )


class HeavyEntry(BaseModel):
    """One heavy network whose weights are here."""

    name: str
    summary: str
    licence: str


class SlowStatus(BaseModel):
    """Where a picture stands; what is not known yet is null."""

    id: str = Field(description="random, and the only key to the picture")
    state: State
    tiles: int = Field(description="finished")
    tiles_expected: int | None
    seconds_left: float | None = Field(description="of its own work, known after the first tile")
    ahead: int = Field(description="pictures that are restored before it")
    seconds_until_start: float = Field(description="until those are done, about")
    detail: str | None = Field(description="why it failed")
    notes: list[str] = Field(description="what could not be kept, what was left as it was")


def studio_routes(settings: Settings, queue: StudioQueue) -> APIRouter:
    """Return what takes pictures for heavy networks."""
    api = APIRouter(prefix="/api/studio", tags=["studio"])

    def status(entry: SlowPicture) -> SlowStatus:
        ahead = queue.ahead(entry)
        return SlowStatus(
            id=entry.id,
            state=entry.state,
            tiles=entry.tiles,
            tiles_expected=entry.tiles_expected,
            seconds_left=entry.seconds_left,
            ahead=len(ahead),
            seconds_until_start=sum(other.remaining_seconds for other in ahead),
            detail=entry.detail,
            notes=list(entry.notes),
        )

    @api.get("", summary="The heavy networks whose weights are here")
    async def list_heavy() -> list[HeavyEntry]:
        names = await asyncio.to_thread(heavy_names)
        return [
            HeavyEntry(
                name=name,
                summary=STUDIO[name].summary,
                licence=FETCHABLE[STUDIO[name].weights].licence,
            )
            for name in names
        ]

    @api.post(
        "",
        status_code=201,
        summary="Send a picture, as the whole body",
        responses=documented(401, 403, 408, 413, 415, 421, 422, 429),
        openapi_extra=_BODY,
    )
    async def send(request: Request, options: Annotated[StudioOptions, Query()]) -> SlowStatus:
        if options.model not in (known := await asyncio.to_thread(heavy_names)):
            choice = f"choose from {', '.join(known)}" if known else "this server has none"
            raise RefusedError(422, f"no heavy network {options.model!r} is here; {choice}")
        queue.reserve()
        try:
            data = await read_body(request, settings.max_bytes, settings.max_seconds)
            entry = await asyncio.to_thread(queue.add, data, options.model, options.strength)
        finally:
            queue.leave()
        return status(entry)

    @api.get("/{id}", summary="How far a picture is", responses=documented(404, 421, 422))
    async def ask(id: Id) -> SlowStatus:
        return status(queue.find(id))

    @api.get(
        "/{id}/so-far",
        summary="The picture with the tiles that are finished, small",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": _BINARY}}, **documented(404, 421, 422)},
    )
    async def look(id: Id) -> Response:
        data = await asyncio.to_thread(queue.preview, queue.find(id))
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @api.get(
        "/{id}/result",
        summary="The restored picture, in its own format",
        response_class=Response,
        responses={
            200: {"content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)},
            **documented(404, 409, 421, 422),
        },
    )
    async def fetch(id: Id) -> Response:
        entry = queue.find(id)
        if entry.state != "done":
            raise RefusedError(409, f"the picture is {entry.state}; ask again when it is done")
        kind = MEDIA_TYPES[str(image.sniff(entry.result[:32]))]
        return Response(entry.result, media_type=kind)

    @api.delete(
        "/{id}",
        status_code=204,
        summary="Stop, and forget a picture",
        responses=documented(401, 403, 404, 421, 422),
    )
    async def delete(id: Id) -> None:
        queue.drop(queue.find(id))

    return api
