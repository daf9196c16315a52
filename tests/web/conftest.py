"""Servers and browsers for the tests of pages."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

WAIT_MS = 120_000
"""A browser on a busy machine is slow; a test that fails waits this long."""


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[..., str]]:
    """A function (**settings) -> address of a server that runs until the tests of a file end."""
    import uvicorn

    from whet.web.app import create_app
    from whet.web.settings import Settings
    from whet.web.studio import queue, routes

    running = []

    def start(**settings: Any) -> str:
        app = create_app(Settings(runtime="onnxruntime", threads=1, **settings))
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
        listening = config.bind_socket()
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    with pytest.MonkeyPatch.context() as patch:
        # What whoever runs the tests has fetched is not offered on their pages.
        for module in (queue, routes):
            patch.setattr(module, "heavy_names", lambda: ())
        yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)


class Command:
    """``whet serve`` as a process of its own, which can be killed and started again.

    Attributes:
        home: its address, the same after each start.
    """

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.home = f"http://127.0.0.1:{self._port}/"
        self.running: list[subprocess.Popen[bytes]] = []

    def __call__(self, *options: object, stderr: Path | None = None) -> subprocess.Popen[bytes]:
        """Start, wait until it answers, and return the process."""
        code = "from whet.cli.main import main; main()"
        line = (sys.executable, "-c", code, "serve", "--quiet", "--port", self._port, *options)
        said = nullcontext() if stderr is None else stderr.open("wb")
        with said as file:
            process = subprocess.Popen([str(word) for word in line], stderr=file)
        self.running.append(process)
        deadline = time.monotonic() + WAIT_MS / 1000
        while True:
            try:
                urllib.request.urlopen(f"{self.home}healthz", timeout=5).close()
                return process
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)


@pytest.fixture
def command() -> Iterator[Command]:
    started = Command()
    yield started
    for process in started.running:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    """A function (*flags) -> Chromium with those flags; it resolves no name."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    started = sync_playwright().start()
    browsers = []

    def start(*flags: str) -> Any:
        always = ("--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        browsers.append(started.chromium.launch(executable_path=program, args=[*always, *flags]))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()
    started.stop()


@pytest.fixture(scope="module")
def chromium(launch: Callable[..., Any]) -> Any:
    """One browser for many tests; each opens a context of its own."""
    return launch()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A function (address, **context) -> page; the test fails if that page meets an error."""
    contexts, errors = [], []

    def open_page(address: str, **options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
