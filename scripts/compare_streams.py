"""Compares a restored video with its source, stream by stream, as ``ffprobe`` would show them.

    python scripts/compare_streams.py SOURCE RESTORED

Prints a Markdown table; ends with exit code 1 where something differs that must not: packets and
times of copied streams, times of frames, size, colours, rotation, titles.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import av
from av.video.reformatter import ColorRange


def facts(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a file holds: stream -> name -> value."""
    found: dict[str, dict[str, Any]] = {}
    packets: dict[int, list[Any]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                packets.setdefault(packet.stream_index, []).append(
                    (float(packet.pts * packet.time_base), bytes(packet))
                )
        for stream in container.streams:
            times = sorted(time for time, _ in packets.get(stream.index, []))
            rows = {
                "codec": stream.codec_context.name if stream.codec_context else "unknown",
                "packets": len(times),
                "first time, s": times[0],
                "last time, s": times[-1],
                "times": _digest(repr([round(time, 5) for time in times]).encode()),
                "language": stream.metadata.get("language", ""),
            }
            if stream.type == "video":
                rows |= _picture(path, stream)
            else:
                rows["content"] = _digest(b"".join(d for _, d in packets[stream.index]))
            found[f"{stream.index} {stream.type}"] = rows
        found["file"] = {
            "duration, s": round(container.duration / av.time_base, 3),
            "title": container.metadata.get("title", ""),
            "chapters": len(container.chapters()),
        }
    return found


def _picture(path: Path, stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
    return {
        "size": f"{context.width} x {context.height}",
        "format": context.pix_fmt,
        "rate": str(stream.average_rate),
        "range": ColorRange(context.color_range).name,
        "primaries, transfer, matrix": f"{int(context.color_primaries)}, "
        f"{int(context.color_trc)}, {int(context.colorspace)}",
        "pixel shape": str(stream.sample_aspect_ratio),
        "rotation": first.rotation,
    }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("restored", type=Path)
    given = parser.parse_args()
    before, after = facts(given.source), facts(given.restored)
    print("| stream | what | source | restored | |\n|---|---|---|---|---|")
    wrong = before.keys() ^ after.keys()
    for stream in before:
        for name, value in before[stream].items():
            other = after.get(stream, {}).get(name)
            same = value == other
            if not same:
                wrong.add(f"{stream}: {name}")
            print(
                f"| {stream} | {name} | {value} | {other} | {'same' if same else '**differs**'} |"
            )
    print(f"\n{'All the same.' if not wrong else 'Differs: ' + ', '.join(sorted(wrong))}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
