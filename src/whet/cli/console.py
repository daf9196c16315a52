"""What a command prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "bar", "line", "note", "out"]

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
