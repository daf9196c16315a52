"""Connections that do not wait for ever.

Uvicorn closes a connection that stays idle behind an answer. One that never asks, that
asks by one byte a minute, or that stops taking its answer would stay: a few thousand of
them, or a network that went away, and nobody else comes in.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_S", "STALLED_S", "ImpatientProtocol"]

HEAD_S = 20.0
"""How long the head of a request may take, from its connection or its first byte on."""

STALLED_S = 60.0
"""How long a client may take nothing of an answer, and how long a silent one may be gone."""


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 as Uvicorn speaks it, with an end to every wait; bodies have theirs in uploads."""

    head_s = HEAD_S
    stalled_s = STALLED_S

    _asking: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _notice_loss(transport.get_extra_info("socket"))
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._stop("_asking")
        if not self.conn.trailing_data[0]:
            return  # Uvicorn's own limit for idle connections holds from here on
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(self.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("_taking")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("_asking")
        self._stop("_taking")
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Give the head of a request its time; more bytes of it do not give it more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop("_asking")
        elif self._asking is None:
            self._asking = self.loop.call_later(self.head_s, self.transport.abort)

    def _stop(self, name: Literal["_asking", "_taking"]) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
        setattr(self, name, None)


def _notice_loss(connection: socket.socket | None) -> None:
    """Let the system ask whether a silent client is still there."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = {"TCP_KEEPIDLE": STALLED_S / 2, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    with suppress(OSError):  # where a system has no such option, its own limits hold
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(value))
