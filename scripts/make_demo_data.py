"""Writes the photographs that come with whet, and what the teacher makes of them.

    python scripts/make_demo_data.py --photos PHOTOS --teacher-weights MAXIM.safetensors

``PHOTOS`` holds the training photographs named in CROPS_FROM and, in ``--held-out``,
those named in HELD_OUT; all of them are CC0-1.0.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from whet.data.demo import CROPS
from whet.data.demo import HELD_OUT as HELD_OUT_FOLDER
from whet.data.photo_bank import PhotoBank
from whet.models import teaching

ORIGIN = "BuddiesOfBudgie, budgie-backgrounds"
LICENCE = "CC0-1.0"
HELD_OUT = {
    "p029": "tea-gardens", "p050": "san-francisco-skyline", "p058": "the-spices-of-life",
    "p062": "piazza-gae-aulenti", "p114": "motherboard-circuits", "p132": "casa-mila",
    "p169": "roman-colosseum", "p179": "pondering-heron",
}  # fmt: skip
CROPS_FROM = {
    "p024": "serene", "p026": "tunnel-zion-park", "p077": "orange-hallway", "p088": "taipei-city",
    "p091": "cave-opening", "p111": "noche-bogota", "p127": "colorful-wall",
    "p151": "beacon-street-sunset", "p154": "lake-sherburne", "p156": "singaporean-cityscape",
    "p180": "perched-shrike", "p183": "sunning-anhinga",
}  # fmt: skip
# Softness, and not motion: two minutes on two cores are enough for the one, not for the other.
CROP_PX = 192
CROPS_PER_PHOTO = 3
MIX = {"bicubic-x2": 0.5, "bicubic-x3": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--teacher-weights", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    teach = teaching("maxim", args.teacher_weights)
    lines = [
        "# Photographs that come with whet",
        "",
        f"All from {ORIGIN}, {LICENCE}, scaled down to 0.9 megapixels. The teacher's outputs "
        "in `crops` were made with MAXIM-3S (Apache-2.0) trained on GoPro.",
        "",
        "| file | photograph |",
        "|---|---|",
    ]
    HELD_OUT_FOLDER.mkdir(parents=True, exist_ok=True)
    CROPS.mkdir(parents=True, exist_ok=True)
    for number, title in HELD_OUT.items():
        target = HELD_OUT_FOLDER / f"{title}.webp"
        target.write_bytes((args.photos / f"photos_free_img_{number}.webp").read_bytes())
        lines.append(f"| heldout/{target.name} | {title} |")
    for number, title in CROPS_FROM.items():
        bank = PhotoBank([args.photos / f"photos_free_img_{number}.webp"], MIX)
        seed = int.from_bytes(hashlib.sha256(title.encode()).digest()[:4], "big")
        for index in range(CROPS_PER_PHOTO):
            target = CROPS / f"{title}-{index}.webp"
            batch = bank.batch(seed, index, 1, CROP_PX)
            degraded = (batch.degraded * 255).round() / 255
            strip = torch.cat([batch.sharp, degraded, teach(degraded)], dim=2)[0]
            pixels = (strip * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(np.ascontiguousarray(pixels)).save(target, quality=94, method=6)
            print(target, target.stat().st_size, flush=True)
        lines.append(f"| crops/{title}-*.webp | {title} |")
    (CROPS.parent / "LICENSES.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
