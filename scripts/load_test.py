"""Many clients at once: what `whet serve` answers, how long it takes, and whether memory grows.

    python scripts/load_test.py --clients 64 --seconds 120 -o docs/load.md

Every client posts the same photograph of one megapixel again and again; a refused one waits as
long as Retry-After says. The server runs in a process of its own, whose resident memory is read
from /proc every second (Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import io
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from whet.bench.machine import machine
from whet.evaluate.suites.opening import HELD_OUT

SIZE = (1152, 868)  # a million pixels
PORT = 8741


@dataclass
class Tally:
    """What came back."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def photograph() -> bytes:
    """Return a JPEG of one megapixel."""
    with Image.open(sorted(HELD_OUT.iterdir())[0]) as picture:
        sized = picture.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    sized.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


async def client(session: httpx.AsyncClient, body: bytes, until: float, tally: Tally) -> None:
    """Post until the time is up."""
    while time.perf_counter() < until:
        started = time.perf_counter()
        try:
            answer = await session.post("/api/restore", content=body)
        except httpx.HTTPError as error:
            tally.answers[type(error).__name__] += 1
            continue
        tally.answers[str(answer.status_code)] += 1
        if answer.status_code == 200:
            tally.seconds.append(time.perf_counter() - started)
        elif answer.status_code == 429:
            await asyncio.sleep(float(answer.headers["Retry-After"]))


async def watch(pid: int, until: float, tally: Tally) -> None:
    """Note the resident memory of a process every second."""
    while time.perf_counter() < until:
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        tally.memory_mb.append(int(line.split()[1]) / 1024)
        await asyncio.sleep(1)


async def load(pid: int, clients: int, seconds: float) -> Tally:
    """Run all clients against the server."""
    tally, body = Tally(), photograph()
    limits = httpx.Limits(max_connections=clients)
    base = f"http://127.0.0.1:{PORT}"
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=180) as session:
        await ready(session)
        (await session.post("/api/restore", content=body)).raise_for_status()  # warm
        until = time.perf_counter() + seconds
        everyone = [client(session, body, until, tally) for _ in range(clients)]
        await asyncio.gather(*everyone, watch(pid, until, tally))
        (await session.get("/healthz")).raise_for_status()
    return tally


async def ready(session: httpx.AsyncClient) -> None:
    """Wait until the server takes pictures."""
    for _ in range(240):
        try:
            if (await session.get("/healthz")).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.5)
    raise SystemExit("the server did not come up within two minutes")


def report(tally: Tally, clients: int, seconds: float) -> str:
    """Return the outcome as Markdown."""
    p50, p95 = np.percentile(tally.seconds, (50, 95))
    memory = np.array(tally.memory_mb)
    half = len(memory) // 2
    where = machine()
    counts = ", ".join(f"{n} of {name}" for name, n in sorted(tally.answers.items()))
    return (
        f"{clients} clients for {seconds:.0f} s, JPEG of {SIZE[0]} x {SIZE[1]} "
        f"({where['processor']}, {where['processors']} processors, shared with the clients):\n\n"
        f"- answers: {counts}\n"
        f"- restored: {len(tally.seconds) / seconds:.1f} pictures a second, "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s from request to picture\n"
        f"- resident memory: first half {memory[:half].mean():.0f} MB on average, second "
        f"{memory[half:].mean():.0f} MB, highest {memory.max():.0f} MB\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    start = "from whet.cli.main import main; main()"
    command = [sys.executable, "-c", start, "serve", "--port", str(PORT), "--quiet"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        tally = asyncio.run(load(server.pid, args.clients, args.seconds))
    finally:
        server.terminate()
        server.wait(30)
    args.output.write_text(report(tally, args.clients, args.seconds), encoding="utf-8")
    print(args.output.read_text(encoding="utf-8"))
    if set(tally.answers) - {"200", "429"}:
        raise SystemExit("there were other answers than 200 and 429")


if __name__ == "__main__":
    main()
