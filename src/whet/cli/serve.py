"""``whet serve``: the options of the web application."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whet.cli.console import note, out
from whet.errors import InputError, MissingExtraError

__all__ = ["serve"]


def serve(
    host: Annotated[str, typer.Option(help="address to listen on; others may come in")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="port to listen on")] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="name by which visitors come, as photos.example or *.example; others are "
            "refused; needed behind a proxy; repeatable"
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="WHET_TOKEN", help="what others must present; drawn if left out"),
    ] = None,
    runtime: Annotated[str, typer.Option(help="auto, openvino or onnxruntime")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads per picture")] = None,
    workers: Annotated[int, typer.Option(min=1, help="pictures restored at once")] = 1,
    waiting: Annotated[int, typer.Option(min=0, help="pictures that may wait")] = 8,
    max_bytes: Annotated[int, typer.Option(min=1, help="refuse larger uploads")] = 2**26,
    max_pixels: Annotated[int, typer.Option(min=1, help="refuse larger pictures")] = 2**26,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="give up on a picture")] = 120.0,
    videos: Annotated[
        int, typer.Option(min=0, help="videos here at once, until they are fetched; 0 takes none")
    ] = 4,
    max_video_bytes: Annotated[int, typer.Option(min=1, help="refuse larger videos")] = 2**29,
    max_video_seconds: Annotated[
        float, typer.Option(min=0.1, help="refuse videos that last longer")
    ] = 600.0,
    max_video_work: Annotated[
        float, typer.Option(min=0.1, help="seconds of work after which a video is given up")
    ] = 3600.0,
    reports: Annotated[
        list[Path] | None, typer.Option(help="folder of `whet evaluate` reports, repeatable")
    ] = None,
    study: Annotated[
        list[Path] | None,
        typer.Option(help="folder of a study, or of several, to take part in; repeatable"),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="WHET_DATABASE", help="URL for the ratings; default: SQLite in each study"
        ),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="first fetch what /live needs (33 MB, with npm)")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(help="write /live as a folder for any web server, and stop")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="log warnings only")] = False,
) -> None:
    """Open a page that sharpens pictures, for this machine or for others too."""
    try:
        import uvicorn

        from whet.web.app import create_app
    except ImportError as error:
        raise MissingExtraError((error.name or "fastapi").partition(".")[0], "web") from error
    from whet.web.addresses import is_loopback
    from whet.web.connections import ImpatientProtocol
    from whet.web.guard import log_as_json
    from whet.web.live.onnxruntime_web import fetch_runtime
    from whet.web.live.routes import export_pages
    from whet.web.settings import Settings, drawn_token

    if fetch:
        fetch_runtime(note)
    if export is not None:
        export_pages(export)
        out(str(export))
        return
    for folder in reports or ():
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; name one that holds reports")

    if token is None and (allowed_host or not is_loopback(host)):
        token = drawn_token()
    settings = Settings(
        host=host,
        port=port,
        allowed_hosts=tuple(allowed_host or ()),
        token=token,
        reports=tuple(reports or ()),
        studies=tuple(study or ()),
        database=database,
        runtime=runtime,
        threads=threads,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_seconds=max_seconds,
        workers=workers,
        waiting=waiting,
        videos=videos,
        max_video_bytes=max_video_bytes,
        max_video_seconds=max_video_seconds,
        max_video_work=max_video_work,
    )
    log_as_json(quiet=quiet)
    config = uvicorn.Config(
        create_app(settings), host=host, port=port, log_config=None, http=ImpatientProtocol
    )
    server = uvicorn.Server(config)
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise InputError(
            f"port {port} of {host} cannot be used; choose another one with --port"
        ) from None
    note(f"whet serves {settings.address}; Ctrl-C stops it")
    for address in settings.behind:
        note(f"visitors of the server in front of it open {address}")
    if settings.token is not None:
        note("whoever sends pictures needs that address, token included; reading needs none")
    if settings.studies:
        # Without the token, which is not for participants.
        for address in settings.behind or (settings.address,):
            note(f"participants open {address.partition('#')[0]}study")
    server.run(sockets=[listening])
