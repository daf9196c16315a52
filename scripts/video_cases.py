"""Runs a folder of awkward videos through ``whet video`` and has ffprobe say what came out.

    python scripts/video_cases.py FOLDER [-o OUT] [-m nano]

Needs FFmpeg's ``ffprobe``. Prints a Markdown table, a row per file: what ffprobe finds in the
source and in the result, and what whet said. Ends with exit code 1 where a file neither came
through nor was refused in one clear sentence, or where more frames differ than notes say.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from whet.errors import WhetError
from whet.runtime import Session, open_session
from whet.video.jobs import default_suffix
from whet.video.run import RestoredVideo, restore_video

_ENTRIES = (
    "stream=codec_type,codec_name,pix_fmt,field_order,sample_aspect_ratio,color_transfer:"
    "stream_disposition=attached_pic:format=duration"
)


def probed(path: Path) -> dict[str, Any]:
    """Return what ffprobe says of a file."""
    command = ["ffprobe", "-v", "error", "-count_packets", "-show_entries"]
    entries = f"{_ENTRIES}:stream=nb_read_packets"
    said = subprocess.run(
        [*command, entries, "-of", "json", str(path)], capture_output=True, text=True, check=False
    )
    found: dict[str, Any] = json.loads(said.stdout or "{}")
    return found


def in_words(found: dict[str, Any]) -> str:
    """Say what ffprobe found in a line."""
    words = []
    for stream in found.get("streams", []):
        if stream.get("disposition", {}).get("attached_pic"):
            words.append("cover")
        elif stream["codec_type"] == "video":
            fields = stream.get("field_order", "unknown")
            shape = stream.get("sample_aspect_ratio", "1:1")
            transfer = stream.get("color_transfer")
            extra = [
                stream["codec_name"],
                stream.get("pix_fmt", ""),
                f"{stream.get('nb_read_packets', 0)} frames",
                *([fields] if fields in ("tt", "bb", "tb", "bt") else []),
                *([shape] if shape not in ("1:1", "N/A") else []),
                *([transfer] if transfer in ("arib-std-b67", "smpte2084") else []),
            ]
            words.append(" ".join(extra))
        else:
            words.append(stream.get("codec_name", stream["codec_type"]))
    seconds = float(found.get("format", {}).get("duration", 0))
    return ", ".join(words) + (f"; {seconds:.2f} s" if seconds else "")


def row(session: Session, source: Path, out: Path) -> tuple[str, bool]:
    """Restore one file; return its row and whether all is well."""
    target = out / f"{source.stem}{default_suffix(source)}"
    before = in_words(probed(source))
    try:
        made = restore_video(session, source, target, overwrite=True)
    except WhetError as error:
        said = str(error).replace(f"{source.parent}/", "")
        return f"| `{source.name}` | {before} | refused | {said} |", True
    after = probed(target)
    said = "; ".join(made.notes) or "-"
    return f"| `{source.name}` | {before} | {in_words(after)} | {said} |", _sound(made, after)


def _sound(made: RestoredVideo, after: dict[str, Any]) -> bool:
    """Return whether a reader that is not whet's finds the frames that whet reports."""
    videos = [s for s in after.get("streams", []) if s["codec_type"] == "video"]
    return bool(videos) and int(videos[0].get("nb_read_packets", -1)) == made.frames


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-m", "--model", default="nano")
    given = parser.parse_args()
    if shutil.which("ffprobe") is None:
        print("ffprobe is not installed; it comes with FFmpeg", file=sys.stderr)
        return 2
    out = given.output or Path(tempfile.mkdtemp(prefix="whet-cases-"))
    out.mkdir(parents=True, exist_ok=True)
    session = open_session(given.model)
    print("| file | ffprobe of the source | ffprobe of the result | what whet said |")
    print("|---|---|---|---|")
    well = True
    for source in sorted(path for path in given.folder.iterdir() if path.is_file()):
        line, right = row(session, source, out)
        print(line if right else line.replace("| ", "| **wrong** ", 1), flush=True)
        well &= right
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
