"""From pictures to a study folder: opaque names, lossless, complete or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whet.data.layouts import DEGRADED_FOLDERS, SHARP_FOLDERS
from whet.data.scenes import stable_hash
from whet.errors import DataError, InputError
from whet.files import new_folder, reason
from whet.image import SUFFIXES, read
from whet.study.design import picture_name
from whet.study.plan import (
    CONSENT,
    CONSENT_EXTERNAL,
    DEGRADED,
    MARGIN_PX,
    PICTURES,
    PROTOCOLS,
    RUINED,
    SCALES,
    SHARP,
    Display,
    Plan,
    write_plan,
)

__all__ = ["Settings", "Stimulus", "build", "ruin", "triplets"]

Pixels = NDArray[np.uint8]

RESTORED_FOLDER = "restored"
RUIN_FACTOR = 8
"""How many times smaller a ruined picture was; no method that is worth a study looks as bad."""


@dataclass(frozen=True)
class Stimulus:
    """One scene in all its versions, all uint8 HWC RGB of one shape.

    Attributes:
        scene: unique name.
        degraded, sharp: input and reference.
        restored: method -> its output.
    """

    scene: str
    degraded: Pixels
    sharp: Pixels
    restored: Mapping[str, Pixels]


@dataclass(frozen=True)
class Settings:
    """What a study is asked to be; see :class:`~whet.study.plan.Plan` for the fields.

    Attributes:
        title, consent: "" for the usual ones.
        scale: a key of :data:`~whet.study.plan.SCALES` that the protocol knows, "" for its usual
            one; none for pairs.
        scenes_each: None for all.
        practice_scenes: how many scenes are taken from the others for practice and gold.
    """

    title: str = ""
    protocol: str = "acr"
    scale: str = ""
    scenes_each: int | None = None
    practice_scenes: int = 1
    practice: int = 3
    repeats: int = 4
    gold: int = 4
    break_every: int = 40
    seed: int = 0
    consent: str = field(default="", repr=False)
    instructions: str = ""
    question: str = ""
    completion: str = ""
    external: str = ""


def triplets(folder: Path) -> Iterator[Stimulus]:
    """Yield the scenes of ``folder/{degraded,restored/METHOD,sharp}/NAME``.

    Other names for the outer folders: those of pairs (``blur``, ``input``, ``lq``; ``gt``,
    ``target``). Pictures directly in ``restored`` are of one method called "restored".
    Suffixes may differ; names without suffix must be the same everywhere.

    Raises:
        DataError: a folder or a picture is missing, unreadable or of another size.
    """
    degraded = _pictures(_first(folder, DEGRADED_FOLDERS))
    sharp = _pictures(_first(folder, SHARP_FOLDERS))
    restored = _first(folder, (RESTORED_FOLDER,))
    methods = {path.name: _pictures(path) for path in sorted(restored.iterdir()) if path.is_dir()}
    methods = methods or {RESTORED_FOLDER: _pictures(restored)}
    for place, pictures in {"degraded": degraded, "sharp": sharp, **methods}.items():
        if odd := degraded.keys() ^ pictures.keys():
            raise DataError(
                f"{folder}: {min(odd)} is in degraded or in {place}, not in both; "
                "every scene needs every version"
            )
    for name in degraded:
        outputs = {method: _pixels(pictures[name]) for method, pictures in methods.items()}
        yield Stimulus(name, _pixels(degraded[name]), _pixels(sharp[name]), outputs)


def ruin(sharp: Pixels) -> Pixels:
    """Return the picture shrunk by :data:`RUIN_FACTOR` and enlarged again: plainly bad."""
    image = Image.fromarray(sharp)
    small = (max(1, image.width // RUIN_FACTOR), max(1, image.height // RUIN_FACTOR))
    tiny = image.resize(small, Image.Resampling.BOX)
    return np.asarray(tiny.resize(image.size, Image.Resampling.BILINEAR))


def build(stimuli: Iterable[Stimulus], folder: Path, settings: Settings) -> Plan:
    """Write a study folder and return its plan.

    Args:
        stimuli: the scenes, each once; they are written as they come.
        folder: created; must not exist, or be empty.
        settings: the rest.

    Raises:
        InputError: a wrong setting, no scene, or a folder that is in use.
        DataError: a scene lacks a method, or its pictures differ in size.
    """
    if settings.protocol not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise InputError(f"no protocol is called {settings.protocol!r}; choose one of: {known}")
    _check_scale(settings)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {reason(error)}") from error
    with new_folder(folder) as part:
        (part / PICTURES).mkdir()
        return _fill(stimuli, part, settings)


def _check_scale(settings: Settings) -> None:
    if settings.scale and settings.scale not in SCALES:
        raise InputError(
            f"no scale is called {settings.scale!r}; choose one of: {', '.join(SCALES)}"
        )
    known = PROTOCOLS[settings.protocol].scales
    if settings.scale and settings.scale not in known:
        wanted = f"choose one of: {', '.join(known)}" if known else "the answer is left or right"
        fitting = [name for name, p in PROTOCOLS.items() if settings.scale in p.scales]
        raise InputError(
            f"the scale {settings.scale} cannot be answered with {settings.protocol}; {wanted}; "
            f"or take the protocol {' or '.join(fitting)}"
        )


def _fill(stimuli: Iterable[Stimulus], folder: Path, settings: Settings) -> Plan:
    secret = secrets.token_hex(16)
    methods: tuple[str, ...] = ()
    sizes: dict[str, tuple[int, int]] = {}
    for stimulus in stimuli:
        methods = methods or tuple(stimulus.restored)
        _check(stimulus, methods, sizes)
        sizes[stimulus.scene] = stimulus.sharp.shape[1], stimulus.sharp.shape[0]
        # The names need the secret only, so pictures need not wait for the plan.
        _save(stimulus, folder / PICTURES, secret)
    plan = _plan(list(sizes), methods, secret, settings, sizes)
    write_plan(plan, folder)
    return plan


def _check(stimulus: Stimulus, methods: Sequence[str], seen: Mapping[str, object]) -> None:
    if stimulus.scene in seen:
        raise DataError(f"two scenes are called {stimulus.scene}; rename one of them")
    if set(stimulus.restored) != set(methods):
        raise DataError(f"{stimulus.scene}: not restored by the same methods as the first scene")
    for name, pixels in {"degraded": stimulus.degraded, **stimulus.restored}.items():
        if pixels.shape != stimulus.sharp.shape:
            raise DataError(
                f"{stimulus.scene}: {name} is {pixels.shape[1]} x {pixels.shape[0]}, sharp "
                f"{stimulus.sharp.shape[1]} x {stimulus.sharp.shape[0]}; they must be equal"
            )


def _plan(
    scenes: Sequence[str],
    methods: tuple[str, ...],
    secret: str,
    settings: Settings,
    sizes: Mapping[str, tuple[int, int]],
) -> Plan:
    if not scenes:
        raise InputError("there is no scene to rate; name a folder that holds pictures")
    spare = settings.practice_scenes if settings.practice or settings.gold else 0
    spare = min(spare, len(scenes) - 1)
    drawn = sorted(scenes, key=lambda scene: stable_hash(f"practice/{settings.seed}/{scene}"))
    practice_scenes = tuple(sorted(drawn[:spare]))
    rated = tuple(scene for scene in scenes if scene not in practice_scenes)
    protocol = PROTOCOLS[settings.protocol]
    across = len(protocol.slots)
    consent = CONSENT_EXTERNAL if settings.external else CONSENT
    return Plan(
        id=secrets.token_hex(6),
        title=settings.title or protocol.invitation,
        protocol=settings.protocol,
        scale=() if protocol.paired else SCALES[settings.scale or protocol.scales[0]],
        scenes=rated,
        practice_scenes=practice_scenes,
        methods=methods,
        display=Display(
            across * max(width for width, _ in sizes.values()) + MARGIN_PX[0],
            max(height for _, height in sizes.values()) + MARGIN_PX[1],
        ),
        scenes_each=len(rated) if settings.scenes_each is None else settings.scenes_each,
        practice=settings.practice,
        repeats=settings.repeats,
        gold=settings.gold,
        break_every=settings.break_every,
        seed=settings.seed,
        secret=secret,
        consent=settings.consent or consent,
        instructions=settings.instructions,
        question=settings.question,
        completion=settings.completion,
        external=settings.external,
    )


def _save(stimulus: Stimulus, folder: Path, secret: str) -> None:
    versions = {
        DEGRADED: stimulus.degraded,
        SHARP: stimulus.sharp,
        RUINED: ruin(stimulus.sharp),
        **stimulus.restored,
    }
    for condition, pixels in versions.items():
        name = picture_name(secret, stimulus.scene, condition)
        Image.fromarray(pixels).save(folder / name)


def _first(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(f"{folder}: no folder {' or '.join(names)}; see `whet study new --help`")


def _pictures(folder: Path) -> dict[str, Path]:
    """Return name without suffix -> file; DataError for none, or two files of one name."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError(f"{folder}: no pictures; put one per scene there")
    found = {path.stem: path for path in paths}
    if len(found) < len(paths):
        raise DataError(f"{folder}: two pictures have one name; keep one of them")
    return found


def _pixels(path: Path) -> Pixels:
    """Read uint8 HWC RGB; screens show 8 bits, so deeper pictures are rounded."""
    pixels = read(path).pixels
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels.astype(np.uint8)
