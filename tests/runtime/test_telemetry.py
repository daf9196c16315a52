"""Nothing below us writes a file or looks for a server, in any part of our work.

Each case runs in a fresh interpreter whose home, cache and temporary folders are
empty. Python's own sockets are stopped by an audit hook; sockets of native code
are seen by a system-call trace where one can be made. A control shows that both
would notice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from whet.runtime import available, telemetry

STRACE = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=socket,connect,sendto")

WATCH = """
import sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        print("NETWORK", event, args, file=sys.stderr, flush=True)
        raise OSError("no network in this test")
sys.addaudithook(watch)
"""

RESTORE = """
import sys, numpy as np
from whet.runtime import open_session
for path in sys.argv[2:]:
    session = open_session(path, sys.argv[1])
    for kind in (np.uint8, np.uint16):
        session.restore(np.zeros((20, 30, 3), kind))
        session.restore(np.zeros((20, 30, 3), kind), 0.5)
"""

TRAIN = """
import torch, accelerate
model = torch.nn.Linear(2, 2)
accelerator = accelerate.Accelerator(cpu=True)
model, optimiser = accelerator.prepare(model, torch.optim.Adam(model.parameters()))
accelerator.backward(model(torch.zeros(1, 2)).sum())
optimiser.step()
"""

LOUD_OPENVINO = """
import openvino, time
time.sleep(1)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def run(code: str, home: Path, *arguments: str, trace: Path | None = None) -> str:
    """Run ``code`` away from the real home and return what it wrote to stderr."""
    switches = {*telemetry.SWITCHES, "CI", "GITHUB_ACTIONS", "DO_NOT_TRACK"}
    environment = {k: v for k, v in os.environ.items() if k not in switches}
    environment |= {
        name: str(home)
        for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TMPDIR", "XDG_CACHE_HOME",
                     "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    }  # fmt: skip
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-c", WATCH + code, *arguments]
    if trace is not None:
        command = [*STRACE, "-o", str(trace), *command]
    done = subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def files_in(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@cache
def can_trace() -> bool:
    """Whether system calls can be traced here; containers often forbid it."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run([*STRACE, "-o", os.devnull, "true"], check=False)
    return done.returncode == 0


def internet_calls(trace: Path) -> list[str]:
    return [line for line in trace.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.parametrize("name", available())
def test_restoring_leaves_no_file_and_seeks_no_connection(
    home: Path, tmp_path: Path, tiny_artifact: Path, tiny_int8: Path, name: str
) -> None:
    files = [tiny_artifact] if name == "torch" else [tiny_artifact, tiny_int8]
    trace = tmp_path / "trace" if can_trace() else None
    said = run(RESTORE, home, name, *map(str, files), trace=trace)
    assert "NETWORK" not in said
    assert files_in(home) == []
    if trace is not None:
        assert internet_calls(trace) == []


def test_training_leaves_no_file_and_seeks_no_connection(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    trace = tmp_path / "trace" if can_trace() else None
    said = run(TRAIN, home, trace=trace)
    assert "NETWORK" not in said
    assert files_in(home) == []
    if trace is not None:
        assert internet_calls(trace) == []


@pytest.mark.skipif("openvino" not in available(), reason="OpenVINO is not installed")
def test_watch_notices_openvino_when_it_is_not_silenced(home: Path) -> None:
    """The control: without :func:`silence`, the same watch does see a file."""
    if "openvino_telemetry" not in packages_distributions():
        pytest.skip("this OpenVINO comes without its telemetry module")
    run(LOUD_OPENVINO, home)
    assert files_in(home) != []


@pytest.mark.skipif(not can_trace(), reason="system calls cannot be traced here")
def test_trace_notices_a_connection_of_native_code(home: Path, tmp_path: Path) -> None:
    code = "import _socket; s = _socket.socket(); s.close()"
    run(code, home, trace=tmp_path / "trace")
    assert internet_calls(tmp_path / "trace") != []


def test_silence_reaches_a_library_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    called: list[bool] = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: called.append(True))
    telemetry.silence()
    assert called == [True]


def test_silence_does_not_unload_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", module)
    telemetry.silence()
    assert sys.modules["openvino_telemetry"] is module
