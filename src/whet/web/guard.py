"""The front door: who may come in, what every answer carries, what is written down.

Logs and metrics name the route, never the address: no name of a picture, no
query and no token gets into them.

Where others may come in, everything but reading needs the administrator's token.
Participants of studies never see that one; they show their own, which
:mod:`whet.web.study.routes` checks.

Whatever fails behind it is answered like everything else, with every header; what failed
is for the log.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whet.web.addresses import allowed, same_site
from whet.web.problems import RefusedError, failure_of, response
from whet.web.settings import Settings

__all__ = ["HEADERS", "Guard", "log", "log_as_json"]

HEADERS: Mapping[str, str] = {
    # Nothing from elsewhere, nothing inline; blob: is what the visitor picked.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' blob:; "
        "worker-src 'self' blob:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Both make a page cross-origin isolated, which threads in WebAssembly need.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer carries, unless its route has a value of its own."""

OWN_TOKENS = "/api/study/"
"""Addresses below this ask for a participant's token, not for the administrator's."""

_READING = ("GET", "HEAD", "OPTIONS")
_METHODS = (*_READING, "POST", "PUT", "PATCH", "DELETE")
_LOG = logging.getLogger("whet.serve")


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, settings: Settings, registry: CollectorRegistry) -> None:
        self._app = app
        self._settings = settings
        self._requests = Counter(
            "whet_requests", "Answered requests", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "whet_request_seconds",
            "From request to answer",
            ("route",),
            registry=registry,
            buckets=(0.005, 0.02, 0.1, 0.3, 1, 3, 10, 30, 120),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if "location" in headers:
                    headers["location"] = _relative(headers["location"], scope["path"])
            await send(message)

        refusal = self._refusal(scope)
        try:
            await (response(refusal) if refusal else self._app)(scope, receive, send_dressed)
        except ClientDisconnect:
            pass  # nobody is there to answer
        except Exception as error:
            _LOG.exception("request failed")
            if status:
                raise  # an answer that has begun can only be broken off
            await response(failure_of(error))(scope, receive, send_dressed)
        finally:
            self._write_down(scope, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> RefusedError | None:
        """Return why a request must not come in, or None."""
        headers, settings = Headers(scope=scope), self._settings
        host = headers.get("host", "")
        known = not settings.loopback and not settings.allowed_hosts
        if not known and not allowed(host, settings.allowed_hosts):
            # A page elsewhere may have had its own name point to this machine.
            sentence = f"this server does not answer to that name; open {settings.address}"
            return RefusedError(421, sentence.partition("#")[0])
        if scope["method"] in _READING:
            return None
        site, origin = headers.get("sec-fetch-site", "same-origin"), headers.get("origin")
        if site not in ("same-origin", "none") or (
            origin is not None and not same_site(origin, host, settings.allowed_hosts)
        ):
            return RefusedError(
                403, "another web site sent this request; open the pages of whet itself"
            )
        if settings.token is None or scope["path"].startswith(OWN_TOKENS):
            return None
        given = headers.get("authorization", "").removeprefix("Bearer ").strip()
        if secrets.compare_digest(given.encode("latin-1"), settings.token.encode()):
            return None
        sentence = (
            "open the address that this server printed when it started, which ends in its token, "
            "or send Authorization: Bearer TOKEN"
        )
        return RefusedError(401, sentence, {"WWW-Authenticate": "Bearer"})

    def _write_down(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        facts = {"method": method, "route": route, "status": status, "ms": round(seconds * 1e3, 1)}
        log("request", **facts, **scope.get("whet.facts", {}))


def _relative(location: str, path: str) -> str:
    """Return a redirection that adds or drops a slash, so that it leads on through any proxy.

    A server in front may have another scheme, name and folder than the ones seen here.
    """
    target, question, query = location.partition("?")
    last = target.rstrip("/").rpartition("/")[2]
    return (f"../{last}" if path.endswith("/") else f"{last}/") + question + query


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log(event: str, **facts: object) -> None:
    """Write one line about something that happened."""
    _LOG.info(event, extra={"facts": facts})


def log_as_json(*, quiet: bool = False) -> None:
    """Let this server, and Uvicorn below it, log JSON lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    for name in ("whet.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
    # Its lines hold addresses with queries; ours say the same without.
    logging.getLogger("uvicorn.access").disabled = True
