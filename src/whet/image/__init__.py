"""Still pictures: the pixel contract, and reading and writing that lose nothing.

Pixels are uint8 or uint16, HWC, RGB, upright; alpha stands apart. Bit depth,
alpha, gray, ICC profile, EXIF, XMP and resolution survive wherever the target
format can hold them; what it cannot hold is said, never dropped silently.

The file's content decides its format, the suffix only names it. Headers are
checked before memory is taken. A file appears under its name when it is
complete, or not at all.

JPEG is written with 4:4:4 chroma: halved chroma would blur again the coloured
edges that were just restored, for about a tenth of the bytes. Its quality is
that of the source, but at least 85, and 95 where the source was no JPEG.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from whet.errors import ImageError, Kind, WhetError
from whet.files import reason, replacing
from whet.image.codecs import FORMATS, sniff
from whet.image.fit import fitted, to_8bit
from whet.image.metadata import Metadata, Picture, Pixels, stripped, upright
from whet.image.sound import sound

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Metadata",
    "Picture",
    "Pixels",
    "format_of",
    "read",
    "sniff",
    "stripped",
    "suffix_of",
    "to_8bit",
    "write",
]

MAX_PIXELS = 2**28
"""Default limit of a picture, 268 megapixels: 0.8 GB as 8-bit RGB."""

SUFFIXES = tuple(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
"""File name endings of every format that can be read, in lower case."""


def format_of(target: str | Path) -> str:
    """Return the format that can be written under a file name or suffix.

    Raises:
        ImageError: the suffix is of no format that whet writes.
    """
    name = str(target).lower()
    suffix = Path(name).suffix or (name if name.startswith(".") else f".{name}")
    for format, entry in FORMATS.items():
        if suffix in entry.suffixes and entry.encode is not None:
            return format
    known = ", ".join(entry.suffixes[0] for entry in FORMATS.values() if entry.encode)
    raise ImageError(
        f"{target}: whet writes no {suffix!r} pictures; use one of {known}", Kind.UNSUPPORTED
    )


def suffix_of(head: bytes) -> str:
    """Return the usual suffix of a picture whose first bytes are given, or ""."""
    format = sniff(head)
    return FORMATS[format].suffixes[0] if format else ""


def read(
    source: Path | str | bytes | BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    allow_damage: bool = False,
) -> Picture:
    """Read one still picture.

    Args:
        source: a path, the content of a file, or an open binary stream.
        max_pixels: a picture whose header announces more is refused unread.
        allow_damage: read a damaged JPEG as far as it goes, with a note.

    Returns:
        The upright picture; ``metadata.notes`` says what could not be kept.

    Raises:
        ImageError: it does not exist, is empty, damaged, incomplete, too large,
            animated, has several pages, or is no picture.
        MissingExtraError: it is HEIC and the extra ``heif`` is not installed.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        try:
            with path.open("rb") as stream:
                if not stream.seekable():  # a named pipe
                    return _read(io.BytesIO(stream.read()), str(path), "", max_pixels, allow_damage)
                return _read(stream, str(path), path.suffix.lower(), max_pixels, allow_damage)
        except IsADirectoryError:
            raise ImageError(f"{path} is a folder; name a picture in it") from None
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {reason(error)}") from error
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "the given bytes", "", max_pixels, allow_damage)
    if not source.seekable():
        source = io.BytesIO(source.read())
    name = str(getattr(source, "name", "the stream"))
    return _read(source, name, "", max_pixels, allow_damage)


def _read(stream: BinaryIO, name: str, suffix: str, max_pixels: int, allow_damage: bool) -> Picture:
    """Read from a seekable stream that people know as ``name``."""
    stream.seek(0)
    head = stream.read(32)
    if not head:
        raise ImageError(
            f"{name} is empty (0 bytes); get a complete copy of the file", Kind.UNKNOWN
        )
    format = sniff(head)
    if format is None:
        kinds = ", ".join(FORMATS)
        raise ImageError(
            f"{name} is no picture that whet can read (its content is none of {kinds})",
            Kind.UNKNOWN,
        )
    try:
        entry = FORMATS[format]
        decode = entry.salvage if allow_damage and entry.salvage else entry.decode
        picture = decode(stream, max_pixels)
        picture = replace(picture, metadata=sound(picture.metadata))
    except ImageError as error:
        raise ImageError(f"{name}: {error}", error.kind) from error
    except WhetError:
        raise
    except MemoryError as error:
        raise ImageError(
            f"{name} does not fit into memory; close other programs", Kind.TOO_LARGE
        ) from error
    # A decoder meets broken files with errors of every class, struct.error and
    # KeyError included; all mean the same to the user.
    except Exception as error:
        raise ImageError(
            f"{name}: the {format} data is damaged or incomplete ({error}); "
            "get a complete copy of the file",
            Kind.DAMAGED,
        ) from error
    if suffix in SUFFIXES and suffix not in FORMATS[format].suffixes:
        note = f"the file is {format} in spite of its suffix {suffix}"
        notes = (*picture.metadata.notes, note)
        picture = replace(picture, metadata=replace(picture.metadata, notes=notes))
    return upright(picture)


def write(
    picture: Picture,
    target: Path | str | BinaryIO,
    format: str | None = None,
    *,
    quality: int | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write one picture, completely or not at all.

    Args:
        picture: what to write.
        target: a path, or an open binary stream.
        format: a key of ``FORMATS`` or a suffix; None takes the target's suffix,
            for a stream the format that the picture came from, else PNG.
        quality: 1 to 100 for lossy formats; None is chosen as the module says.
        overwrite: whether an existing file may be replaced.

    Returns:
        What the format could not hold, in sentences for the user.

    Raises:
        ImageError: the file exists, its folder cannot be written, the disk is
            full, or the format cannot hold the picture.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"quality is {quality}; choose 1 to 100")
    path = Path(target) if isinstance(target, (str, Path)) else None
    if format is None:
        came_from = FORMATS.get(picture.metadata.format)
        format = came_from.suffixes[0] if came_from and came_from.encode else ".png"
        format = str(path) if path else format
    format = format_of(format)
    try:
        fitting, notes = fitted(picture, format, FORMATS[format].holds)
    except ImageError as error:
        raise ImageError(f"{path}: {error}" if path else str(error), error.kind) from error
    if path is None:
        assert not isinstance(target, (str, Path))
        buffer = io.BytesIO()
        _encode(fitting, buffer, format, quality)
        try:
            target.write(buffer.getbuffer())
        except OSError as error:
            raise ImageError(f"the picture cannot be written: {reason(error)}") from error
        return notes
    with (
        replacing(path, overwrite=overwrite, error=ImageError) as temporary,
        temporary.open("w+b") as stream,
    ):
        _encode(fitting, stream, format, quality)
    return notes


def _encode(picture: Picture, stream: BinaryIO, format: str, quality: int | None) -> None:
    """Encode; refusals of the encoder become errors that name a remedy."""
    encode = FORMATS[format].encode
    assert encode is not None
    try:
        encode(picture, stream, quality)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refusal(picture, format, error) from error
    except (ValueError, RuntimeError) as error:
        raise _refusal(picture, format, error) from error


def _refusal(picture: Picture, format: str, error: Exception) -> ImageError:
    height, width = picture.pixels.shape[:2]
    return ImageError(
        f"{width} x {height} pixels cannot be written as {format} ({error}); try .png or .tif"
    )
