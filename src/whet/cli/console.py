"""What a command prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from whet.errors import Kind, WhetError

__all__ = ["Advance", "bar", "line", "note", "out", "with_remedy"]

Advance = Callable[..., None]
"""``advance(done, total, text="")``."""


def out(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Tell the person at the screen something; pipes do not see it."""
    sys.stderr.write(text + "\n")


@contextmanager
def bar(title: str, *, quiet: bool = False) -> Iterator[Advance]:
    """Show a progress bar with time left on stderr while the block runs, if someone looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        # Names of folders are shown: markup would choke on brackets in them.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, text="")

        def advance(done: int, total: int, text: str = "") -> None:
            progress.update(task, completed=done, total=total, text=text)

        yield advance


@contextmanager
def line(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show one line on stderr that changes while the block runs, if someone looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        yield lambda text: live.update(Text(text))


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
