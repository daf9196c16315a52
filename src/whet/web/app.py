"""The web application: which address does what. No logic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import cache, partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import process_collector as process
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from whet.artifact import Card, read_card, shipped
from whet.errors import WhetError
from whet.version import __version__
from whet.web import problems
from whet.web.guard import Guard
from whet.web.leftovers import sweep
from whet.web.live.routes import add_live
from whet.web.pages.routes import add_pages
from whet.web.pictures.jobs import Answer, PictureJobs, known_model, model_names
from whet.web.pictures.schemas import MEDIA_TYPES, Health, Limits, Model, Options, ScoreTable, body
from whet.web.problems import RefusedError, documented
from whet.web.queries import refuse_unknown, refuse_unknown_query
from whet.web.reports import add_reports
from whet.web.settings import Settings
from whet.web.studio.queue import StudioQueue
from whet.web.studio.routes import studio_routes
from whet.web.study.folders import open_studies
from whet.web.study.routes import add_study
from whet.web.uploads import Upload, read_upload
from whet.web.videos.queue import VideoQueue
from whet.web.videos.routes import video_routes

__all__ = ["create_app"]

NOTES = "Whet-Notes"
"""Header of a restored picture: what could not be kept, as a JSON list of sentences in ASCII."""

_NOTES = {
    "description": "What could not be kept: a JSON list of sentences, in ASCII",
    "schema": {"type": "string"},
}
WORDS = ("fast", "balanced", "best")
"""What the models are to people, by what they compute; more of them keep their names alone."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; it opens models when they are first asked for.

    Raises:
        InputError: a study or its database cannot be used.
    """
    settings = settings or Settings()
    registry = CollectorRegistry()
    process.ProcessCollector(registry=registry)
    jobs = PictureJobs(settings)
    videos = VideoQueue(settings, jobs.session)
    studio = StudioQueue(settings)
    studies = open_studies(settings.studies, settings.database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(sweep)
        sweeping = asyncio.create_task(videos.sweep_forever())
        yield
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        jobs.close()
        await asyncio.to_thread(videos.close)
        await asyncio.to_thread(studio.close)
        for study in studies.values():
            study.store.close()

    app = FastAPI(
        title="whet",
        version=__version__,
        description=(
            "Restores pictures and videos on this machine. They are neither kept nor passed on."
        ),
        # The usual pages load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_query)],
        lifespan=lifespan,
    )
    _add_problems(app)
    app.include_router(_restoring(settings, jobs, registry))
    app.include_router(video_routes(settings, videos, registry))
    app.include_router(studio_routes(settings, studio))
    app.include_router(_about(settings, jobs, registry))
    add_pages(app)
    add_live(app)
    add_reports(app, settings.reports)
    add_study(app, studies)
    app.add_middleware(Guard, settings=settings, registry=registry)
    return app


def _restoring(settings: Settings, jobs: PictureJobs, registry: CollectorRegistry) -> APIRouter:
    """What takes pictures."""
    api = APIRouter(prefix="/api", tags=["pictures"])
    seconds = Histogram(
        "whet_restore_seconds", "In the network, per picture", ("model",), registry=registry
    )
    pixels = Counter("whet_restored_pixels", "Pixels restored", ("model",), registry=registry)
    refusals = documented(400, 401, 403, 408, 413, 415, 421, 422, 429, 503)

    @api.post(
        "/restore",
        summary="Restore a picture",
        response_class=Response,
        responses={
            200: {
                "description": "The picture, with everything its file carried",
                "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
                "headers": {NOTES: _NOTES},
            },
            **refusals,
        },
        openapi_extra=body("picture", raw=True),
    )
    async def restore(request: Request, options: Annotated[Options, Query()]) -> Response:
        async with jobs.slot() as slot:
            upload = await read_upload(request, settings)
            picture, chosen = _picture(upload), _chosen(options, upload)
            work = partial(
                jobs.restore,
                picture,
                chosen.model,
                chosen.strength,
                chosen.format,
                chosen.quality,
            )
            answer = await slot.run(work)
        seconds.labels(chosen.model).observe(answer.seconds)
        pixels.labels(chosen.model).inc(answer.pixels)
        request.scope["whet.facts"] = {
            "model": chosen.model,
            "pixels": answer.pixels,
            "network_ms": round(answer.seconds * 1e3, 1),
        }
        return _restored(answer)

    @api.post(
        "/score",
        summary="Compare a picture, untouched and restored, with a reference",
        responses=refusals,
        openapi_extra=body("picture", "reference", raw=False),
    )
    async def score(request: Request, options: Annotated[Options, Query()]) -> ScoreTable:
        async with jobs.slot() as slot:
            upload = await read_upload(request, settings)
            picture, reference = (_part(upload, name) for name in ("picture", "reference"))
            chosen = _chosen(options, upload)
            work = partial(jobs.score, picture, reference, chosen.model, chosen.strength)
            return ScoreTable(**asdict(await slot.run(work)))

    return api


def _about(settings: Settings, jobs: PictureJobs, registry: CollectorRegistry) -> APIRouter:
    """What tells about the server."""
    routes = APIRouter(tags=["server"])
    taken = Gauge("whet_slots_taken", "Pictures waiting or at work", registry=registry)
    taken.set_function(lambda: jobs.taken)

    asked = documented(421, 422)

    @routes.get(
        "/api/models", summary="The models, with their time on this machine", responses=asked
    )
    async def models() -> list[Model]:
        jobs.time_models()
        return [_model(name, jobs.seconds_per_mpx.get(name)) for name in model_names()]

    @routes.get("/api/limits", summary="The largest picture and the longest video", responses=asked)
    async def limits() -> Limits:
        return Limits(**{name: getattr(settings, name) for name in Limits.model_fields})

    @routes.get("/healthz", summary="Whether the server takes pictures")
    async def health() -> Health:
        busy = jobs.taken >= settings.workers + settings.waiting
        return Health(status="busy" if busy else "ok", version=__version__, slots_taken=jobs.taken)

    @routes.get("/metrics", summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return routes


def _chosen(options: Options, upload: Upload) -> Options:
    """Return the options, those of the form before those of the query."""
    refuse_unknown(upload.fields, Options.model_fields)
    chosen = Options.model_validate({**options.model_dump(), **upload.fields})
    for name in (options.model, chosen.model):
        known_model(name)
    return chosen


def _picture(upload: Upload) -> bytes:
    """Return the one file of an upload, whatever its field is called."""
    lone = len(upload.files) == 1 and "picture" not in upload.fields
    return next(iter(upload.files.values())) if lone else _part(upload, "picture")


def _part(upload: Upload, name: str) -> bytes:
    if name not in upload.files:
        raise RefusedError(422, f"the form has no file called {name!r}; add one")
    return upload.files[name]


def _restored(answer: Answer) -> Response:
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(answer.format, answer.format.lower())
    headers = {
        "Content-Disposition": f'attachment; filename="restored.{suffix}"',
        "Server-Timing": f"network;dur={answer.seconds * 1e3:.1f}",
        NOTES: json.dumps(answer.notes),
    }
    return Response(answer.data, media_type=MEDIA_TYPES[answer.format], headers=headers)


@cache
def _card(name: str) -> Card:
    return read_card(shipped()[name])


def _words() -> dict[str, str]:
    """Return a word for the models that have one: the smallest, the middle and the largest."""
    names = sorted(model_names(), key=lambda name: _card(name).kmac_per_px)
    if len(names) < len(WORDS):
        return {}
    return dict(zip((names[0], names[len(names) // 2], names[-1]), WORDS, strict=True))


def _model(name: str, seconds_per_mpx: float | None) -> Model:
    card = _card(name)
    gains = {suite: s["gain_db"] for suite, s in card.scores.items() if "gain_db" in s}
    return Model(
        name=name,
        word=_words().get(name),
        architecture=card.architecture,
        parameters=card.parameters,
        kmac_per_px=card.kmac_per_px,
        seconds_per_mpx=seconds_per_mpx,
        gains_db=gains,
    )


def _allowed(app: FastAPI, request: Request) -> str:
    """Return all methods of an address; each of its routes knows only its own."""
    methods: set[str] = set()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in app.router.routes):
            methods.add(method)
    return ", ".join(sorted(methods))


def _add_problems(app: FastAPI) -> None:
    """Let everything that is refused be a problem."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return problems.response(error)

    @app.exception_handler(WhetError)
    async def ours(_: Request, error: WhetError) -> Response:
        return problems.response(problems.refusal_of(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(app, request)
        return problems.response(RefusedError(error.status_code, str(error.detail), headers))

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(ValidationError)
    async def invalid(_: Request, error: Any) -> Response:
        first = error.errors()[0]
        place = first["loc"][-1] if first["loc"] else "the body"
        return problems.response(RefusedError(422, f"{place}: {first['msg']}"))

    @app.exception_handler(MemoryError)
    async def full(_: Request, __: MemoryError) -> Response:
        return problems.response(RefusedError(413, "the picture does not fit into memory"))
