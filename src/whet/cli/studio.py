"""What commands do about heavy networks: offer the download, show tiles, say how long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from whet.cli.console import line, note
from whet.studio import STUDIO, duration, expected_seconds, open_model

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["motion_advice", "opened", "say_how_long"]


@contextmanager
def opened(
    model: str, runtime: str, threads: int | None, *, quiet: bool, tiles: bool = True
) -> Iterator[Session]:
    """Open a model for a command; show the tiles of a heavy one, and keep them if it breaks off.

    Args:
        model, runtime, threads: see :func:`whet.studio.open_model`.
        quiet: show nothing and ask nothing.
        tiles: show them; something else is shown where not.

    Raises:
        typer.Exit: 130, the command was interrupted during a heavy network's work.
        InputError, MissingExtraError, ModelError: see :func:`whet.studio.open_model`.
    """
    _offer_download(model, quiet=quiet)
    session = open_model(model, runtime, threads)
    if not tiles or not hasattr(session, "on_tile"):
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


def motion_advice(height: int, width: int) -> str:
    """Say what helps against motion blur that a small network did not mend, and what it takes."""
    takes = duration(expected_seconds(height, width))
    return f"this looks like motion blur; --model maxim takes {takes}"


def say_how_long(session: Session, source: Path, *, resume: bool, quiet: bool) -> None:
    """Say what a heavy network will take for a video before it begins.

    Raises:
        MediaError: the video cannot be read.
    """
    estimate = getattr(session, "estimate_seconds", None)
    if estimate is None or quiet:
        return
    from whet.video.decode.source import VideoSource

    video = VideoSource(source)
    try:
        size, frames = (video.first.height, video.first.width), video.frame_count
    finally:
        video.close()
    one = estimate(*size)
    said = f"{session.card.name} takes {duration(one)} for a frame of {size[1]} x {size[0]}"
    if frames:
        said += f", {duration(one * frames)} for all {frames}"
    note(said if resume else f"{said}; with --resume it may be interrupted")


def _offer_download(model: str, *, quiet: bool) -> None:
    """Fetch the weights of a named network if they are missing and someone says yes."""
    from whet.fetch.weights import FETCHABLE, cached, fetch

    named = STUDIO.get(model)
    if named is None or cached(named.weights) is not None:
        return
    if quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return  # opening it says what to run
    item = FETCHABLE[named.weights]
    note(f"{item.summary}; licence: {item.licence}")
    if typer.confirm("The weights are not here yet. Download them now?", default=True, err=True):
        with line() as show:
            fetch(named.weights, lambda what, _: show(what))
