"""A camera sharpened in the browser: the server's page, an exported one, with a GPU and without."""

from __future__ import annotations

import base64
import functools
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra browser")
from films import camera, steepness
from playwright.sync_api import expect

from commandline import succeed
from whet.web.live.onnxruntime_web import runtime_folder

WAIT_MS = 120_000
SOON = {"timeout": WAIT_MS}
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")

pytestmark = pytest.mark.skipif(
    runtime_folder() is None,
    reason="the browser's runtime is not fetched; whet serve --fetch does it",
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera(tmp_path_factory.mktemp("camera") / "clip.y4m")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / "site"
    succeed("serve", "--export", target)
    return target


@pytest.fixture
def hosting() -> Iterator[Callable[..., str]]:
    """A function (folder, headers) -> address of a plain static server."""
    running = []

    def host(folder: Path, headers: Mapping[str, str]) -> str:
        class Plain(SimpleHTTPRequestHandler):
            def end_headers(self) -> None:
                for name, value in headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        handler = functools.partial(Plain, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield host
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def browse(launch: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """A function (*flags) -> page of a browser that ends with the test, and its camera too."""
    browsers = []

    def open_page(*flags: str) -> Any:
        browsers.append(launch(*flags))
        page = browsers[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        return page

    yield open_page
    for browser in browsers:
        browser.close()


def headers_of(folder: Path) -> dict[str, str]:
    """Return what the file ``_headers`` asks for on every address."""
    first, *lines = (folder / "_headers").read_text().splitlines()
    assert first == "/*"
    return dict(line.strip().split(": ", 1) for line in lines)


def start(page: Any, lines: str = "144") -> None:
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_label("Resolution").select_option(lines)
    expect(page.locator("#lines")).to_have_text(lines, **SOON)
    expect(page.locator("#fps")).to_have_text(re.compile(r"\d"), **SOON)


def layers(page: Any) -> list[NDArray[np.uint8]]:
    """Return the camera's frame and the restored one, taken at the same moment."""
    urls = page.evaluate(
        "() => [...document.querySelectorAll('.layer canvas')].map((c) => c.toDataURL())"
    )
    data = (base64.b64decode(url.partition(",")[2]) for url in urls)
    return [np.array(Image.open(io.BytesIO(each)).convert("RGB")) for each in data]


def requests_of(page: Any) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    return asked


def test_a_camera_is_sharpened_in_the_browser(
    serving: Callable[..., str], browse: Callable[..., Any], film: Path
) -> None:
    page = browse(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")
    asked, home = requests_of(page), serving()
    page.goto(home + "live")
    assert page.evaluate("crossOriginIsolated")
    start(page, "360")
    before, after = layers(page)
    assert before.shape == after.shape == (360, 640, 3)
    assert not np.array_equal(before, after)
    assert steepness(after) > 1.02 * steepness(before)
    assert float(page.inner_text("#fps")) > 0
    assert [line for line in asked if not line.startswith(("GET " + home, "GET blob:"))] == []
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()


def test_few_lines_take_nothing_from_the_cameras_frame(
    serving: Callable[..., str], browse: Callable[..., Any], film: Path
) -> None:
    page = browse(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")
    page.goto(serving() + "live")
    start(page, "144")
    before, after = layers(page)
    assert before.shape == after.shape == (360, 640, 3)  # the camera's own
    assert not np.array_equal(before, after)
    assert steepness(after) >= 0.99 * steepness(before)
    expect(page.locator("#facts")).to_contain_text(re.compile("640 . 360, restored at 256 . 144"))


def test_a_camera_that_ends_is_said_and_counts_no_frames(
    serving: Callable[..., str], browse: Callable[..., Any], film: Path
) -> None:
    page = browse(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")
    page.set_viewport_size({"width": 360, "height": 740})
    page.add_init_script(
        """const ask = MediaDevices.prototype.getUserMedia;
        MediaDevices.prototype.getUserMedia = async function (wanted) {
          const stream = await ask.call(this, wanted);
          window.track = stream.getVideoTracks()[0];
          return stream;
        };"""
    )
    page.goto(serving() + "live")
    start(page, "144")
    # What a browser does when the plug is pulled.
    page.evaluate("() => window.track.dispatchEvent(new Event('ended'))")
    expect(page.locator("#status")).to_contain_text("The camera has ended")
    expect(page.locator("#status")).to_be_in_viewport()
    expect(page.locator("#fps")).to_have_text("\u2013")
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()


@pytest.mark.parametrize("with_headers", [True, False])
def test_the_exported_folder_sharpens_a_camera_on_any_web_server(
    exported: Path,
    hosting: Callable[..., str],
    browse: Callable[..., Any],
    film: Path,
    with_headers: bool,
) -> None:
    headers = headers_of(exported) if with_headers else {}
    home = hosting(exported, headers)
    page = browse(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}")
    asked = requests_of(page)
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("response", lambda answer: answer.ok or failed.append(answer.url))
    page.goto(home)
    assert page.evaluate("crossOriginIsolated") is with_headers
    start(page, "240")
    before, after = layers(page)
    assert before.shape == after.shape
    assert steepness(after) > 1.02 * steepness(before)
    threads = "threads" if with_headers else "one thread"
    expect(page.locator("#facts")).to_contain_text(threads)
    assert [line for line in asked if not line.startswith(("GET " + home, "GET blob:"))] == []
    assert failed == []
    assert page.locator("nav").count() == 0


# On a GPU

OPEN = """
async ({ url, model, stub }) => {
  const source = stub + await (await fetch(url)).text();
  const blob = new Blob([source.replaceAll("self.location.href", JSON.stringify(url))],
    { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(blob), { type: "module" });
  const answer = () => new Promise((heard, failed) => {
    worker.onmessage = ({ data }) => heard(data);
    worker.onerror = (event) => failed(new Error(event.message));
    setTimeout(() => failed(new Error("the worker does not answer")), 240000);
  });
  const graph = await (await fetch(model)).arrayBuffer();
  worker.postMessage({ model: graph, multiple: 8 });
  const opened = await answer();
  if (opened.failed) return opened;
  const canvas = new OffscreenCanvas(160, 120);
  const context = canvas.getContext("2d");
  for (let i = 0; i < 400; i++) {
    context.fillStyle = `hsl(${i * 37 % 360} ${20 + i % 80}% ${i * 13 % 100}%)`;
    context.fillRect(i * 53 % 160, i * 31 % 120, 9 + i % 23, 7 + i % 17);
  }
  context.filter = "blur(1.5px)";
  context.drawImage(canvas, 0, 0);
  const restore = async () => {
    const bitmap = await createImageBitmap(canvas);
    worker.postMessage({ bitmap, lines: 120, taken: 0 }, [bitmap]);
    return answer();
  };
  let found = await restore();
  const reopened = found.reopened;
  if (reopened) found = await restore();
  const { before, after, failed } = found;
  worker.terminate();
  const listed = (picture) => picture && [...picture.data];
  return { ...opened, reopened, failed, before: listed(before), after: listed(after) };
}
"""
"""Opens the page's own worker with a stub before it, and lets it restore one drawing."""

REAL = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { value: false });"
"""Passes the software adapter off as a real one, which the worker asks for."""


def drawing(page: Any, home: str, stub: str) -> dict[str, Any]:
    """Return what the worker answers."""
    urls = {"url": f"{home}app/live-worker.js", "model": f"{home}models/nano.onnx"}
    answer: dict[str, Any] = page.evaluate(OPEN, {**urls, "stub": stub})
    return answer


@pytest.fixture
def gpu_page(serving: Callable[..., str], browse: Callable[..., Any]) -> tuple[Any, str]:
    """A page of a browser that has WebGPU in software, and the server's address."""
    page, home = browse(*SOFTWARE_GPU), serving()
    page.goto(home + "live")
    if not page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
        pytest.skip("this Chromium has no WebGPU in software")
    return page, home


def test_the_gpu_restores_as_the_processor_does(gpu_page: tuple[Any, str]) -> None:
    page, home = gpu_page
    on_gpu = drawing(page, home, REAL)
    on_processor = drawing(page, home, "")
    assert on_gpu["opened"] == "WebGPU"
    assert on_processor["opened"].startswith("processor")
    assert on_gpu["before"] == on_processor["before"]
    before, gpu, processor = (
        np.array(each, np.int64)
        for each in (on_gpu["before"], on_gpu["after"], on_processor["after"])
    )
    assert np.abs(gpu - processor).max() <= 2
    assert np.abs(processor - before).max() > 5


BROKEN = {
    "an adapter without a device": """
        const info = { isFallbackAdapter: false };
        const requestDevice = () => Promise.reject(new Error("the driver says no"));
        const adapter = { info, requestDevice, features: new Set(), limits: {} };
        const gpu = { requestAdapter: async () => adapter };
        Object.defineProperty(navigator, "gpu", { value: gpu });
    """,
    "an adapter that is only software": "",
    "asking for an adapter fails": """
        const gpu = { requestAdapter: () => Promise.reject(new Error("blocked")) };
        Object.defineProperty(navigator, "gpu", { value: gpu });
    """,
    "no WebGPU": 'Object.defineProperty(navigator, "gpu", { value: undefined });',
    "a device that is lost as soon as it computes": REAL + """
        const submit = GPUQueue.prototype.submit;
        GPUQueue.prototype.submit = () => { throw new Error("the device is lost"); };
    """,
    "a device that computes nothing but zeros": REAL + """
        GPUComputePassEncoder.prototype.dispatchWorkgroups = () => {};
        GPUComputePassEncoder.prototype.dispatchWorkgroupsIndirect = () => {};
    """,
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_the_processor_takes_over_where_the_gpu_fails(
    gpu_page: tuple[Any, str], fault: str
) -> None:
    page, home = gpu_page
    answer = drawing(page, home, BROKEN[fault])
    assert answer.get("failed") is None
    assert answer["opened"].startswith("processor")
    assert answer["after"] != answer["before"]


def test_a_gpu_that_is_lost_on_the_way_is_replaced_by_the_processor(
    gpu_page: tuple[Any, str],
) -> None:
    page, home = gpu_page
    lost = """
        const post = self.postMessage.bind(self);
        self.postMessage = (data, ...rest) => {
          if (data.opened) GPUQueue.prototype.submit = () => { throw new Error("lost"); };
          post(data, ...rest);
        };
    """
    answer = drawing(page, home, REAL + lost)
    assert answer["opened"] == "WebGPU"
    assert answer["reopened"].startswith("processor")
    assert answer["after"] != answer["before"]
