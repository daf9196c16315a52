"""Keeps the libraries below us from writing home about our users.

Measured with a system-call trace: on Linux, importing ONNX Runtime 1.32 creates
a device id and a database under ``~/.cache/Microsoft`` and looks up a server;
importing OpenVINO 2026.4 creates ``~/intel`` and sends an event. With
:func:`silence` called first, neither opens a socket nor creates a file.
"""

from __future__ import annotations

import os
import sys

__all__ = ["BLOCKED", "SWITCHES", "silence"]

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime >= 1.29
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, imported by accelerate
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}
"""Environment variables, read by the libraries when they are first imported."""

BLOCKED = ("openvino_telemetry",)
"""Modules that must not be imported. OpenVINO then falls back to a stub of its own."""


def silence() -> None:
    """Switch telemetry off in this process and in those it starts.

    Call it before importing a runtime; every session does. Calling it again
    costs nothing. What a host program has imported before is past helping,
    except that ONNX Runtime is told to stop.
    """
    os.environ.update(SWITCHES)
    for module in BLOCKED:
        # None makes a later import raise ImportError; a loaded module would stay in use.
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    onnxruntime = sys.modules.get("onnxruntime")
    if onnxruntime is not None and hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
