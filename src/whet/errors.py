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

The message of each names the remedy. The command line prints it on one line
and exits with 2; a traceback therefore always means a bug.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "ExportError",
    "ImageError",
    "InputError",
    "MediaError",
    "MissingExtraError",
    "ModelError",
    "WhetError",
    "install_command",
]


class WhetError(Exception):
    """Base of all errors below."""


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
