"""What everyday use costs beyond the network: start-up, memory, and folders.

    python scripts/limits.py [--model small] [--threads 2] [--skip tiff]

Every row is a process of its own. Start-up is the best of several starts, less the best of
Python's own; memory is the peak of the resident set; a folder runs after its pictures went
through the network alone in the same process, the median of three. Prints a Markdown table with
the goals.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

_STARTS = 7
_WHET = "from whet.cli.main import main; main()"
_PEAK = """
import atexit, re, sys
def tell():
    status = open("/proc/self/status").read()
    print("PEAK", int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024, file=sys.stderr)
atexit.register(tell)
"""
_FOLDER = """
import sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from whet.runtime import open_session
from whet.stills.files import restore_files
session = open_session(sys.argv[1], threads=int(sys.argv[2]) or None)
source, target = Path(sys.argv[3]), sys.argv[4]
frames = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(source.iterdir())]
session.restore(frames[0])
began = time.perf_counter()
for frame in frames:
    session.restore(frame)
alone = time.perf_counter() - began
began = time.perf_counter()
report = restore_files(session, [source], target)
assert len(report.done) == len(frames), report
print(len(frames) / alone, len(frames) / (time.perf_counter() - began))
"""


def seconds(code: str, words: Sequence[str] = ()) -> float:
    """Return the shortest of several runs of Python on ``code``."""
    found = []
    for _ in range(_STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
        found.append(time.perf_counter() - began)
    return min(found)


def peak_mb(words: Sequence[str]) -> tuple[float, float]:
    """Return peak memory in MiB and seconds of a run of whet."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK + _WHET, *words], check=True, capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("PEAK")]
    return float(told[-1].split()[1]), time.perf_counter() - began


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return uint8 (H, W, 3): soft shapes and some noise, which compress like a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = rng.integers(-6, 7, (height, width, 1), np.int16)
    return (np.asarray(smooth, np.int16) + noise).clip(0, 255).astype(np.uint8)


def starts(folder: Path, model: str) -> None:
    picture, target = folder / "small.png", folder / "out.png"
    Image.fromarray(scene(256, 256)).save(picture)
    python = seconds("pass")
    version = seconds(_WHET, ["--version"]) - python
    words = ["image", str(picture), "-o", str(target), "-m", model, "--overwrite", "-q"]
    first = seconds(_WHET, words) - python
    print(f"| `whet --version` beyond Python's {python:.2f} s | {version:.2f} s | 0.2 s |")
    print(f"| `whet image` of 256 x 256, {model}, the same | {first:.2f} s | 1 s |", flush=True)


def memory(folder: Path, model: str, tiff: bool) -> None:
    large = folder / "4k.png"
    Image.fromarray(scene(2160, 3840)).save(large, compress_level=1)
    mb, took = peak_mb(["image", str(large), "-o", str(folder / "4k-out.png"), "-m", model, "-q"])
    print(f"| 4K PNG, {model}, in {took:.1f} s | {mb:.0f} MiB | 1 GB |", flush=True)
    if tiff:
        huge = folder / "huge.tif"
        rows = scene(1000, 10000)
        blocks = (rows for _ in range(10))
        tifffile.imwrite(
            huge, blocks, shape=(10000, 10000, 3), dtype=np.uint8, rowsperstrip=1000,
            photometric="rgb",
        )  # fmt: skip
        words = ["image", str(huge), "-o", str(folder / "huge-out.tif"), "-m", model, "-q"]
        mb, took = peak_mb(words)
        print(f"| 100-megapixel TIFF, {model}, in {took:.0f} s | {mb:.0f} MiB | 1 GB |", flush=True)


def folders(folder: Path, model: str, threads: int, count: int) -> None:
    source = folder / "many"
    source.mkdir()
    for index in range(count):
        Image.fromarray(scene(720, 1280, index)).save(source / f"{index:03}.jpg", quality=92)
    shares, speeds = [], []
    for turn in range(3):
        words = [model, str(threads), str(source), str(folder / f"out{turn}")]
        done = subprocess.run(
            [sys.executable, "-c", _FOLDER, *words], check=True, capture_output=True, text=True
        )
        alone, speed = map(float, done.stdout.split())
        speeds.append(speed)
        shares.append(speed / alone)
    print(
        f"| folder of {count} JPEGs of 1280 x 720, {model}: {statistics.median(speeds):.1f} a "
        f"second, of the network alone | {statistics.median(shares):.0%} | 85% |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="small")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument(
        "--skip", action="append", default=[], choices=["starts", "memory", "tiff", "folders"]
    )
    given = parser.parse_args()
    print("| what | measured | goal |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "starts" not in given.skip:
            starts(folder, given.model)
        if "memory" not in given.skip:
            memory(folder, given.model, "tiff" not in given.skip)
        if "folders" not in given.skip:
            folders(folder, given.model, given.threads, given.count)


if __name__ == "__main__":
    main()
