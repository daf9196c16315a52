"""The runtime that browsers compute with: ONNX Runtime Web, fetched once into the user's cache.

It is too large to travel with whet. npm downloads the package, its sha256 is
checked, and six files of it are kept with theirs; no script of the package runs.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from whet.errors import InputError, ModelError
from whet.fetch.weights import CLIENTS, Fetch
from whet.files import cache_dir, file_sha256

__all__ = ["FILES", "PACKAGE", "fetch_runtime", "runtime_folder"]

PACKAGE = Fetch(
    "npm",
    "onnxruntime-web",
    "1.30.0",
    "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    lambda _: {},  # it holds no weights
    0,
    0,
    "MIT (Microsoft)",
    "ONNX Runtime for browsers (33 MB to download)",
)

FILES = {
    "ort.wasm.min.mjs": "text/javascript",
    "ort-wasm-simd-threaded.mjs": "text/javascript",
    "ort-wasm-simd-threaded.wasm": "application/wasm",
    "ort.webgpu.min.mjs": "text/javascript",
    "ort-wasm-simd-threaded.asyncify.mjs": "text/javascript",
    "ort-wasm-simd-threaded.asyncify.wasm": "application/wasm",
}
"""What browsers load, with its media type: three files without a GPU, three with one."""

_SUMS = "SHA256SUMS"


def runtime_folder() -> Path | None:
    """Return the folder that holds the fetched runtime, or None if it is not here yet.

    Raises:
        ModelError: a file is not the one that was fetched.
    """
    folder = _folder()
    sums = folder / _SUMS
    if not sums.is_file():
        return None
    if sums.read_text(encoding="ascii", errors="replace") != _sums(folder):
        raise ModelError(f"{folder} has changed since it was fetched; run: whet serve --fetch")
    return folder


def fetch_runtime(
    progress: Callable[[str], None] = lambda _: None, archive: Path | None = None
) -> Path:
    """Fetch and verify the runtime; return its folder in the cache.

    Args:
        progress: told about every step.
        archive: packed file that was downloaded before; None downloads it.

    Raises:
        InputError: npm is missing or failed, or the cache cannot be written.
        ModelError: what came is not the expected package.
    """
    target = _folder()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".whet-", dir=target.parent) as name:
            packed, unpacked = Path(name, "packed"), Path(name, "unpacked")
            packed.mkdir()
            unpacked.mkdir()
            if archive is None:
                progress(f"downloading {PACKAGE.package} {PACKAGE.version}")
                CLIENTS[PACKAGE.client](PACKAGE, packed)
                archive = next(packed.iterdir())
            progress("verifying")
            if file_sha256(archive) != PACKAGE.sha256:
                raise ModelError(
                    f"{archive.name} is not {PACKAGE.package} {PACKAGE.version} as whet knows it; "
                    "nothing was kept, try again or another network"
                )
            _unpack(archive, unpacked)
            (unpacked / _SUMS).write_text(_sums(unpacked), encoding="ascii")
            if target.exists():
                target.rename(Path(name, "old"))
            unpacked.rename(target)
    except OSError as error:
        raise InputError(
            f"cannot write to {target.parent} ({error.strerror}); "
            "free some space or set WHET_CACHE to another folder"
        ) from error
    return target


def _folder() -> Path:
    return cache_dir() / f"{PACKAGE.package}-{PACKAGE.version}"


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:gz") as package:
        for name in FILES:
            stream = package.extractfile(f"package/dist/{name}")
            (folder / name).write_bytes(stream.read() if stream else b"")


def _sums(folder: Path) -> str:
    """Return the sums of all files as ``sha256sum`` prints them."""
    found = ((name, folder / name) for name in sorted(FILES))
    return "".join(f"{file_sha256(p) if p.is_file() else '-'}  {name}\n" for name, p in found)
