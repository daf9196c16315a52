"""Plans and stimuli for the tests of studies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from whet.study.build import Stimulus
from whet.study.plan import SCALES, Display, Plan


def plan(
    protocol: str = "acr", methods: int = 4, scenes: int = 12, each: int | None = None, **rest: int
) -> Plan:
    """Return a plan without pictures: methods m0, m1, ... and scenes s0, s1, ..."""
    return Plan(
        id="study",
        title="Which is better?",
        protocol=protocol,
        scale=() if protocol == "pairs" else SCALES["quality"],
        scenes=tuple(f"s{i}" for i in range(scenes)),
        practice_scenes=("practice",),
        methods=tuple(f"m{i}" for i in range(methods)),
        display=Display(640, 480),
        scenes_each=scenes if each is None else each,
        secret="secret",
        **rest,
    )


def stimuli(count: int, height: int = 24, width: int = 32) -> Iterator[Stimulus]:
    """Yield scenes of noise in which every version of every scene is another picture."""
    rng = np.random.default_rng(0)
    for i in range(count):
        a, b, c, d = rng.integers(0, 256, (4, height, width, 3), dtype=np.uint8)
        yield Stimulus(f"scene-{i}", a, b, {"alpha": c, "beta": d})
