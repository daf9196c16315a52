"""Which runtimes are here, what each computes on, and which one ``auto`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from whet.artifact import Precision
from whet.errors import InputError, install_command
from whet.runtime import RUNTIMES, automatic, available, computes_on, preferred_precision

__all__ = ["Standing", "survey"]

_BUILDS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-rocm")
}


@dataclass(frozen=True)
class Standing:
    """One runtime on this machine.

    Attributes:
        name: key of ``RUNTIMES``.
        version: of its package; empty where it is not installed.
        device: key of ``PROVIDERS`` that computes; empty where it is not installed.
        precision: of the shipped files that it gets, unless told otherwise.
        automatic: ``auto`` takes it.
        reason: why auto takes it, or what it is for and how it is had.
    """

    name: str
    version: str
    device: str
    precision: Precision
    automatic: bool
    reason: str


def survey() -> Sequence[Standing]:
    """Return the state of every runtime, in the order in which ``auto`` prefers them."""
    here = available()
    chosen, reason = automatic()
    standings = []
    for name, runtime in RUNTIMES.items():
        device, why = "", runtime.summary
        precision: Precision = "float32"
        if name in here:
            try:
                device, precision = computes_on(name), preferred_precision(name)
            except InputError as error:  # a provider was asked for that is not there
                why = str(error)
        else:
            extra = runtime.extra
            remedy = install_command(extra) if extra else f"pip install {runtime.package}"
            why = f"{why}; not installed: {remedy}"
        standings.append(
            Standing(
                name=name,
                version=_version(name, runtime.package) if name in here else "",
                device=device,
                precision=precision,
                automatic=name == chosen,
                reason=reason if name == chosen else why,
            )
        )
    return standings


def _version(name: str, package: str) -> str:
    for build in _BUILDS.get(name, (package,)):
        try:
            return metadata.version(build)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
