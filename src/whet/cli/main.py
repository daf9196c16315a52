"""The command line: every command, no logic.

Errors that whet raises on purpose are printed on one line and end with exit
code 2; anything else is a bug and keeps its traceback. Nothing heavy is
imported before a command needs it.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
import warnings
from typing import Annotated

import typer

from whet.cli import study, workshop
from whet.cli.bench import bench
from whet.cli.console import note, with_remedy
from whet.cli.demo import demo
from whet.cli.image import image
from whet.cli.live import live
from whet.cli.models import models
from whet.cli.serve import serve
from whet.cli.video import video
from whet.errors import WhetError
from whet.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="whet",
    help="Sharpen images and video with small networks; distil your own.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    del version


app.command(name="image")(image)
app.command(name="video")(video)
app.command(name="models")(models)
app.command(name="demo")(demo)
app.command(name="bench")(bench)
app.command(name="live")(live)
app.command(name="serve")(serve)
app.command(name="distill")(workshop.distill)
app.command(name="export")(workshop.export)
app.command(name="evaluate")(workshop.evaluate)
app.add_typer(workshop.data, name="data")
app.add_typer(study.study, name="study")


def main() -> None:
    """Entry point of the ``whet`` command."""
    # As Ctrl-C does, the signal that ends a service leaves by way of all that cleans up.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell programmers is not for the screen
    for stream in (sys.stdout, sys.stderr):
        # Names of files are any bytes; those that are no text are printed as they are.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    try:
        app(prog_name="whet")
    except WhetError as error:
        note(f"whet: {with_remedy(error, *sys.argv[1:])}")
        sys.exit(2)
    except OSError as error:
        # A full disk or a folder without rights is no bug; an error about no file may be.
        if error.filename is None:
            raise
        from whet.files import reason

        note(f"whet: {error.filename}: {reason(error)}")
        sys.exit(2)
