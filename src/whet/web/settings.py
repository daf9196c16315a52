"""What a server may be asked for, and how much of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from whet.web.addresses import is_loopback, reachable

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SECONDS",
    "MAX_VIDEO_BYTES",
    "MAX_VIDEO_SECONDS",
    "MAX_VIDEO_WORK",
    "VIDEOS",
    "WAITING",
    "Settings",
    "drawn_token",
]

MAX_BYTES = 2**26
"""Default limit of a request's body, 67 MB."""

MAX_PIXELS = 2**26
"""Default limit of a picture, 67 megapixels: 0.2 GB as 8-bit RGB, held three times at most."""

MAX_SECONDS = 120.0
WAITING = 8

VIDEOS = 4
MAX_VIDEO_BYTES = 2**29
"""Default limit of a video, 537 MB; on disk, not in memory."""

MAX_VIDEO_SECONDS = 600.0
MAX_VIDEO_WORK = 3600.0


@dataclass(frozen=True)
class Settings:
    """How a server is run.

    Attributes:
        host: address to listen on.
        port: port to listen on.
        allowed_hosts: names, beside those of this machine, by which the server may be called;
            ``*.example.org`` is every name below it. Empty: any, if others can reach it at all.
        token: what requests that write must present; None where nobody is asked.
        reports: folders in which reports of ``whet evaluate`` are looked for.
        studies: folders of opinion studies that people may take part in.
        database: URL of the database for all of them; None for SQLite in each folder.
        runtime: key of ``whet.runtime.RUNTIMES``, or ``auto``.
        threads: of computation per picture; None leaves it to the runtime.
        max_bytes: of a request's body.
        max_pixels: of a picture; more are refused by its header.
        max_seconds: for a body to arrive, and again for its answer.
        workers: pictures restored at once; each takes all threads.
        waiting: pictures that may wait for a worker; the next one is refused.
        videos: that may be here at once, from their upload until they are fetched.
        max_video_bytes: of a video's upload.
        max_video_seconds: that a video may last.
        max_video_work: seconds that may be spent on one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ()
    token: str | None = None
    reports: tuple[Path, ...] = ()
    studies: tuple[Path, ...] = ()
    database: str | None = field(default=None, repr=False)
    runtime: str = "auto"
    threads: int | None = None
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    max_seconds: float = MAX_SECONDS
    workers: int = 1
    waiting: int = WAITING
    videos: int = VIDEOS
    max_video_bytes: int = MAX_VIDEO_BYTES
    max_video_seconds: float = MAX_VIDEO_SECONDS
    max_video_work: float = MAX_VIDEO_WORK

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server, unless something passes others on."""
        return is_loopback(self.host)

    @property
    def behind(self) -> tuple[str, ...]:
        """Addresses by which visitors come through a server in front of this one."""
        token = f"#token={self.token}" if self.token else ""
        names = (name for name in self.allowed_hosts if not name.startswith("*."))
        return tuple(f"https://{name}/{token}" for name in names) if self.loopback else ()

    @property
    def address(self) -> str:
        """What to open in a browser; it carries the token behind ``#``, which is never sent.

        A server that listens on every address is named by one that other machines can open.
        """
        host = reachable(self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"#token={self.token}" if self.token else "")


def drawn_token() -> str:
    """Return a new token of 128 random bits."""
    return secrets.token_urlsafe(16)
