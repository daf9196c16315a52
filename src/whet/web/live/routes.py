"""What the live page loads beside itself, served or written into a folder."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse

from whet.artifact import read_card, shipped
from whet.errors import InputError
from whet.files import new_folder
from whet.web.guard import HEADERS
from whet.web.live.onnxruntime_web import FILES, PACKAGE, runtime_folder
from whet.web.pages.template import FOLDER, PAGES, assembled
from whet.web.problems import RefusedError

__all__ = ["MODEL", "add_live", "export_pages"]

MODEL = "nano"
"""The one model that is fast enough in a browser."""

_KEPT = {"Cache-Control": "no-cache"}
_README = """This page sharpens a camera's pictures in the visitor's browser.

Any web server can host the folder, over https: browsers give cameras to nobody else, except on
localhost. With the headers in the file _headers, browsers compute with several threads.
"""


def add_live(app: FastAPI) -> None:
    """Let the application serve the runtime, the model and what they are called."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/live.json")
    def parts() -> dict[str, Any]:
        return _parts(runtime_folder() is not None)

    @routes.get("/runtime/{name}")
    def runtime(name: str) -> FileResponse:
        folder = runtime_folder_once()
        if name not in FILES or folder is None:
            raise RefusedError(
                404,
                "what browsers compute with is not here yet; ask this server's owner to fetch it",
            )
        return FileResponse(folder / name, media_type=FILES[name], headers=_KEPT)

    @routes.get(f"/models/{MODEL}.onnx")
    def model() -> FileResponse:
        kind = "application/octet-stream"
        return FileResponse(shipped()[MODEL], media_type=kind, headers=_KEPT)

    @cache
    def runtime_folder_once() -> Path | None:
        return runtime_folder()

    app.include_router(routes)


def export_pages(target: Path) -> None:
    """Write the live page, with all it needs, as a folder for any web server.

    Raises:
        InputError: ``target`` exists, cannot be written, or the runtime is not fetched.
    """
    folder = runtime_folder()
    if folder is None:
        raise InputError("the browser's runtime is not here yet; add --fetch")
    if target.exists():  # an empty one too: a web server may be showing it
        raise InputError(f"{target} exists already; name a new folder")
    with new_folder(target) as site:
        shutil.copytree(FOLDER / "app", site / "app")
        shutil.copytree(folder, site / "runtime")
        (site / "models").mkdir()
        shutil.copyfile(shipped()[MODEL], site / "models" / f"{MODEL}.onnx")
        policy = HEADERS["Content-Security-Policy"].partition("; frame-ancestors")[0]
        page = assembled(PAGES["/live"], alone=True, policy=policy)
        (site / "index.html").write_text(page, encoding="utf-8")
        (site / "live.json").write_text(json.dumps(_parts(True)), encoding="utf-8")
        headers = "".join(f"  {key}: {value}\n" for key, value in HEADERS.items())
        (site / "_headers").write_text(f"/*\n{headers}", encoding="utf-8")
        (site / "README.txt").write_text(_README, encoding="utf-8")


def _parts(ready: bool) -> dict[str, Any]:
    return {
        "runtime": PACKAGE.version if ready else None,
        "model": {"name": MODEL, "multiple": read_card(shipped()[MODEL]).multiple},
    }
