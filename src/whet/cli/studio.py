"""What commands do about heavy networks: offer the download, show tiles, say how long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from whet.cli.console import line, note
from whet.studio import STUDIO, duration, open_model

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["opened"]


@contextmanager
def opened(model: str, runtime: str, threads: int | None, *, quiet: bool) -> Iterator[Session]:
    """Open a model for a command; show the tiles of a heavy one, and keep them if it breaks off.

    Raises:
        typer.Exit: 130, the command was interrupted during a heavy network's work.
        InputError, MissingExtraError, ModelError: see :func:`whet.studio.open_model`.
    """
    _offer_download(model, quiet=quiet)
    session = open_model(model, runtime, threads)
    if not hasattr(session, "on_tile"):
        yield session
        return
    from whet.studio.session import StudioSession, TileDone

    assert isinstance(session, StudioSession)
    with line(quiet=quiet) as show:
        show(f"{session.card.name}: preparing")

        def tell(done: TileDone) -> None:
            left = "" if done.seconds_left is None else f", {duration(done.seconds_left)} left"
            filled = round(24 * done.number / done.total)
            bar = "#" * filled + "-" * (24 - filled)
            show(f"{session.card.name} [{bar}] tile {done.number} of {done.total}{left}")

        session.on_tile = tell
        try:
            yield session
        except KeyboardInterrupt:
            note("interrupted: finished tiles are kept, and the same command goes on from them")
            raise typer.Exit(130) from None


def _offer_download(model: str, *, quiet: bool) -> None:
    """Fetch the weights of a named network if they are missing and someone says yes."""
    from whet.fetch.weights import FETCHABLE, cached, fetch

    named = STUDIO.get(model)
    if named is None or cached(named.weights) is not None:
        return
    item = FETCHABLE[named.weights]
    note(f"{item.summary}; licence: {item.licence}")
    if quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return  # opening it says what to run
    if typer.confirm("The weights are not here yet. Download them now?", default=True, err=True):
        with line() as show:
            fetch(named.weights, lambda what, _: show(what))
