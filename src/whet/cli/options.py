"""Options that several commands take, in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Model", "Overwrite", "Quiet", "Runtime", "Strength", "Threads"]

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="nano, small, ...; maxim (minutes); or a file: .onnx, .pth, file.py:build",
    ),
]
Strength = Annotated[float, typer.Option(help="0 leaves the picture alone, 1 is full, up to 2")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace outputs that exist")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Runtime = Annotated[str, typer.Option(help="auto, openvino or onnxruntime")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads")]
