"""What tests do on the restore page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Visit = Callable[..., Any]
WAIT_MS = 120_000
SOON = {"timeout": WAIT_MS}
OURS = ["--runtime", "onnxruntime", "--threads", 1]
"""What the command line is told, so that it computes as the server does."""


def pick(page: Any, *files: Path) -> None:
    page.set_input_files("#files", [str(file) for file in files])


def download(page: Any, target: Path) -> str:
    """Save what the page hands out as ``target``; return the name that it suggests."""
    with page.expect_download(timeout=WAIT_MS) as download:
        page.click("#download")
    download.value.save_as(target)
    return str(download.value.suggested_filename)
