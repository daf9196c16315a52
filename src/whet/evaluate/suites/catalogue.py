"""The suites by name: what each does to a sharp picture, with which parameters.

A new suite is one line here. Suites of one family share a line in the summary of a report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whet.degrade.codecs.programs import jpeg_round_trip
from whet.evaluate.suites.clips import CALL_H264, CALL_VP9, SCORED, Coding, coded, ordinary
from whet.evaluate.suites.fixed import half_spoilt, message, oversharpened, soft, zoomed

__all__ = ["FAMILIES", "STANDARD", "SUITES", "SuiteSpec", "View", "named"]

Pixels = NDArray[np.uint8]
Spoil = Callable[[Pixels, int], Pixels]

STANDARD = "standard"
"""The family that is scored where none is named."""


@dataclass(frozen=True)
class View:
    """What a suite makes of one picture or clip.

    Attributes:
        degraded, sharp: uint8 HWC of one shape.
        label: tells it from other views of the same picture, "" for an only one.
        columns: (first, end) of those that are scored, None for all.
        small: the picture before it was enlarged by a whole factor, where it was.
    """

    degraded: Pixels
    sharp: Pixels
    label: str = ""
    columns: tuple[int, int] | None = None
    small: Pixels | None = None


Views = Callable[[Pixels, int], Sequence[View]]
"""``(sharp, seed) -> views``; of clips, whose frames come as (T, H, W, 3), several."""


@dataclass(frozen=True)
class SuiteSpec:
    """One row of :data:`SUITES`.

    Attributes:
        degradation: a key of ``whet.degrade.registry.DEGRADATIONS``, or "" for ``views``.
        description: one sentence for tables.
        family: suites that are summarised together.
        views: what is done to a picture, where no ``degradation`` is named.
        source: photographs, pages of text, or clips.
        per_source: views of each.
        scale: the whole factor by which pictures were enlarged, 1 for none.
    """

    degradation: str
    description: str
    family: str = STANDARD
    views: Views | None = None
    source: Literal["photos", "pages", "clips"] = "photos"
    per_source: int = 1
    scale: int = 1


def _untouched(sharp: Pixels, seed: int) -> list[View]:  # noqa: ARG001
    return [View(sharp.copy(), sharp)]


def _fixed(
    family: str, description: str, spoil: Callable[..., Pixels], **given: float
) -> SuiteSpec:
    """Return a suite of photographs under ``spoil(sharp, **given)``."""
    return _seeded(family, description, lambda sharp, _seed: spoil(sharp, **given))


def _seeded(
    family: str, description: str, spoil: Spoil, source: Literal["photos", "pages"] = "photos"
) -> SuiteSpec:
    def views(sharp: Pixels, seed: int) -> list[View]:
        return [View(spoil(sharp, seed), sharp)]

    return SuiteSpec("", description, family, views, source)


def _lens(family: str, sigma_px: float, noise: int, quality: int | None) -> SuiteSpec:
    words = [f"Gaussian blur of {sigma_px} px"]
    words += [f"noise of {noise} levels"] if noise else []
    words += [f"JPEG {quality}"] if quality else []
    spoil = partial(soft, sigma_px=sigma_px, noise=noise, quality=quality)
    return _seeded(family, ", ".join(words), spoil)


def _grid() -> dict[str, SuiteSpec]:
    """Return the fifteen points of ordinary softness."""
    points = [(0, None, ""), (2, 92, "-n2-q92"), (5, 80, "-n5-q80")]
    return {
        f"soft-{sigma_px}{suffix}": _lens("soft", sigma_px, noise, quality)
        for sigma_px in (0.6, 0.9, 1.3, 1.8, 2.6)
        for noise, quality, suffix in points
    }


def _text(sigma_px: float, quality: int) -> SuiteSpec:
    spoil = partial(soft, sigma_px=sigma_px, quality=quality)
    words = f"pages of text, Gaussian blur of {sigma_px} px, JPEG {quality}"
    return _seeded("text", words, spoil, "pages")


def _clip(family: str, description: str, coding: Coding) -> SuiteSpec:
    def views(frames: Pixels, seed: int) -> list[View]:  # noqa: ARG001
        decoded = coded(frames, coding)
        return [View(decoded[i], frames[i], f"frame {i}") for i in SCORED]

    return SuiteSpec("", description, family, views, "clips", len(SCORED))


def _halves(name: str, description: str, spoil: Callable[[Pixels], Pixels]) -> dict[str, SuiteSpec]:
    """Return three suites: the soft half, the same half alone, and the sharp half."""

    def side(sharp: Pixels, *, right: bool, alone: bool) -> list[View]:
        middle, end = sharp.shape[1] // 2, sharp.shape[1]
        spoilt = spoil(sharp)
        shown = spoilt if alone else half_spoilt(sharp, spoilt)
        return [View(shown, sharp, columns=(middle, end) if right else (0, middle))]

    def spec(words: str, *, right: bool, alone: bool = False) -> SuiteSpec:
        def views(sharp: Pixels, seed: int) -> list[View]:  # noqa: ARG001
            return side(sharp, right=right, alone=alone)

        return SuiteSpec("", f"{words}: {description}", "half", views)

    return {
        f"half-{name}-soft": spec(
            "the soft half of pictures whose other half is sharp", right=True
        ),
        f"half-{name}-alone": spec("the same half where all is soft", right=True, alone=True),
        f"half-{name}-sharp": spec("the sharp half beside a soft one", right=False),
    }


SUITES: Mapping[str, SuiteSpec] = {
    "shake-srgb": SuiteSpec("shake-srgb", "camera shake, averaged in sRGB as in GoPro"),
    "shake-linear": SuiteSpec("shake-linear", "camera shake, averaged in linear light"),
    "object": SuiteSpec("object", "an object moving before a still background"),
    "defocus": SuiteSpec("defocus", "out of focus"),
    "bicubic-x2": SuiteSpec("bicubic-x2", "halved and doubled in size, bicubic", scale=2),
    "bicubic-x3": SuiteSpec("bicubic-x3", "shrunk and enlarged by 3, bicubic", scale=3),
    "call-150k": SuiteSpec("call-150k", "video call, H.264 at 150 kbit/s"),
    "call-400k": SuiteSpec("call-400k", "video call, H.264 at 400 kbit/s"),
    "call-1000k": SuiteSpec("call-1000k", "video call, H.264 at 1000 kbit/s"),
    "sharp": SuiteSpec("", "already sharp: must come back unchanged", views=_untouched),
    **_grid(),
    "zoom-1.5-q90": _fixed("files", "zoomed by 1.5, JPEG 90", zoomed, factor=1.5, quality=90),
    "zoom-2-q75": _fixed("files", "zoomed by 2, JPEG 75", zoomed, factor=2, quality=75),
    "zoom-2.5-q85": _fixed("files", "zoomed by 2.5, JPEG 85", zoomed, factor=2.5, quality=85),
    "message-1.6-q70": _fixed(
        "files", "sent at 1/1.6 of its size as JPEG 70", message, factor=1.6, quality=70
    ),
    "message-2-q60": _fixed(
        "files", "sent at half its size as JPEG 60", message, factor=2, quality=60
    ),
    "lens-1-n2-q92": _lens("files", 1.0, 2, 92),
    "lens-1.8-q80": _lens("files", 1.8, 0, 80),
    **{
        f"jpeg-{q}": _fixed("jpeg", f"JPEG {q}, not soft", jpeg_round_trip, quality=q)
        for q in (30, 75, 90)
    },
    "text-1-q85": _text(1.0, 85),
    "text-1.6-q75": _text(1.6, 75),
    "oversharpened": _fixed(
        "oversharpened",
        "unsharp mask of 1.5 px and 150%: has halos already",
        oversharpened,
        radius_px=1.5,
        percent=150,
    ),
    "native-h264": _clip(
        "native", "calls as they arrive, 400 kbit/s, H.264 baseline for low latency", CALL_H264
    ),
    "native-vp9": _clip("native", "calls as they arrive, 400 kbit/s, VP9 in real time", CALL_VP9),
    "video-crf20": _clip("video", "sharp video, H.264 at CRF 20", ordinary(20)),
    "video-crf28": _clip("video", "sharp video, H.264 at CRF 28", ordinary(28)),
    "video-0.8-crf23": _clip(
        "video", "video softened by 0.8 px, H.264 at CRF 23", ordinary(23, 0.8)
    ),
    "video-1.2-crf23": _clip(
        "video", "video softened by 1.2 px, H.264 at CRF 23", ordinary(23, 1.2)
    ),
    **_halves("1.6", "Gaussian blur of 1.6 px", partial(soft, seed=0, sigma_px=1.6)),
    **_halves("x2", "halved and doubled in size", partial(zoomed, factor=2)),
    **_halves("1.0", "Gaussian blur of 1.0 px", partial(soft, seed=0, sigma_px=1.0)),
}

FAMILIES: Mapping[str, tuple[str, ...]] = {
    family: tuple(name for name, spec in SUITES.items() if spec.family == family)
    for family in dict.fromkeys(spec.family for spec in SUITES.values())
}


def named(words: Sequence[str]) -> tuple[str, ...]:
    """Return the suites that ``words`` mean: suites, families or "all", each once, in order."""
    everything = {"all": tuple(SUITES), **FAMILIES}
    chosen = [name for word in words for name in everything.get(word, (word,))]
    return tuple(dict.fromkeys(chosen))
