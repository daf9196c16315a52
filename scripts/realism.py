"""Compare whet's degradations with real ones: statistics, pictures, one page.

    python scripts/realism.py --photos PHOTOS --pairs PAIRS [--videos CLIPS] [--out docs]

PHOTOS holds sharp pictures and a MANIFEST.tsv (file, origin, licence); only those that
it lists as CC0-1.0 are printed. PAIRS holds ``<set>/blur`` and ``<set>/sharp`` with
equal file names. CLIPS holds videos, which are coded as calls of three seconds.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blur_measures import Array, Statistics, light_of, measure, psnr
from PIL import Image

from whet.degrade.registry import DEGRADATIONS, degrade
from whet.degrade.resize import imresize

Pairs = Mapping[str, Sequence[tuple[Path, Path]]]

CALL_SHRINK = {150: 2.4, 400: 1.6, 1000: 1.2}
"""Shrink factors of the videos coded as calls: near the middle of the degradation's ranges."""
CALL_SECONDS = 3
CROP = 224
"""Side of a printed crop (pixels)."""
GRID_SEED = 5


def read(path: Path) -> Array:
    """Return a picture (H, W, 3) in [0, 1]."""
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255


def spoil(name: str, sharp: Array, seed: int) -> Array:
    """Degrade one picture (H, W, 3)."""
    image = torch.tensor(sharp, dtype=torch.float32).permute(2, 0, 1)[None]
    return degrade(name, image, [seed])[0].permute(1, 2, 0).numpy().astype(np.float64)


def find_pairs(root: Path) -> Pairs:
    """Return set name -> [(blurred, sharp)], for ``root`` itself or the folders in it."""
    folders = [root] if (root / "blur").is_dir() else sorted(root.iterdir())
    found = {
        folder.name: [(b, folder / "sharp" / b.name) for b in sorted((folder / "blur").iterdir())]
        for folder in folders
        if (folder / "blur").is_dir()
    }
    if not found:
        raise SystemExit(f"no <set>/blur and <set>/sharp in {root}; name a folder that has them")
    return found


def free_photos(root: Path) -> dict[Path, str]:
    """Return the pictures that may be printed: path -> origin."""
    with (root / "MANIFEST.tsv").open() as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return {root / row["file"]: row["origin"] for row in rows if row["licence"] == "CC0-1.0"}


# --- numbers ---------------------------------------------------------------------------


def table_row(label: str, found: Sequence[Statistics]) -> str:
    """Return one line of the statistics table."""

    def span(values: Sequence[float] | Array, digits: int = 1) -> str:
        low, middle, high = np.nanpercentile(np.asarray(values), [10, 50, 90])
        return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"

    lengths = np.concatenate([s.lengths for s in found])
    widths = np.concatenate([s.widths for s in found])
    within = [
        np.nanpercentile(s.lengths, 90) / max(1.0, np.nanpercentile(s.lengths, 10)) for s in found
    ]
    cells = [
        label,
        str(len(found)),
        span(lengths),
        span(widths),
        span(within),
        span([s.shift_px for s in found]),
        span([s.noise for s in found], 2),
        span([s.slope for s in found], 2),
        span([s.psnr for s in found]),
    ]
    return "| " + " | ".join(cells) + " |"


def statistics(pairs: Pairs, draws: int) -> list[str]:
    """Return the table: real pairs, then every degradation of the same sharp frames."""
    head = "pictures, length px, width px, p90 / p10 in a picture, shift px, noise, slope, PSNR dB"
    lines = ["| source | " + " | ".join(head.split(", ")) + " |", "|---" * 9 + "|"]
    sharps = [read(sharp) for group in pairs.values() for _, sharp in group]
    for name, group in pairs.items():
        real = [measure(read(sharp), read(blurred)) for blurred, sharp in group]
        lines.append(table_row(f"**real {name}**", real))
    lines.append(table_row("the sharp frames", [measure(s, s) for s in sharps]))
    for name in DEGRADATIONS:
        if name in ("clean", "call"):
            continue
        times = draws if name.startswith("shake") else 1
        made = [
            measure(sharp, spoil(name, sharp, 1000 * turn + i))
            for turn in range(times)
            for i, sharp in enumerate(sharps)
        ]
        lines.append(table_row(name, made))
    return lines


def light_table(pairs: Pairs) -> list[str]:
    """Return the table that tells in which light each set's frames were averaged."""
    lines = ["| source | encoded values | linear light |", "|---|---|---|"]
    for name, group in pairs.items():
        gains = np.median([light_of(read(s), read(b)) for b, s in group], axis=0)
        lines.append(f"| **real {name}** | {gains[0]:+.2f} | {gains[1]:+.2f} |")
    sharps = [read(group[i][1]) for group in pairs.values() for i in (0, -1)]
    for name in ("shake-srgb", "shake-linear"):
        found = [light_of(sharp, spoil(name, sharp, i)) for i, sharp in enumerate(sharps)]
        gains = np.median(found, axis=0)
        lines.append(f"| {name} | {gains[0]:+.2f} | {gains[1]:+.2f} |")
    return lines


def settled_call(frames: np.ndarray, kilobits: int) -> np.ndarray:
    """Code (T, H, W, 3) uint8 as a live call at constant bit rate; return it decoded."""
    import av

    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", 30, Fraction(1, 30)
    encoder.bit_rate = kilobits * 1000
    limits = f"vbv-maxrate={kilobits}:vbv-bufsize={kilobits}:keyint=infinite:scenecut=0"
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": limits + ":log-level=none",
    }
    packets = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create("h264", "r")
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])


def call_table(clips: Path) -> list[str]:
    """Return the table of real calls beside call degradations of the same frames."""
    import av

    lines = ["| clip | kbit/s | real call, dB | degradation, dB (least..most) |", "|---" * 4 + "|"]
    for path in sorted(clips.glob("*.mp4")):
        with av.open(str(path)) as container:
            stream = islice(container.decode(video=0), 30 * CALL_SECONDS)
            shown = [frame.to_ndarray(format="rgb24") for frame in stream]
        height, width = shown[0].shape[:2]
        if height != 720:
            continue  # The rates are those of 720p.
        for kilobits, shrink in CALL_SHRINK.items():
            size = (2 * round(height / shrink / 2), 2 * round(width / shrink / 2))
            small = [(resized(f / 255, size) * 255).round().astype(np.uint8) for f in shown]
            coded = settled_call(np.stack(small), kilobits)
            at = len(shown) - 1
            real = psnr(resized(coded[at] / 255, (height, width)), shown[at] / 255)
            scores = [
                psnr(spoil(f"call-{kilobits}k", shown[at] / 255, i), shown[at] / 255)
                for i in range(6)
            ]
            made = f"{np.median(scores):.1f} ({min(scores):.1f}..{max(scores):.1f})"
            lines.append(f"| {path.stem} | {kilobits} | {real:.1f} | {made} |")
    return lines


def resized(image: Array, size: tuple[int, int]) -> Array:
    """Resize one picture (H, W, 3) bicubically."""
    planes = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None]
    return imresize(planes, size)[0].clamp(0, 1).permute(1, 2, 0).numpy().astype(np.float64)


# --- pictures --------------------------------------------------------------------------


def liveliest(sharp: Array, rng: np.random.Generator, tries: int = 12) -> tuple[int, int]:
    """Return the corner of the crop with most edges among a few random ones."""
    corners = [
        (int(rng.integers(sharp.shape[0] - CROP)), int(rng.integers(sharp.shape[1] - CROP)))
        for _ in range(tries)
    ]

    def edges(corner: tuple[int, int]) -> float:
        part = sharp[corner[0] : corner[0] + CROP, corner[1] : corner[1] + CROP].mean(2)
        return float(np.abs(np.stack(np.gradient(part))).mean())

    return max(corners, key=edges)


def cut(image: Array, corner: tuple[int, int]) -> Array:
    return image[corner[0] : corner[0] + CROP, corner[1] : corner[1] + CROP]


def save_grid(rows: Sequence[Sequence[Array]], path: Path) -> None:
    """Write crops as one WebP, a thin white gap between them."""
    framed = [[np.pad(c, ((0, 4), (0, 4), (0, 0)), constant_values=1) for c in r] for r in rows]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in framed])
    Image.fromarray((whole.clip(0, 1) * 255).round().astype(np.uint8)).save(path, quality=80)


def draw_motion(pairs: Pairs, path: Path) -> None:
    """Columns: crops of the pairs. Rows: sharp, real, shake-srgb, shake-linear, object."""
    rng = np.random.default_rng(GRID_SEED)
    picks = [group[i] for group in pairs.values() for i in (len(group) // 2, len(group) - 1)]
    columns = []
    for number, (blurred, sharp_path) in enumerate(picks):
        sharp = read(sharp_path)
        corner = liveliest(sharp, rng)
        names = ("shake-srgb", "shake-linear", "object")
        made = [cut(spoil(name, sharp, 40 + number), corner) for name in names]
        columns.append([cut(sharp, corner), cut(read(blurred), corner), *made])
    save_grid(list(zip(*columns, strict=True)), path)


def draw_blind(pairs: Pairs, path: Path, count: int = 24) -> str:
    """Print real and synthetic crops in random order; return the key, row by row."""
    rng = np.random.default_rng(GRID_SEED)
    truth = rng.permutation(np.arange(count) % 2)
    crops = []
    for number, real in enumerate(truth):
        group = list(pairs.values())[number % len(pairs)]
        blurred, sharp_path = group[int(rng.integers(len(group)))]
        sharp = read(sharp_path)
        corner = liveliest(sharp, rng, 3)
        # Each set against the degradation that averages as it does.
        name = "shake-srgb" if number % len(pairs) == 0 else "shake-linear"
        image = read(blurred) if real else spoil(name, sharp, 700 + number)
        crops.append(cut(image, corner))
    save_grid([crops[i : i + 6] for i in range(0, count, 6)], path)
    return " / ".join("".join("sr"[r] for r in truth[i : i + 6]) for i in range(0, count, 6))


def draw_photos(photos: Sequence[Path], path: Path, names: Sequence[str]) -> None:
    """Rows: photographs. Columns: sharp, then one per degradation."""
    rng = np.random.default_rng(GRID_SEED)
    rows = []
    margin = 64
    for number, photo in enumerate(photos):
        sharp = read(photo)
        top, left = liveliest(sharp, rng)
        inner = (min(margin, top), min(margin, left))
        around = sharp[top - inner[0] : top + CROP + margin, left - inner[1] : left + CROP + margin]
        made = [cut(spoil(name, around, 300 + number), inner) for name in names]
        rows.append([cut(sharp, (top, left)), *made])
    save_grid(rows, path)


# --- page ------------------------------------------------------------------------------


def fill_block(page: str, name: str, lines: Sequence[str]) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end -->``; keep the prose."""
    before, opening, rest = page.partition(f"<!-- {name} -->")
    if not opening:
        raise SystemExit(f"the page has no <!-- {name} --> block; restore it from the repository")
    _, ending, after = rest.partition("<!-- end -->")
    return f"{before}{opening}\n" + "\n".join(lines) + f"\n{ending}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--show", nargs="*", default=[], help="CC0 photographs to print, by name")
    parser.add_argument("--draws", type=int, default=3, help="shakes per sharp frame")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pairs, origins = find_pairs(arguments.pairs), free_photos(arguments.photos)
    shown = [p for p in origins if p.stem in arguments.show] or list(origins)[:4]
    pictures = arguments.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    draw_motion(pairs, pictures / "realism-motion.webp")
    key = draw_blind(pairs, pictures / "realism-blind.webp")
    lens = ("shake-srgb", "shake-linear", "object", "defocus", "bicubic-x3")
    draw_photos(shown, pictures / "realism-photos.webp", lens)
    calls = ("call-150k", "call-400k", "call-1000k", "bicubic-x2", "bicubic-x4")
    draw_photos(shown, pictures / "realism-call.webp", calls)
    page = (arguments.out / "realism.md").read_text()
    page = fill_block(page, "key", [f"`{key}` (r: real, s: synthetic)"])
    page = fill_block(page, "credits", ["; ".join(origins[p] for p in shown) + "."])
    page = fill_block(page, "statistics", statistics(pairs, arguments.draws))
    page = fill_block(page, "light", light_table(pairs))
    if arguments.videos:
        page = fill_block(page, "calls", call_table(arguments.videos))
    partial = arguments.out / "realism.md.partial"
    partial.write_text(page)
    partial.replace(arguments.out / "realism.md")


if __name__ == "__main__":
    main()
