"""``whet live``: camera, stream, screen or file to window, virtual camera, file or stream."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli.console import line, note, out
from whet.errors import InputError
from whet.files import check_target

__all__ = ["live"]


def live(
    camera: Annotated[
        str, typer.Option(help="camera number, rtsp:// or http:// URL, screen, or a file")
    ] = "0",
    to: Annotated[str, typer.Option(help="window, virtual-camera, a file, or a URL")] = "window",
    model: Annotated[
        str, typer.Option("--model", "-m", help="the best one to use: nano, small, ..., or a path")
    ] = "small",
    strength: Annotated[float, typer.Option(help="0 leaves frames alone, 1 is full, up to 2")] = 1,
    fps: Annotated[float, typer.Option(min=1, max=240, help="frames a second to keep up")] = 30,
    split: Annotated[bool, typer.Option("--split", help="before on the left, after right")] = False,
    steady: Annotated[
        bool, typer.Option("--steady/--no-steady", help="keep still scenes from trembling")
    ] = True,
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="of the source, into a file or stream")
    ] = True,
    loop: Annotated[bool, typer.Option("--loop", help="begin a file again at its end")] = False,
    duration: Annotated[float | None, typer.Option(min=0, help="seconds, then end")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT to ask a camera for")] = None,
    log: Annotated[Path | None, typer.Option(help="write a JSON line per frame")] = None,
    crf: Annotated[int | None, typer.Option(help="of a file: lower is better, larger")] = None,
    preset: Annotated[str | None, typer.Option(help="of a file: the encoder's speed")] = None,
    runtime: Annotated[str, typer.Option(help="auto, openvino or onnxruntime")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace outputs that exist")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no status, no summary")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for machines")] = False,
) -> None:
    """Sharpen live pictures: always the newest frame, by the best model that keeps up.

    In a window, s or space toggles the split view, and q or escape ends.
    """
    if size is not None and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
        raise InputError(f"--size takes WIDTHxHEIGHT, such as 1280x720, not {size!r}")
    from whet.live.addresses import address_of
    from whet.live.recording import LiveEncoding
    from whet.live.restorer import Rung, smaller_models
    from whet.live.run import LiveOptions, run_live
    from whet.live.sinks import sink_for
    from whet.live.sources import Steady, WallClock, open_feed
    from whet.runtime import open_session

    open_sink = sink_for(to, LiveEncoding(fps, crf, preset, overwrite))
    address = address_of(camera, size, fps)
    rungs = [
        Rung(str(name), open_session(name, runtime=runtime, threads=threads))
        for name in (model, *smaller_models(model))
    ]
    stop = threading.Event()
    clock = WallClock(stop)
    with _until_signalled(stop), _log(log, overwrite) as write, line(quiet=quiet) as status:
        heard = sound and to not in ("window", "virtual-camera")
        reopen = open_feed(address, loop=loop, clock=clock, sound=heard)
        source = Steady(address.name, reopen, clock, stop, note)
        report = run_live(
            rungs,
            source,
            source.form,
            open_sink,
            LiveOptions(fps, strength, split, duration, steady),
            clock=clock,
            stop=stop,
            note=note,
            status=status,
            log=write,
        )
    if as_json:
        out(json.dumps({**report.to_json(), "reconnected": source.reconnected}))
    elif not quiet:
        note(str(report))


@contextmanager
def _until_signalled(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and a request to terminate end the run in order; a second one ends at once."""

    def end(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    before = [signal.signal(number, end) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _log(path: Path | None, overwrite: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a file of JSON lines that can be followed while it grows."""
    if path is None:
        yield lambda _: None
        return
    check_target(path, overwrite=overwrite)
    with path.open("w", encoding="utf-8", buffering=1) as stream:

        def write(record: Mapping[str, Any]) -> None:
            stream.write(json.dumps(record) + "\n")

        yield write
