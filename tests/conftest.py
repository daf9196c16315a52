"""Small fixtures that several files share. Telemetry of every dependency is off from here on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

from photographs import Image, photograph_like
from whet.priority import policies
from whet.runtime import telemetry

if TYPE_CHECKING:
    from torch import nn

    from whet.models import ModelSpec

telemetry.silence()


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """Let no encoder that a test opens itself slow down all that follow."""
    before = policies()
    yield
    for thread, policy in policies().items():
        if policy != before.get(thread, os.SCHED_OTHER):
            with suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the full tier unless it is asked for."""
    if not config.getoption("--full"):
        later = pytest.mark.skip(reason="takes minutes; pytest --full runs it")
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(later)


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image]:
    """A function (height, width, seed=0) -> uint8 HWC picture like a photograph."""
    return photograph_like


def tiny_student() -> nn.Module:
    """Return a student in the shape of the real-time family, with weights that do something.

    Outputs for random pictures leave [0, 1] on both sides.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class TinyStudent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(48, 8, 3, padding=1)
            self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
            self.up = nn.Conv2d(12, 32, 1)
            self.body = nn.Conv2d(8, 8, 3, padding=1)
            self.tail = nn.Conv2d(8, 48, 3, padding=1)

        def forward(self, degraded: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.head(F.pixel_unshuffle(degraded - 0.5, 4)))
            deep = F.pixel_shuffle(self.up(F.relu(self.down(x))), 2)
            residual = self.tail(F.relu(self.body(deep + x)))
            return degraded + F.pixel_shuffle(residual, 4)

        def fuse(self) -> nn.Module:
            return self.eval()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyStudent().eval()


def tiny_spec() -> ModelSpec:
    from whet.models import ModelSpec

    # Reach: head 4, down 8, body 4, tail 4, and the block of 8 the pixel stands in.
    return ModelSpec("tiny", "tests", 8, 32, 1.0, (), "for tests")


@pytest.fixture(scope="session")
def student() -> nn.Module:
    """The network in :func:`tiny_artifact`."""
    return tiny_student()


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return tiny_spec()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, onnx.ModelProto]:
    """A model file, and what PyTorch's tracer made of the student: tracing takes seconds."""
    from whet.artifact import Card
    from whet.export import onnx as exporter

    path = tmp_path_factory.mktemp("artifact") / "tiny.onnx"
    card = Card(
        name="tiny",
        architecture="tiny",
        multiple=8,
        halo=32,
        kmac_per_px=1.0,
        parameters=0,
        version="1.2",
        recipe="none",
        data=("noise",),
        licences=("CC0-1.0",),
        scores={"noise": {"psnr": 30.25}},
        known_failures=("everything",),
    )
    traced = onnx.ModelProto()
    trace = exporter._trace

    def remember(network: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
        model = trace(network, spec)
        traced.CopyFrom(model)
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "_trace", remember)
        exporter.export(tiny_student(), tiny_spec(), path, card)
    return path, traced


@pytest.fixture(scope="session")
def tiny_artifact(exported: tuple[Path, onnx.ModelProto]) -> Path:
    """A float32 model file of 10,000 weights. Do not write to it; copy it."""
    return exported[0]


@pytest.fixture(scope="session")
def tiny_int8(tiny_artifact: Path) -> Path:
    """The int8 version of :func:`tiny_artifact`. Do not write to it; copy it."""
    from whet.export.quantize import quantize

    path = tiny_artifact.with_name("tiny-int8.onnx")
    quantize(
        tiny_artifact, path, [photograph_like(96, 96, i) for i in range(6)], methods=("minmax",)
    )
    return path
