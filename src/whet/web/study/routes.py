"""Taking part in a study: what a participant's browser may ask, and what it is told.

**Who may write.** The administrator's token guards the machine's processor and never
reaches participants. They join by the address of the study alone, and get a token
of their own: 128 random bits, the only key to their answers. Below ``/api/study/``
the front door therefore asks for no administrator's token; it still refuses other
web sites (403). What a stranger could do is join, so joining is slowed down
(:class:`RateLimiter`), bodies are small, and pictures are given to participants only,
each when its turn comes.

**Where the token is.** Behind ``#`` in the participant's link, which browsers never
send, and in the header ``Whet-Participant``. Neither logs nor servers in between
see it in an address.

**Blind.** An address holds the study's id, a trial's id and a slot; all else is what
:meth:`whet.study.design.Trial.view` returns. Pictures go out without name, date or
tag, for the order in which files were written would tell methods apart.

**Timed.** Browsers measure how long an answer took, and may say anything. More than what
passed here since the pictures were asked for is not believed (:mod:`whet.web.study.stopwatch`).

**Durable.** The answer to a rating is sent after the database has committed it, and
carries the next trial. A rating sent again gets the same answer as before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from threading import Lock
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from whet.study.design import View, completion, picture_path
from whet.study.schema import sa
from whet.study.store import OutOfTurnError, UnknownLinkError
from whet.web import problems
from whet.web.pages.routes import html
from whet.web.pages.template import PARTICIPANT
from whet.web.problems import RefusedError, documented
from whet.web.study.folders import OpenStudy
from whet.web.study.schemas import (
    Answer,
    Choice,
    Joining,
    Link,
    Receipt,
    Study,
    StudyCard,
    Trial,
    Turn,
)
from whet.web.study.stopwatch import Stopwatch
from whet.web.uploads import read_body

__all__ = ["add_study"]

Form = TypeVar("Form", bound=BaseModel)
Id = Annotated[str, Path(max_length=64)]
Token = Annotated[str, Header(alias="Whet-Participant", max_length=64)]

_BODY_BYTES, _BODY_S = 1024, 20.0
_JOIN_BURST, _JOINS_PER_S = 60, 1.0
"""A class may join at once; a script that joins for ever wastes a number per second."""

_READING = documented(404, 409, 421, 422, 503)
_WRITING = documented(403, 408, 413) | _READING


def add_study(app: FastAPI, studies: Mapping[str, OpenStudy]) -> None:
    """Let the application show ``studies`` (by id) and take answers."""
    _add_problems(app)
    app.include_router(_about(studies))
    app.include_router(_taking_part(studies))


def _about(studies: Mapping[str, OpenStudy]) -> APIRouter:
    """What everybody may read."""
    routes = APIRouter(tags=["study"])

    @routes.get("/study/{study}", include_in_schema=False)
    def page(study: str) -> HTMLResponse:
        # The page itself says that it knows no such study.
        return html(PARTICIPANT, 200 if study in studies else 404)

    @routes.get("/api/studies", summary="The studies that can be taken part in")
    def listed() -> list[StudyCard]:
        return [StudyCard(**_facts(study)) for study in studies.values()]

    @routes.get("/api/study/{study}", summary="What a study asks for", responses=_READING)
    def about(study: Id) -> Study:
        found = _found(studies, study)
        plan = found.plan
        labels = ("left", "right") if plan.paired else plan.scale
        return Study(
            **_facts(found),
            consent=plan.consent,
            instructions=plan.instructions,
            question=plan.asks,
            practice=plan.practice,
            answers=_choices(tuple(enumerate(labels, start=1))),
            external=plan.external,
        )

    return routes


def _taking_part(studies: Mapping[str, OpenStudy]) -> APIRouter:
    """What participants do, each by a token of their own."""
    routes = APIRouter(prefix="/api/study/{study}", tags=["study"])
    limiter = RateLimiter(_JOIN_BURST, _JOINS_PER_S)
    watch = Stopwatch()

    @routes.post(
        "/join",
        summary="Take part",
        status_code=201,
        responses=documented(429) | _WRITING,
        openapi_extra=_body(Joining),
    )
    async def join(study: Id, request: Request) -> Link:
        found = _found(studies, study)
        body = await _posted(request, Joining)
        if not (body.consented and body.display_ok):
            raise OutOfTurnError("please agree, and use a window that is large enough, at 100%")
        limiter.enter()

        def admit() -> str:
            # Only who really starts gets a number: numbers keep the orders balanced.
            token = found.store.join(study, body.external_id)
            found.store.begin(token, consented=True, display_ok=True)
            return token

        return Link(token=await run_in_threadpool(admit))

    @routes.get("/turn", summary="The next trial", responses=_READING)
    def turn(study: Id, token: Token = "") -> Turn:
        return _turn(_of(studies, study, token), token)

    @routes.get(
        "/trials/{trial}/{slot}",
        summary="A picture of a trial",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}, **_READING},
    )
    def picture(study: Id, trial: Id, slot: Id, token: Token = "") -> Response:
        found = _of(studies, study, token)
        shown = found.store.trial(token, trial)
        watch.start(token, trial)
        try:
            data = picture_path(found.folder, shown, slot).read_bytes()
        except OSError:
            sentence = "a picture is missing; please tell whoever invited you"
            raise RefusedError(500, sentence) from None
        return Response(data, media_type="image/png")

    @routes.post(
        "/trials/{trial}",
        summary="Answer a trial; it is in the database when this answers",
        responses=_WRITING,
        openapi_extra=_body(Answer),
    )
    async def rate(study: Id, trial: Id, request: Request, token: Token = "") -> Receipt:
        body = await _posted(request, Answer)

        def keep() -> Receipt:
            found = _of(studies, study, token)
            elapsed_ms = watch.checked(token, trial, body.elapsed_ms)
            kept = found.store.rate(token, trial, body.answer, elapsed_ms)
            return Receipt(answer=kept.answer, fresh=kept.fresh, turn=_turn(found, token))

        return await run_in_threadpool(keep)

    @routes.delete(
        "/answers",
        summary="Withdraw: delete all answers",
        status_code=204,
        responses=documented(403) | _READING,
    )
    def withdraw(study: Id, token: Token = "") -> None:
        _of(studies, study, token).store.withdraw(token)
        watch.forget(token)

    return routes


class RateLimiter:
    """Lets ``burst`` through at once, then ``per_second``; nobody's address is looked at."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._free, self._then = float(burst), time.monotonic()
        self._lock = Lock()

    def enter(self) -> None:
        """Pass, or raise RefusedError 429 that says when to come back."""
        with self._lock:
            now = time.monotonic()
            gained = (now - self._then) * self._per_second
            self._free, self._then = min(self._burst, self._free + gained), now
            if self._free < 1:
                seconds = math.ceil((1 - self._free) / self._per_second)
                sentence = "many people are joining right now; try again in a moment"
                raise RefusedError(429, sentence, {"Retry-After": str(seconds)})
            self._free -= 1


def _found(studies: Mapping[str, OpenStudy], study: str) -> OpenStudy:
    if study not in studies:
        raise UnknownLinkError("there is no such study here; check that the link is complete")
    return studies[study]


def _of(studies: Mapping[str, OpenStudy], study: str, token: str) -> OpenStudy:
    """Return a study after checking that the token belongs to it."""
    found = _found(studies, study)
    if found.store.participant(token).study != study:
        raise UnknownLinkError("this link belongs to another study; check that it is complete")
    return found


def _turn(study: OpenStudy, token: str) -> Turn:
    trial = study.store.next_trial(token)
    if trial is None:
        who = study.store.participant(token)
        code = completion(study.plan, who.number)
        return Turn(rated=who.total, total=who.total, trial=None, completion=code)
    shown = _shown(trial.view(study.plan))
    return Turn(rated=trial.position, total=trial.total, trial=shown, completion=None)


def _shown(view: View) -> Trial:
    return Trial(
        id=view.id,
        index=view.index,
        practice=view.practice,
        break_before=view.break_before,
        question=view.question,
        slots=list(view.slots),
        answers=_choices(view.answers),
    )


def _choices(answers: tuple[tuple[int, str], ...]) -> list[Choice]:
    return [Choice(value=value, label=label) for value, label in answers]


def _facts(study: OpenStudy) -> dict[str, Any]:
    plan = study.plan
    return {
        "id": plan.id,
        "title": plan.title,
        "protocol": plan.protocol,
        "trials": study.trials,
        "width_px": plan.display.width_px,
        "height_px": plan.display.height_px,
    }


async def _posted(request: Request, form: type[Form]) -> Form:
    """Read a small JSON body; its type makes browsers ask before they send it elsewhere."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(422, "send the answer with Content-Type: application/json")
    return form.model_validate_json(await read_body(request, _BODY_BYTES, _BODY_S))


def _body(form: type[BaseModel]) -> dict[str, Any]:
    content = {"application/json": {"schema": form.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _add_problems(app: FastAPI) -> None:
    """Give the database's refusals their own statuses."""

    @app.exception_handler(UnknownLinkError)
    async def unknown(_: Request, error: UnknownLinkError) -> Response:
        return problems.response(RefusedError(404, str(error)))

    @app.exception_handler(OutOfTurnError)
    async def early(_: Request, error: OutOfTurnError) -> Response:
        return problems.response(RefusedError(409, str(error)))

    @app.exception_handler(sa.exc.SQLAlchemyError)
    async def database(_: Request, __: sa.exc.SQLAlchemyError) -> Response:
        sentence = "the database does not answer; nothing was acknowledged, so send it again"
        return problems.response(RefusedError(503, sentence, {"Retry-After": "2"}))
