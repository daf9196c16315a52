"""What each step of `whet live` costs at 720p: processor milliseconds a frame.

python scripts/live_cost.py [--frames 60]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageFilter

import whet
from whet.live.picture import ToPlanes
from whet.live.recording import LiveEncoding, recording
from whet.live.restorer import LiveRestorer, Rung
from whet.runtime import open_session
from whet.runtime.yuv420 import Planes
from whet.video.decode.rgb import RgbWay
from whet.video.stabilise import Stabiliser

HEIGHT, WIDTH, RATE = 720, 1280, 30


def make_clip(path: Path, frames: int) -> None:
    """Write a soft photograph over which the camera pans."""
    folder = Path(whet.__file__).parent / "demo_data" / "heldout"
    photograph = Image.open(sorted(folder.glob("*.webp"))[3]).convert("RGB")
    large = photograph.resize((WIDTH + frames, HEIGHT + frames), Image.Resampling.LANCZOS)
    pixels = np.asarray(large.filter(ImageFilter.GaussianBlur(1)))
    with av.open(str(path), "w") as out:
        options = {"preset": "veryfast", "crf": "20"}
        video: Any = out.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            window = pixels[index // 3 :, index:][:HEIGHT, :WIDTH]
            frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(window), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))


def decoded(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "SLICE"
        yield from container.decode(video=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    count = parser.parse_args().frames

    def tell(what: str, work: Callable[[], object]) -> None:
        before = time.process_time()
        work()
        print(f"{what}: {1000 * (time.process_time() - before) / count:.1f} ms", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        clip, target = Path(folder, "clip.mp4"), Path(folder, "out.mp4")
        make_clip(clip, count)
        tell("decoding", lambda: list(decoded(clip)))
        frames = list(decoded(clip))
        to_planes = ToPlanes(frames[0], None)
        form = to_planes.form
        restored: list[Planes] = []
        for name in ("nano", "small"):
            session = open_session(name)
            restorer = LiveRestorer([Rung(name, session)], form)
            restorer.restore(0, to_planes(frames[0]))
            restored.clear()
            tell(
                f"{session} in planes",
                lambda restorer=restorer: restored.extend(
                    restorer.restore(0, to_planes(frame)) for frame in frames
                ),
            )
            rgb, stabilised = RgbWay(form.matrix, form.full_range, deep=False), Stabiliser()

            def by_rgb(frame: Any, session: Any = session, way: Any = (rgb, stabilised)) -> Any:
                pixels = way[0].to_rgb(frame)
                return way[0].from_rgb(way[1](pixels, session.restore(pixels)), "yuv420p")

            by_rgb(frames[0])
            tell(f"{session} by RGB, there and back", lambda way=by_rgb: list(map(way, frames)))
        for preset in ("veryfast", "ultrafast"):

            def encode(preset: str = preset) -> None:
                encoding = LiveEncoding(RATE, preset=preset, overwrite=True)
                with recording(target, "mp4", encoding, form) as sink:
                    for index, planes in enumerate(restored):
                        sink.show(planes, index / RATE, "")

            tell(f"x264 {preset}", encode)


if __name__ == "__main__":
    main()
