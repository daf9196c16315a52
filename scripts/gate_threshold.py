"""Measure the sharpness gate of ``whet video``: how well its measure tells sharp from soft.

    python scripts/gate_threshold.py PHOTOS [--pairs DIR]... [--count 48] [--model nano]

Cuts one piece from each of COUNT photographs, spoils it in every way that whet knows, also with
noise added, and prints per kind: the measure, how much passes at the gate's thresholds, and what
the model would have gained there. PAIRS are folders with ``sharp`` and ``blur`` pictures of equal
names. A gain is in dB of PSNR against the sharp picture; a kind whose gain is small loses little
by passing. The last lines say what each threshold would pass and lose.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray

from whet.degrade.registry import DEGRADATIONS, degrade
from whet.image import read
from whet.metrics import psnr
from whet.runtime import open_session
from whet.video.sharpness_gate import CLOSE, OPEN, sharpness

Pixels = NDArray[np.uint8]
SIDE = 448
NOISES = {"clean": (8,), "defocus": (3, 8), "shake-srgb": (3, 8)}  # levels of 255
CRFS = (18, 28)
SHARP = ("clean", "clean +noise 8", "clean, H.264 at CRF 18")


def coded(sharp: Pixels, crf: int) -> Pixels:
    """Return a picture as the first frame of a video shows it, its colours at half resolution."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = SIDE, SIDE, "yuv420p"
        out.mux(video.encode(av.VideoFrame.from_ndarray(sharp, "rgb24")))
        out.mux(video.encode(None))
    with av.open(io.BytesIO(file.getvalue())) as again:
        return next(again.decode(video=0)).to_ndarray(format="rgb24")


def spoiled(photos: list[Path]) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Yield kind, sharp and degraded."""
    for seed, path in enumerate(photos):
        whole = read(path).pixels
        top, left = ((length - SIDE) // 2 for length in whole.shape[:2])
        sharp = np.ascontiguousarray(whole[top : top + SIDE, left : left + SIDE])
        tensor = torch.from_numpy(sharp).permute(2, 0, 1)[None].float() / 255
        rng = np.random.default_rng(seed)
        for crf in CRFS:
            yield f"clean, H.264 at CRF {crf}", sharp, coded(sharp, crf)
        for name in DEGRADATIONS:
            floats = degrade(name, tensor, [seed])[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
            yield name, sharp, np.rint(floats).astype(np.uint8)
            for level in NOISES.get(name, ()):
                noisy = floats + rng.normal(0, level, floats.shape)
                yield f"{name} +noise {level}", sharp, np.rint(noisy.clip(0, 255)).astype(np.uint8)


def real(folders: list[Path]) -> Iterator[tuple[str, Pixels, Pixels]]:
    for folder in folders:
        for path in sorted((folder / "sharp").iterdir()):
            sharp, blurred = read(path).pixels, read(folder / "blur" / path.name).pixels
            yield f"{folder.name} sharp", sharp, sharp
            yield f"{folder.name} blur", sharp, blurred


def change(degraded: Pixels, restored: Pixels, sharp: Pixels) -> float:
    return psnr(restored, sharp) - psnr(degraded, sharp)


def decibels(gains: NDArray[np.float64]) -> str:
    return f"{gains.mean():+.2f}" if len(gains) and not np.isnan(gains).any() else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pairs", type=Path, action="append", default=[])
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--model", default="nano")
    given = parser.parse_args()
    torch.set_num_threads(1)
    session = open_session(given.model, threads=1)
    pictures = [p for p in sorted(given.photos.iterdir()) if p.suffix in (".webp", ".png", ".jpg")]
    chosen = pictures[:: max(1, len(pictures) // given.count)][: given.count]
    found: dict[str, list[tuple[float, float]]] = {}
    seconds = [0.0, 0.0]
    for kind, sharp, degraded in (*spoiled(chosen), *real(given.pairs)):
        began = time.process_time()
        measure = sharpness(degraded) or 0.0
        between = time.process_time()
        restored = session.restore(degraded)
        seconds = [seconds[0] + between - began, seconds[1] + time.process_time() - between]
        gain = np.nan if (degraded == sharp).all() else change(degraded, restored, sharp)
        found.setdefault(kind, []).append((measure, gain))
    print("| kind | pictures | measure p5, p50, p95 | pass at OPEN | gain dB | gain of those |")
    print("|---|---:|---|---:|---:|---:|")
    for kind, rows in found.items():
        measures, gains = np.array(rows).T
        passed = measures >= OPEN
        low, middle, high = np.percentile(measures, (5, 50, 95))
        print(
            f"| {kind} | {len(rows)} | {low:.3f}, {middle:.3f}, {high:.3f} | {passed.mean():.0%} "
            f"| {decibels(gains)} | {decibels(gains[passed])} |"
        )
    soft = np.array([r for k, rows in found.items() if "clean" not in k for r in rows])
    soft = soft[~np.isnan(soft[:, 1])]
    clear = np.array([r for k, rows in found.items() if k in SHARP for r in rows])
    useful = soft[:, 1] > 0.2
    print("\n| threshold | sharp that pass | soft that pass | of those with gain > 0.2 dB |")
    print("|---:|---:|---:|---:|")
    for threshold in (0.16, 0.18, CLOSE, 0.22, OPEN, 0.26, 0.28):
        passed = soft[:, 0] >= threshold
        print(
            f"| {threshold:.2f} | {(clear[:, 0] >= threshold).mean():.0%} | {passed.mean():.1%} "
            f"| {passed[useful].mean():.1%} |"
        )
    print(f"\nCPU time of the measure: {seconds[0] / seconds[1]:.1%} of {given.model}'s here.")


if __name__ == "__main__":
    main()
