"""Every error that whet raises on purpose.

::

    WhetError
    |-- InputError          what the user gave cannot be used (file, option, folder)
    |   |-- ImageError      a picture cannot be read or written
    |   |-- MediaError      a video, camera or stream cannot be read or written
    |   `-- DataError       a data set is missing, incomplete or inconsistent
    |-- ModelError          a model file or checkpoint cannot be trusted or does not fit
    |-- MissingExtraError   an optional part of whet is not installed
    `-- ExportError         an exported file does not agree with the network it came from

A message says what is wrong, and a remedy where there is one for everybody, in words for
somebody who sees neither a command line nor this code. What a door can do about it - an option,
a field, a button - the door adds itself, by the error's :class:`Kind` and never by its words.
The command line prints both on one line and exits with 2; a traceback therefore always means a
bug.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "DataError",
    "ExportError",
    "ImageError",
    "InputError",
    "Kind",
    "MediaError",
    "MissingExtraError",
    "ModelError",
    "WhetError",
    "install_command",
]


class Kind(StrEnum):
    """What is wrong, for whoever has to answer it.

    Kinds lie across the classes: a picture and a video may both be too large.
    """

    OTHER = "other"
    """Only the sentence tells."""
    BUSY = "busy"
    """It would work later."""
    DAMAGED = "damaged"
    """Its beginning is right, and then it ends or makes no sense."""
    EXISTS = "exists"
    """A result stands there already."""
    INTERLACED = "interlaced"
    """Video of fields, where only whole pictures can go."""
    SALVAGEABLE = "salvageable"
    """Damaged, and what is there can be used."""
    SOUND = "sound"
    """Sound that cannot be kept as it is."""
    SUBTITLES = "subtitles"
    """Subtitles that cannot be kept."""
    TOO_LARGE = "too large"
    """More pixels, bytes or seconds than are allowed."""
    UNKNOWN = "unknown"
    """Not what it should be: no picture, no video, or nothing at all."""
    UNSUPPORTED = "unsupported"
    """Whole, and of a kind that is not handled."""


class WhetError(Exception):
    """Base of all errors below.

    Attributes:
        kind: of what is wrong.
    """

    def __init__(self, message: str, kind: Kind = Kind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


class InputError(WhetError):
    """Something the user named or typed cannot be used."""


class ImageError(InputError):
    """A picture cannot be read or written."""


class MediaError(InputError):
    """A video, camera or stream cannot be read or written."""


class DataError(InputError):
    """A data set is missing, incomplete or inconsistent."""


class ModelError(WhetError):
    """A model file or checkpoint cannot be trusted or does not fit."""


class ExportError(WhetError):
    """An exported model does not agree with the network it came from."""


def install_command(extra: str) -> str:
    """Return what installs an extra; the distribution's name is not the package's."""
    return f"pip install 'whet-sharpen[{extra}]'"


class MissingExtraError(WhetError):
    """An optional part of whet is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: {install_command(extra)}")
        self.package = package
        self.extra = extra
