"""Refusals as ``application/problem+json`` (RFC 9457): a title, and a sentence with the remedy."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from whet.errors import Kind, MissingExtraError, ModelError, WhetError

__all__ = [
    "FULL",
    "Problem",
    "RefusedError",
    "documented",
    "failure_of",
    "refusal_of",
    "response",
]

TITLES: Mapping[int, str] = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Another site asked",
    404: "There is no such thing here",
    405: "This address does not do that",
    408: "The upload took too long",
    409: "Not now",
    413: "That is too large",
    415: "That is no picture",
    421: "This server has another name",
    422: "That cannot be used",
    429: "Too many at once",
    500: "Something went wrong",
    503: "That took too long",
    507: "There is no room left",
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when nothing more fits onto the disk."""


STATUSES: Mapping[Kind, int] = {
    Kind.BUSY: 503,
    Kind.EXISTS: 409,
    Kind.TOO_LARGE: 413,
    Kind.UNKNOWN: 415,
}
"""Kind of an error -> status of the refusal; 422 for any other."""

REMEDIES: Mapping[Kind, str] = {Kind.TOO_LARGE: "send a smaller one"}
"""Kind of an error -> what a visitor can do about it, where the sentence does not say."""


class Problem(BaseModel):
    """The body of every refusal."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class RefusedError(Exception):
    """A request that is answered with a problem instead of a result."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def response(refusal: RefusedError) -> JSONResponse:
    """Return the response that says what a refusal says."""
    title = TITLES.get(refusal.status, "The request was refused")
    problem = Problem(title=title, status=refusal.status, detail=refusal.detail)
    return JSONResponse(
        problem.model_dump(),
        status_code=refusal.status,
        media_type="application/problem+json",
        headers=refusal.headers,
    )


def refusal_of(error: WhetError) -> RefusedError:
    """Return the refusal for what whet raises on purpose, with this door's remedy."""
    if isinstance(error, ModelError):
        return RefusedError(500, str(error))
    status = 415 if isinstance(error, MissingExtraError) else STATUSES.get(error.kind, 422)
    remedy = REMEDIES.get(error.kind)
    return RefusedError(status, f"{error}; {remedy}" if remedy else str(error))


def failure_of(error: Exception) -> RefusedError:
    """Return the refusal for what nobody foresaw; only a full disk is told apart.

    The error itself, which may hold paths and more, goes to the log alone.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        sentence = "the disk of this server is full; try again later"
        return RefusedError(507, sentence, {"Connection": "close"})  # a body may be unread
    return RefusedError(500, "something went wrong on this server; its log says what")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the refusals that an address may give."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": TITLES[status], "content": content} for status in statuses}
