"""Bodies of requests: read into memory, within limits, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from starlette.formparsers import MultiPartException, MultiPartParser

from whet.apps.site.problem import RefusedError
from whet.apps.site.settings import Settings

__all__ = ["Upload", "read_upload"]

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
    try:
        async with asyncio.timeout(settings.max_seconds):
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                return await _form(request, settings.max_bytes)
            chunks = [chunk async for chunk in _limited(request, settings.max_bytes)]
    except TimeoutError:
        sentence = f"the upload took more than {settings.max_seconds:g} s; try a smaller picture"
        raise RefusedError(408, sentence, {"Connection": "close"}) from None
    return Upload({"picture": b"".join(chunks)}, {})


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
    sentence = f"the upload is larger than {limit / 1e6:.0f} MB; send a smaller file"
    claimed = request.headers.get("content-length", "")
    if claimed.isascii() and claimed.isdigit() and int(claimed) > limit:
        raise RefusedError(413, sentence, {"Connection": "close"})
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise RefusedError(413, sentence, {"Connection": "close"})
        yield chunk
