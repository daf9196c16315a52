"""What the command line can do about an error of a kind: an option of the command in question."""

from __future__ import annotations

from collections.abc import Mapping

from whet.errors import Kind, WhetError

__all__ = ["with_remedy"]

REMEDIES: Mapping[Kind, Mapping[str, str]] = {
    Kind.EXISTS: {"--overwrite": "--overwrite replaces it"},
    Kind.INTERLACED: {"--deinterlace": "--deinterlace makes a picture of each field"},
    Kind.SALVAGEABLE: {"--accept-damaged": "--accept-damaged restores what is there"},
    Kind.SOUND: {"--audio": "--audio aac (or opus, for .webm) converts it"},
    Kind.SUBTITLES: {"--drop-subtitles": "--drop-subtitles leaves it out"},
    Kind.TOO_LARGE: {"--max-pixels": "if you trust the file, raise the limit with --max-pixels"},
}
"""Kind -> option -> sentence; the first option that the command has is told."""


def with_remedy(error: WhetError, *words: str) -> str:
    """Return what an error says, and the option that helps.

    Args:
        words: those of the command line, behind ``whet``; what is no command is passed over.
    """
    options = _options(words)
    found = REMEDIES.get(error.kind, {})
    remedy = next((text for option, text in found.items() if option in options), "")
    return f"{error}; {remedy}" if remedy else str(error)


def _options(words: tuple[str, ...]) -> set[str]:
    """Return the options of the command that ``words`` call."""
    import typer.main

    from whet.cli.main import app

    command = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return {option for parameter in command.params for option in parameter.opts}
