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
from typing import Any, BinaryIO

import numpy as np

from whet.errors import ImageError, WhetError
from whet.files import reason, replacing
from whet.image.codecs import FORMATS, sniff
from whet.image.metadata import Metadata, Picture, Pixels, upright

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Metadata",
    "Picture",
    "Pixels",
    "format_of",
    "read",
    "sniff",
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
    raise ImageError(f"{target}: whet writes no {suffix!r} pictures; use one of {known}")


def read(source: Path | str | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one still picture.

    Args:
        source: a path, the content of a file, or an open binary stream.
        max_pixels: a picture whose header announces more is refused unread.

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
                return _read(stream, str(path), path.suffix.lower(), max_pixels)
        except IsADirectoryError:
            raise ImageError(f"{path} is a folder; name a picture in it") from None
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {reason(error)}") from error
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "the given bytes", "", max_pixels)
    if not source.seekable():
        source = io.BytesIO(source.read())
    return _read(source, str(getattr(source, "name", "the stream")), "", max_pixels)


def _read(stream: BinaryIO, name: str, suffix: str, max_pixels: int) -> Picture:
    """Read from a seekable stream that people know as ``name``."""
    stream.seek(0)
    head = stream.read(32)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes); get a complete copy of the file")
    format = sniff(head)
    if format is None:
        kinds = ", ".join(FORMATS)
        raise ImageError(
            f"{name} is no picture that whet can read (its content is none of {kinds})"
        )
    try:
        picture = FORMATS[format].decode(stream, max_pixels)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except WhetError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory; close other programs") from error
    # A decoder meets broken files with errors of every class, struct.error and
    # KeyError included; all mean the same to the user.
    except Exception as error:
        raise ImageError(
            f"{name}: the {format} data is damaged or incomplete ({error}); "
            "get a complete copy of the file"
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
        fitted, notes = _fit(picture, format)
    except ImageError as error:
        raise ImageError(f"{path}: {error}" if path else str(error)) from error
    if path is None:
        assert not isinstance(target, (str, Path))
        buffer = io.BytesIO()
        _encode(fitted, buffer, format, quality)
        try:
            target.write(buffer.getbuffer())
        except OSError as error:
            raise ImageError(f"the picture cannot be written: {reason(error)}") from error
        return notes
    with (
        replacing(path, overwrite=overwrite, error=ImageError) as temporary,
        temporary.open("w+b") as stream,
    ):
        _encode(fitted, stream, format, quality)
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


def _fit(picture: Picture, name: str) -> tuple[Picture, tuple[str, ...]]:
    """Reduce a picture to what format ``name`` can hold, and say what was reduced.

    Raises:
        ImageError: the reduction would lose transparency.
    """
    entry, notes, metadata = FORMATS[name], [], picture.metadata
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None and not entry.alpha:
        if (alpha < np.iinfo(alpha.dtype).max).any():
            raise ImageError(f"{name} holds no transparency; write a .png, .webp or .tif")
        alpha = None
    if pixels.dtype == np.uint16 and not entry.deep:
        pixels = _to_8bit(pixels)
        alpha = None if alpha is None else _to_8bit(alpha)
        notes.append(f"{name} holds 8 bits per channel: 16 were reduced to 8")
    if metadata.gray and not (entry.gray and (alpha is None or entry.alpha)):
        # A gray profile does not describe the three channels that are written.
        metadata = replace(metadata, gray=False, icc=None)
    if name == "JPEG" and max(map(len, (metadata.exif or b"", metadata.xmp or b""))) > 65000:
        metadata = replace(metadata, exif=None, xmp=None)
        notes.append("EXIF and XMP are larger than a JPEG can hold and were left out")
    return Picture(pixels, alpha, metadata), tuple(notes)


def _to_8bit(values: Any) -> Any:
    """Round 0..65535 to 0..255 (257 = 65535 / 255)."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
