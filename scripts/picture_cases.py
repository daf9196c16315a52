"""Put difficult pictures through whet and let another reader judge what came out.

    python scripts/picture_cases.py [FOLDER]

Each picture in FOLDER, or each that this script makes itself, is restored by the shipped nano
model into its own format. The table says what whet said, and which tags that exiftool finds in
the source it does not find, or finds changed, in the result.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

import whet
from whet.errors import WhetError
from whet.runtime import Session
from whet.stills.files import restore_file

# What describes how pixels are stored, the file itself, or what exiftool derives from others.
_OF_STORAGE = {
    "StripOffsets", "StripByteCounts", "RowsPerStrip", "Compression", "Predictor", "JFIFVersion",
    "ThumbnailOffset", "ThumbnailLength", "ThumbnailImage", "YCbCrSubSampling", "Filter",
    "MediaDataSize", "MediaDataOffset", "FillOrder", "PlanarConfiguration", "ExifByteOrder",
}  # fmt: skip
_GROUPS = ("System", "ExifTool", "Composite", "File", "SourceFile", "QuickTime")


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)], axis=-1)
    return np.rint((0.4 * waves + 0.5) * 255).astype(np.uint8)


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _tiff(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def _chunked(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    added = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return data[:33] + added + data[33:]


def _segmented(data: bytes, marker: int, content: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 255, marker, len(content) + 2) + content + data[2:]


def made() -> Mapping[str, bytes]:
    """Return file name -> content of pictures of the kinds that break restorers."""
    image = Image.fromarray(picture())
    rgba = Image.fromarray(np.dstack([picture(), np.full((96, 128), 255, np.uint8)]))
    rgba.putpixel((3, 3), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "Brunel"
    exif[0x8769] = {0xA002: 128, 0xA003: 96}
    jpeg, png = _saved(image, "JPEG", quality=90), _saved(image, "PNG")
    damaged = bytearray(jpeg)
    damaged[len(jpeg) // 2 : len(jpeg) // 2 + 300] = bytes(300)
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x09\x1c\x02\x19\0\x04tree\0"
    values = (picture() / np.float32(255)).astype(np.float32)
    values[:5] = 2.5
    return {
        "lying.jpg": _saved(image, "JPEG", exif=exif, dpi=(300, 150)),
        "iptc.jpg": _segmented(_segmented(jpeg, 0xED, iptc), 0xFE, b"by hand"),
        "sealed.jpg": _segmented(jpeg, 0xEB, b"JP\0\1\0\0\0\1" + bytes(64)),
        "film.jpg": jpeg + b"\0\0\0\x18ftypmp42" + bytes(500),
        "inks.jpg": _saved(image.convert("CMYK"), "JPEG"),
        "no-end.jpg": jpeg[:-2],
        "corrupt.jpg": bytes(damaged),
        "linear.png": _chunked(png, (b"gAMA", struct.pack(">I", 100000))),
        "pq.png": _chunked(png, (b"cICP", bytes([9, 16, 0, 1]))),
        "bad-xmp.png": _chunked(png, (b"iTXt", b"XML:com.adobe.xmp\0\0")),
        "bits.png": _chunked(png, (b"sBIT", b"\5\6\5"), (b"tIME", b"\7\xe4\1\2\3\4\5")),
        "hidden.png": _saved(rgba, "PNG"),
        "palette.png": _saved(image.quantize(64), "PNG", transparency=0),
        "thin.png": _saved(image.resize((1, 700)), "PNG"),
        "float.tif": _tiff(values, photometric="rgb"),
        "five.tif": _tiff(np.dstack([picture(), picture()[..., :2]]), photometric="rgb"),
        "big.tif": _tiff(picture().astype(np.uint16) * 257, photometric="rgb", bigtiff=True),
        "pages.tif": _saved(image, "TIFF", save_all=True, append_images=[image]),
        "moving.png": _saved(image, "PNG", save_all=True, append_images=[image.rotate(9)]),
    }


def tags(path: Path) -> dict[str, str]:
    """Return what exiftool says about a file, without what belongs to its storage."""
    command = ["exiftool", "-j", "-G1", "-a", str(path)]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    kept = {}
    for name, value in found.items():
        group, _, tag = name.partition(":")
        if group.split("-")[0] not in _GROUPS and tag not in _OF_STORAGE:
            kept[name] = str(value)
    return kept


def judged(source: Path, result: Path) -> str:
    if shutil.which("exiftool") is None:
        return "exiftool is not installed"
    before, after = tags(source), tags(result)
    gone = sorted(set(before) - set(after))
    changed = sorted(tag for tag in before if tag in after and before[tag] != after[tag])
    words = [f"{len(before)} tags"]
    words += ["gone: " + ", ".join(gone)] if gone else []
    words += ["changed: " + ", ".join(changed)] if changed else []
    return "; ".join(words)


def row(session: Session, source: Path, folder: Path) -> str:
    target = folder / f"{source.stem}-{source.suffix[1:]}{source.suffix}"
    try:
        notes = restore_file(session, source, target, mark=False).notes
    except WhetError as error:
        said = str(error).replace(f"{source}: ", "").replace(f"{source} ", "")
        return f"| `{source.name}` | refused: {said} | |"
    return f"| `{source.name}` | {'; '.join(notes) or '-'} | {judged(source, target)} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "made"
        results = Path(scratch) / "results"
        folder.mkdir()
        results.mkdir()
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
        else:
            for name, data in made().items():
                (folder / name).write_bytes(data)
        session = whet.load("nano")
        print("| picture | what whet says | what exiftool finds |\n| --- | --- | --- |")
        for source in sorted(folder.iterdir()):
            print(row(session, source, results).replace("\n", " "))


if __name__ == "__main__":
    main()
