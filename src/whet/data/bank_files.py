"""Writes and reads a bank of crops that were degraded, and taught, beforehand.

A bank is a folder of safetensors shards and one ``bank.json`` that says how it
was made. Every shard is a pure function of the settings and its number and is
moved into place when complete: an interrupted bank is continued by the same
call, and a bank made with other settings is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from whet.conditions import MEASURES
from whet.data.bank import CropBank
from whet.data.batch import UNTOLD, Conditions
from whet.data.photo_bank import PhotoBank
from whet.errors import DataError, MissingExtraError
from whet.files import replacing

__all__ = ["load_bank", "make_bank"]

SHARD_CROPS = 8
"""Crops per shard: about a minute of MAXIM on two cores, so little is lost by a stop."""

Teach = Callable[[Tensor], Tensor]


def make_bank(
    target: Path,
    photos: Sequence[Path],
    mix: Mapping[str, float],
    *,
    shards: int,
    crop: int = 256,
    seed: int = 0,
    teacher_name: str = "",
    teach: Teach | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``shards`` shards of 8 crops each into the folder ``target``, or finish doing so.

    Args:
        photos: sharp photographs.
        mix: degradation -> share.
        crop: side in pixels.
        teacher_name: what made the teacher's outputs, for the record.
        teach: NCHW float32 in [0, 1] -> the teacher's restoration, or None.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: ``target`` holds a bank made otherwise.
    """
    target.mkdir(parents=True, exist_ok=True)
    settings = {
        "crop": crop,
        "mix": dict(mix),
        "photos": sorted(p.name for p in photos),
        "seed": seed,
        "shard_crops": SHARD_CROPS,
        "teacher": teacher_name if teach else "",
    }
    _claim(target / "bank.json", settings)
    source: PhotoBank | None = None
    for index in range(shards):
        path = target / f"shard-{index:05d}.safetensors"
        if not path.exists():
            source = source or PhotoBank(sorted(photos), mix)
            batch = source.batch(seed, index, SHARD_CROPS, crop)
            tensors = {"degraded": _bytes(batch.degraded), "sharp": _bytes(batch.sharp)}
            assert batch.conditions is not None
            tensors["kind"] = batch.conditions.kinds.cpu()
            tensors["measures"] = batch.conditions.measures.cpu()
            if teach is not None:
                # The student will see bytes, so the teacher does too.
                seen = tensors["degraded"].float() / 255
                outputs = [teach(image[None])[0] for image in seen]
                tensors["teacher"] = _bytes(torch.stack(outputs))
            _save(tensors, path)
        if progress:
            progress(index + 1, shards)


def is_taught(folder: Path) -> bool:
    """Return whether the bank in ``folder`` holds a teacher's outputs.

    Raises:
        DataError: the folder holds no bank.
    """
    path = folder / "bank.json"
    if not path.is_file():
        raise _no_bank(folder)
    return bool(json.loads(path.read_text()).get("teacher"))


def load_bank(folders: Sequence[Path], device: torch.device | str = "cpu") -> CropBank:
    """Return the crops of all ``folders`` as one bank.

    Shards without a teacher may be among them, shards that do not tell what happened to their
    crops, and crops of several sizes.

    Raises:
        DataError: a folder holds no bank, or a shard is damaged.
    """
    sharp: list[Tensor] = []
    degraded: list[Tensor] = []
    teacher: list[Tensor] = []
    taught: list[int] = []
    kinds: list[Tensor] = []
    measures: list[Tensor] = []
    for folder in folders:
        paths = sorted(folder.glob("shard-*.safetensors"))
        if not (folder / "bank.json").is_file() or not paths:
            raise _no_bank(folder)
        for path in paths:
            tensors = _load(path)
            if "teacher" in tensors:
                start = sum(len(s) for s in sharp)
                taught += range(start, start + len(tensors["sharp"]))
                teacher.append(tensors["teacher"])
            sharp.append(tensors["sharp"])
            degraded.append(tensors["degraded"])
            count = len(tensors["sharp"])
            kinds.append(tensors.get("kind", torch.full((count,), UNTOLD)))
            measures.append(tensors.get("measures", torch.full((count, len(MEASURES)), torch.nan)))
    return CropBank(
        [image for shard in sharp for image in shard],
        [image for shard in degraded for image in shard],
        [image for shard in teacher for image in shard] if teacher else None,
        taught,
        device,
        Conditions(torch.cat(kinds), torch.cat(measures)) if kinds else None,
    )


def _no_bank(folder: Path) -> DataError:
    return DataError(f"{folder} holds no bank; write one with `whet data make`")


def _claim(path: Path, settings: dict[str, object]) -> None:
    """Record how a bank is made, or check that it was made so."""
    if path.exists():
        if json.loads(path.read_text()) != settings:
            raise DataError(
                f"{path.parent} holds a bank made with other settings or photographs; "
                "name another folder, or remove this one"
            )
        return
    with replacing(path, error=DataError) as temporary:
        temporary.write_text(json.dumps(settings, indent=1, sort_keys=True))


def _bytes(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous()


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise MissingExtraError("safetensors", "train") from None

    with replacing(path, overwrite=True, error=DataError) as temporary:
        save_file(tensors, temporary)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged; remove it and run `whet data make` again") from error
