"""A long video through ``whet video --resume``: does memory stay flat, and does a kill cost little?

    python scripts/long_video.py CLIP --minutes 20 --kill-after-s 120

Repeats a short clip by copying its packets until it is long enough, restores it in a process
of its own, ends that process by SIGKILL part of the way, starts it again with the same
words, and compares the result with the source: packets of sound, times of frames. Prints a
Markdown table of the resident memory at both ends of each run.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

_WHET = "from whet.cli.main import main; main()"
_SETTLED_S = 20.0  # by then every buffer of a run has been filled


@dataclass(frozen=True)
class Run:
    """One process.

    Attributes:
        seconds: until it ended.
        memory_mb: resident set by second.
        code: exit code; negative the signal that ended it.
    """

    seconds: float
    memory_mb: list[float]
    code: int

    def row(self, name: str) -> str:
        """Return a line of the table: the first and last tenth of the settled run, and the peak."""
        settled = self.memory_mb[int(_SETTLED_S) :] or self.memory_mb
        tenth = max(1, len(settled) // 10)
        first, last = (np.mean(part) for part in (settled[:tenth], settled[-tenth:]))
        peak = max(self.memory_mb)
        return f"| {name} | {self.seconds:.0f} | {first:.0f} | {last:.0f} | {peak:.0f} |"


def looped(clip: Path, target: Path, minutes: float) -> float:
    """Write ``clip`` again and again, all streams in step with its video; return seconds."""
    with av.open(str(target), "w") as out, av.open(str(clip)) as first:
        out_streams = {s.index: out.add_stream_from_template(s) for s in first.streams}
        video = first.streams.video[0]
        length = float(video.duration * video.time_base)
        for turn in range(int(np.ceil(60 * minutes / length))):
            with av.open(str(clip)) as again:
                for packet in again.demux():
                    if packet.dts is None:
                        continue
                    shift = round(turn * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = out_streams[packet.stream.index]
                    out.mux_one(packet)
    return (turn + 1) * length


def run(words: list[str], kill_after_s: float | None = None) -> Run:
    """Run whet, note its memory every second, and end it if asked to."""
    process = subprocess.Popen([sys.executable, "-c", _WHET, *words])
    began, memory_mb = time.perf_counter(), []
    while process.poll() is None:
        time.sleep(1)
        elapsed_s = time.perf_counter() - began
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        if found:
            memory_mb.append(int(found[0].split()[1]) / 1024)
        if kill_after_s is not None and elapsed_s > kill_after_s:
            process.send_signal(signal.SIGKILL)
            break
    return Run(time.perf_counter() - began, memory_mb, process.wait())


def packets(path: Path, kind: str) -> list[Any]:
    """Return time and content of every packet; of video, whose content changes, the time alone."""
    with av.open(str(path)) as container:
        found = [
            (float(p.pts * p.time_base), bytes(p) if kind == "audio" else b"")
            for p in container.demux()
            if p.stream.type == kind and p.size
        ]
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kill-after-s", type=float, default=120)
    parser.add_argument("--model", default="nano")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "long.mp4"), Path(folder, "restored.mp4")
        seconds = looped(given.clip, source, given.minutes)
        words = ["video", str(source), "-o", str(target), "--resume", "-m", given.model, "-q"]
        print(f"{seconds / 60:.1f} minutes, {source.stat().st_size / 1e6:.0f} MB\n")
        print("| run | seconds | MiB early | MiB late | MiB peak |\n|---|---:|---:|---:|---:|")
        print(run(words, given.kill_after_s).row("killed"), flush=True)
        parts = len(list(Path(f"{target}.whet-segments").glob("*.json"))) - 1
        second = run(words)
        print(second.row("resumed"), flush=True)
        print(f"\nFinished parts at the kill: {parts}; exit code after: {second.code}.")
        times = [packets(path, "video") for path in (source, target)]
        steps = {round(after[0] - before[0], 4) for before, after in pairwise(times[1])}
        sound = packets(source, "audio") == packets(target, "audio")
        print(
            f"Frames {len(times[0])} -> {len(times[1])}; times equal: {times[0] == times[1]}; "
            f"steps between frames: {sorted(steps)[:5]} s; sound identical: {sound}."
        )


if __name__ == "__main__":
    main()
