"""On what a benchmark ran."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from whet.version import __version__

__all__ = ["load_average", "machine"]

_VERSIONS = ("numpy", "av", "onnxruntime", "openvino", "torch", "opencv-python-headless", "ncnn")


def load_average() -> float | None:
    """Return the number of processes that wanted to run in the last minute, if known."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows
        return None


def machine() -> dict[str, Any]:
    """Return processor, system and versions, for machines to read."""
    versions = {}
    for package in _VERSIONS:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "whet": __version__,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
