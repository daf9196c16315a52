"""Bodies of requests: read into memory, within limits, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.formparsers import MultiPartException, MultiPartParser

from whet.web.problems import RefusedError
from whet.web.settings import Settings

__all__ = ["Upload", "in_time", "read_body", "read_upload"]

_MOST_PARTS = 16


class _InMemory(MultiPartParser):
    """A parser whose files stay in memory: pictures are not written to disk, not even briefly."""

    spool_max_size = 2**62


@dataclass(frozen=True)
class Upload:
    """What came in.

    Attributes:
        files: field name -> content. A raw body is called ``picture``. The names
            that files had at the sender's are dropped unread.
        fields: the other fields of a form.
    """

    files: dict[str, bytes]
    fields: dict[str, str]


async def read_upload(request: Request, settings: Settings) -> Upload:
    """Read a multipart form, or a raw body.

    Raises:
        RefusedError: 400 no readable form, 408 too slow, 413 too large.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with in_time(settings.max_seconds):
            return await _form(request, settings.max_bytes)
    return Upload(
        {"picture": await read_body(request, settings.max_bytes, settings.max_seconds)}, {}
    )


async def read_body(request: Request, max_bytes: int, max_seconds: float) -> bytes:
    """Read a whole body.

    Raises:
        RefusedError: 408 too slow, 413 too large.
    """
    async with in_time(max_seconds):
        return b"".join([chunk async for chunk in _limited(request, max_bytes)])


@asynccontextmanager
async def in_time(max_seconds: float) -> AsyncIterator[None]:
    """Give an upload a time.

    Raises:
        RefusedError: 408, it took longer.
    """
    try:
        async with asyncio.timeout(max_seconds):
            yield
    except TimeoutError:
        sentence = f"the upload took more than {max_seconds:g} s; send less"
        raise RefusedError(408, sentence, {"Connection": "close"}) from None


async def _form(request: Request, limit: int) -> Upload:
    parser = _InMemory(
        request.headers,
        _limited(request, limit),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=2**16,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, ValueError) as error:
        said = getattr(error, "message", None) or "it has no boundary, or a broken part"
        raise RefusedError(
            400, f"the form cannot be read ({said}); send multipart/form-data"
        ) from error
    try:
        files: dict[str, bytes] = {}
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields[name] = value
            else:
                files[name] = await value.read()
        return Upload(files, fields)
    finally:
        await form.close()


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Pass a body on until it proves too large, whatever its header claims."""
    size = f"{limit / 1e6:.0f} MB" if limit >= 1e6 else f"{limit} bytes"
    sentence = f"the upload is larger than {size}; send a smaller file"
    claimed = request.headers.get("content-length", "")
    if claimed.isascii() and claimed.isdigit() and int(claimed) > limit:
        raise RefusedError(413, sentence, {"Connection": "close"})
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise RefusedError(413, sentence, {"Connection": "close"})
        yield chunk
