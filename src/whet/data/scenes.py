"""Which pictures show the same scene, and which scenes are held out.

A network that has seen one frame of a scene scores too well on the next one.
Hence pictures are split by scene, never one by one, and a scene's place depends
on its name alone: adding files to a data set moves no picture from training
into validation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

__all__ = ["VALIDATION_SHARE", "photograph_scene", "sequence_scene", "stable_hash", "validation"]

VALIDATION_SHARE = 0.1

_VARIANT = re.compile(
    r"""[ ._~-]* (?:
        \(\d+\)                                          # photo (2)
      | [ ._~-] \d                                       # photo-2, photo_2, photo~2
      | [ ._-] (?:burst|cover|copy|edit(?:ed)?|crop(?:ped)?|hdr|small|medium|large) \d*
      | [ ._-] \d{2,5}x\d{2,5}                           # photo-1920x1080
      | @\dx                                             # photo@2x
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_SECONDS = re.compile(r"(\d{8}[ _-]?\d{4})\d{2}")
_FRAME = re.compile(r"[ ._-]*\d+$")


def photograph_scene(stem: str) -> str:
    """Return the scene of one photograph in a folder, from its file name without suffix.

    Copies, crops, sizes and bursts of one shot (``beach-1``, ``beach (2)``,
    ``beach_edited``, ``beach-800x600``), and camera names that carry the same
    minute (``IMG_20250101_101502``), count as one scene. Longer numbers stay:
    ``DSC_0001`` and ``DSC_0002`` are two scenes, or no folder could be split.
    """
    scene = _SECONDS.sub(r"\1", stem)
    while (shorter := _VARIANT.sub("", scene)) and shorter != scene:
        scene = shorter
    return scene.lower()


def sequence_scene(stem: str) -> str:
    """Return the scene of one video frame: its name without the frame number.

    Empty for a name that is only a number; the folder is the scene then.
    """
    return _FRAME.sub("", stem).lower()


def stable_hash(text: str) -> int:
    """Return 64 bits of ``text`` that are the same on every machine and in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def validation(scenes: Iterable[str]) -> set[str]:
    """Choose the scenes that are held out: those whose hash falls into the lowest tenth.

    At least one scene is held out of several, the lowest; at least one trains,
    the highest. Apart from that last one, no scene ever goes from training
    into validation because others were added.
    """
    ranked = sorted(set(scenes), key=stable_hash)
    tenth = sum(stable_hash(scene) / 2**64 < VALIDATION_SHARE for scene in ranked)
    return set(ranked[: min(max(tenth, 1), len(ranked) - 1)]) if ranked else set()
