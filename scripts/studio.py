"""What a tile of MAXIM takes in PyTorch and in the graph that whet writes, in one run.

    python scripts/studio.py PICTURE [--threads 1] [--times 2]

PICTURE is at least 256 x 256; its middle is the tile. Prints CPU seconds, which other programs
hardly change, and the distance of each result from PyTorch's. Needs the extra train and
`whet data fetch maxim-gopro`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from whet.fetch.weights import fetched
from whet.image import read
from whet.models import build_teacher
from whet.studio import MAXIM_TILING
from whet.studio.graph_network import GraphNetwork
from whet.studio.maxim_graph import maxim_graph

Floats = NDArray[np.float32]


def cpu_seconds(run: Callable[[Floats], Floats], tile: Floats, times: int) -> tuple[float, Floats]:
    """Return the least CPU time of several runs after a first one, and the result."""
    restored, best = run(tile), np.inf
    for _ in range(times):
        started = time.process_time()
        restored = run(tile)
        best = min(best, time.process_time() - started)
    return float(best), restored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=2)
    given = parser.parse_args()
    side = MAXIM_TILING.size
    pixels = read(given.picture).pixels
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    tile = np.divide(
        pixels[top : top + side, left : left + side], np.iinfo(pixels.dtype).max, dtype=np.float32
    )
    torch.set_num_threads(given.threads)
    teacher = build_teacher("maxim")

    def in_torch(image: Floats) -> Floats:
        with torch.inference_mode():
            planes = torch.from_numpy(image).permute(2, 0, 1)[None]
            return np.asarray(teacher(planes)[0].permute(1, 2, 0))

    seconds, expected = cpu_seconds(in_torch, tile, given.times)
    print(f"{'PyTorch f32':<20}{seconds:6.2f} s")
    weights = load_file(fetched("maxim-gopro"))
    for runtime, precision in (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16")):
        network = GraphNetwork(
            lambda high, wide: maxim_graph(weights, high, wide),
            MAXIM_TILING,
            runtime,  # type: ignore[arg-type]
            given.threads,
        )
        network.precision = precision
        seconds, restored = cpu_seconds(network.prepare(side, side), tile, given.times)
        distance = -10 * np.log10(np.mean((restored - expected) ** 2) + 1e-20)
        print(f"{runtime + ' ' + precision:<20}{seconds:6.2f} s{distance:8.1f} dB from PyTorch")


if __name__ == "__main__":
    main()
