"""The addresses of videos: reserve, send, ask, fetch, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import ClientDisconnect

from whet.web.guard import log
from whet.web.pictures.jobs import known_model
from whet.web.problems import RefusedError, documented
from whet.web.settings import Settings
from whet.web.uploads import in_time
from whet.web.videos.containers import MKV, MOV, MP4, TS, WEBM
from whet.web.videos.queue import Video, VideoQueue
from whet.web.videos.schemas import VideoOptions, VideoStatus

__all__ = ["video_routes"]

Id = Annotated[str, Path(max_length=64)]

_TYPES = tuple(kind.media_type for kind in (MP4, MOV, MKV, WEBM, TS))
_BINARY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": dict.fromkeys((*_TYPES, "application/octet-stream"), _BINARY),
    }
}


def video_routes(settings: Settings, queue: VideoQueue, registry: CollectorRegistry) -> APIRouter:
    """Return what takes videos."""
    _measure(queue, registry)
    api = APIRouter(prefix="/api/videos", tags=["videos"])

    @api.post(
        "",
        status_code=201,
        summary="Reserve a slot for a video",
        responses=documented(401, 403, 413, 421, 422, 429),
    )
    async def reserve(options: Annotated[VideoOptions, Query()]) -> VideoStatus:
        model = known_model(options.model)
        return _status(queue.reserve(model, options.strength, options.bytes))

    @api.put(
        "/{id}",
        status_code=202,
        summary="Send the video, as the whole body",
        responses=documented(400, 401, 403, 404, 408, 409, 413, 415, 421, 422),
        openapi_extra=_BODY,
    )
    async def send(id: Id, request: Request) -> VideoStatus:
        video = queue.find(id)
        # As slow a network as for pictures.
        seconds = settings.max_seconds * max(1.0, settings.max_video_bytes / settings.max_bytes)
        try:
            async with in_time(seconds):
                await queue.receive(video, request.stream())
        except ClientDisconnect:
            raise RefusedError(400, "the upload broke off; send the video again") from None
        return _status(video)

    @api.get("/{id}", summary="How far a video is", responses=documented(404, 421, 422))
    async def ask(id: Id) -> VideoStatus:
        return _status(queue.find(id))

    @api.get(
        "/{id}/result",
        summary="The restored video, in its source's container",
        response_class=Response,
        responses={
            200: {"description": "The video", "content": dict.fromkeys(_TYPES, _BINARY)},
            **documented(404, 409, 421, 422),
        },
    )
    async def fetch(id: Id) -> FileResponse:
        video = queue.find(id)
        if video.state != "done" or video.kind is None:
            raise RefusedError(409, f"the video is {video.state}; ask again when it is done")
        name = f"restored{video.kind.suffix}"
        return FileResponse(video.result, media_type=video.kind.media_type, filename=name)

    @api.delete(
        "/{id}",
        status_code=204,
        summary="Stop, and delete everything of a video",
        responses=documented(401, 403, 404, 421, 422),
    )
    async def delete(id: Id) -> None:
        queue.drop(queue.find(id))

    return api


def _measure(queue: VideoQueue, registry: CollectorRegistry) -> None:
    """Let Prometheus and the log hear of videos."""
    here = Gauge("whet_videos", "Videos that hold a slot", registry=registry)
    here.set_function(lambda: len(queue))
    frames = Counter("whet_restored_frames", "Frames restored", ("model",), registry=registry)
    rate = Histogram(
        "whet_video_fps",
        "Frames a second, per video",
        ("model",),
        registry=registry,
        buckets=(0.3, 1, 3, 10, 25, 60, 120),
    )

    def ended(video: Video) -> None:
        frames.labels(video.model).inc(video.frames)
        if video.fps:
            rate.labels(video.model).observe(video.fps)
        facts = {"model": video.model, "state": video.state, "frames": video.frames}
        log("video", **facts, fps=round(video.fps or 0.0, 1))

    queue.ended = ended


def _status(video: Video) -> VideoStatus:
    shape = video.shape
    return VideoStatus(
        id=video.id,
        state=video.state,
        suffix=video.kind.suffix if video.kind else None,
        width=shape.width if shape else None,
        height=shape.height if shape else None,
        frames=video.frames,
        frames_expected=shape.frames if shape else None,
        fps=video.fps,
        seconds_left=video.seconds_left,
        detail=video.detail,
        notes=list(video.notes),
    )
