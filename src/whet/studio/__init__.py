"""Heavy networks, for the one photograph that matters: minutes instead of milliseconds.

A :class:`~whet.studio.session.StudioSession` looks like every other session, so that pictures,
folders, pipes and videos take the same way through whet. Below it lie tiles that blend
(``tiles``), finished ones on disk (``kept_tiles``), and the network: a graph that whet writes
itself from public weights (``maxim_graph``, run by ``graph_network`` without PyTorch), or any
checkpoint that can teach, in PyTorch (``torch_network``, which is loaded by name).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from whet.card import Card, Precision
from whet.errors import InputError, MissingExtraError
from whet.runtime import RUNTIMES, Session, automatic, open_session
from whet.studio.tiles import Tiling

if TYPE_CHECKING:
    from whet.studio.session import StudioSession

__all__ = [
    "STUDIO",
    "HeavyModel",
    "duration",
    "expected_seconds",
    "forget_kept",
    "is_heavy",
    "open_model",
    "open_studio",
]

_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class HeavyModel:
    """A heavy network that can be named.

    Attributes:
        weights: name under which ``whet data fetch`` knows its public weights.
        summary: one line for people.
        known_failures: what it does badly, in words.
    """

    weights: str
    summary: str
    known_failures: tuple[str, ...]


STUDIO: Mapping[str, HeavyModel] = {
    "maxim": HeavyModel(
        "maxim-gopro",
        "motion blur, minutes a picture",
        (
            "sharp pictures come back at 32 to 45 dB only; use it on blurred ones",
            "blur that is long, or averaged in linear light as cameras do, gains little",
        ),
    ),
    "maxim-sidd": HeavyModel(
        "maxim-sidd",
        "noise of phone cameras, minutes a picture",
        ("fine texture is smoothed away with the noise of anything but phone cameras",),
    ),
}
"""Name, as in ``--model`` -> network."""

MAXIM_TILING = Tiling(size=256, overlap=64, multiple=64)
"""256 px is what MAXIM was trained on, and its grid spans a tile. With 64 px of overlap nine tiles
of two 512 x 512 pairs gave 32.54 and 27.70 dB where the whole gave 32.55 and 27.86; without
overlap 31.88 and 27.37."""

MAXIM_KMAC_PER_PX = 2280.0


def is_heavy(model: str | Path) -> bool:
    """Whether a model's name means a heavy network: one of :data:`STUDIO`, a checkpoint, or
    ``file.py:function``."""
    name = str(model)
    return name in STUDIO or name.lower().endswith(_CHECKPOINTS) or ".py:" in name


def open_model(
    model: str | Path = "small",
    runtime: str = "auto",
    threads: int | None = None,
    precision: Precision | Literal["auto"] = "auto",
) -> Session:
    """Open any model: a shipped one, a model file, or a heavy network.

    Raises:
        InputError, MissingExtraError, ModelError: see :func:`~whet.runtime.open_session` and
            :func:`open_studio`.
    """
    if is_heavy(model):
        return open_studio(model, runtime, threads)
    return open_session(model, runtime, threads, precision)


def open_studio(
    model: str | Path, runtime: str = "auto", threads: int | None = None
) -> StudioSession:
    """Open a heavy network.

    Args:
        model: a key of :data:`STUDIO`; a checkpoint of a network that can teach (MAXIM,
            Restormer, a student, or whatever spandrel knows); or ``file.py:function``, where the
            function takes nothing and returns a ``torch.nn.Module`` that maps float32
            (N, 3, H, W) RGB in [0, 1] to the same. That file is run: name only your own.
        runtime: a key of ``RUNTIMES``; checkpoints run in PyTorch.
        threads: of computation; None takes all cores.

    Raises:
        InputError: no such runtime or function, or no threads.
        MissingExtraError: what computes is not installed.
        ModelError: the weights are not here, cannot be trusted, or do not fit.
    """
    if runtime not in ("auto", *RUNTIMES):
        raise InputError(f"no runtime {runtime!r}; choose auto or one of: {', '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads cannot compute; give 1 or more, or leave it out")
    named = STUDIO.get(str(model))
    if named is None or runtime == "torch":
        return _in_torch(str(model), named, threads)
    return _maxim(str(model), named, automatic()[0] if runtime == "auto" else runtime, threads)


def expected_seconds(height: int, width: int) -> float:
    """Return about how long MAXIM takes for a picture here, without opening it."""
    from whet.studio.graph_network import precision_of
    from whet.studio.session import expected_seconds as expected

    runtime = automatic()[0]
    runtime = "onnxruntime" if runtime == "torch" else runtime
    precision = precision_of(runtime)
    return expected("maxim", runtime, precision, MAXIM_TILING, MAXIM_KMAC_PER_PX, (height, width))


def forget_kept(session: Session, *, safe: bool = True) -> None:
    """Remove the tiles that a heavy session kept of finished pictures.

    Args:
        session: any session; most keep nothing.
        safe: their results are; else the tiles stay for the next run.
    """
    end = getattr(session, "forget" if safe else "hold", None)
    if end is not None:
        end()


def duration(seconds: float) -> str:
    """Return a time as people say it: about so many seconds, minutes, hours or days."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.{1 if seconds < 10 * length else 0}f} {unit}s"
    return f"about {max(1, round(seconds))} s"


def _in_torch(model: str, named: HeavyModel | None, threads: int | None) -> StudioSession:
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train")
    opened = import_module("whet.studio.torch_network").open_network(model, named, threads)
    session: StudioSession = opened
    return session


def _maxim(model: str, named: HeavyModel, runtime: str, threads: int | None) -> StudioSession:
    from safetensors.numpy import load_file

    from whet.fetch.weights import FETCHABLE, digest_of, fetched
    from whet.studio.graph_network import GraphNetwork
    from whet.studio.maxim_graph import maxim_graph
    from whet.studio.session import StudioSession

    if find_spec(RUNTIMES[runtime].package) is None:
        raise MissingExtraError(RUNTIMES[runtime].package, RUNTIMES[runtime].extra)
    weights = load_file(fetched(named.weights))
    item = FETCHABLE[named.weights]
    card = Card(
        name=model,
        architecture="maxim",
        multiple=MAXIM_TILING.multiple,
        halo=MAXIM_TILING.overlap,
        kmac_per_px=MAXIM_KMAC_PER_PX,
        parameters=item.parameters,
        version=item.version,
        licences=(item.licence,),
        known_failures=named.known_failures,
        weights_sha256=digest_of(named.weights),
    )
    network = GraphNetwork(
        lambda height, width: maxim_graph(weights, height, width),
        MAXIM_TILING,
        "openvino" if runtime == "openvino" else "onnxruntime",
        threads,
    )
    return StudioSession(card, runtime, network)
