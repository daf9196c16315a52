"""What ONNX Runtime computes on, chosen by a list that the test writes: no GPU is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from commandline import succeed
from whet import runtime
from whet.errors import InputError, ModelError
from whet.runtime import automatic, computes_on, open_session, preferred_precision, providers
from whet.runtime.installed import survey
from whet.runtime.providers import PROVIDERS, candidates, present

CUDA, CPU = PROVIDERS["cuda"].name, PROVIDERS["cpu"].name


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(providers.VARIABLE, raising=False)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes this machine one with a GPU or none, and a build with providers."""

    def pretend(*names: str, gpu: bool) -> None:
        built_in = [PROVIDERS[name].name for name in names]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_in)
        monkeypatch.setattr(providers, "has_nvidia_gpu", lambda: gpu)

    return pretend


REAL = onnxruntime.InferenceSession


class FakeSession:
    """Computes on the processor, whatever it is asked for, and remembers what that was."""

    asked: ClassVar[list[list[str]]] = []
    fails: tuple[str, ...] = ()  # raise
    silent: tuple[str, ...] = ()  # are left out without a word, as ONNX Runtime does

    def __init__(self, data: bytes, options: Any, providers: list[Any], **rest: Any) -> None:
        self.names = [p if isinstance(p, str) else p[0] for p in providers]
        self.asked.append(self.names)
        assert rest == {"enable_fallback": 0}
        if set(self.names) & set(self.fails):
            raise RuntimeError("libcudnn.so.9 is missing\nand so on")
        self.session = REAL(data, options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return [name for name in self.names if name not in self.silent]

    def run(self, *args: Any) -> Any:
        return self.session.run(*args)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tiny_artifact: Path) -> list[list[str]]:
    """What sessions are asked to compute on, in turn."""
    # A file from elsewhere would be tried out first, by an engine of its own.
    monkeypatch.setattr(runtime, "shipped", lambda: {"tiny": tiny_artifact})
    monkeypatch.setattr(FakeSession, "asked", [])
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    return FakeSession.asked


# The choice


@pytest.mark.parametrize(
    ("built_in", "gpu", "expected"),
    [
        (("cpu",), True, ("cpu",)),
        (("cuda", "tensorrt", "cpu"), True, ("cuda", "cpu")),
        (("cuda", "tensorrt", "cpu"), False, ("cpu",)),
        (("directml", "cpu"), False, ("directml", "cpu")),
        (("coreml", "cpu"), False, ("coreml", "cpu")),
    ],
)
def test_an_accelerator_comes_first_where_it_is_present(
    built_in: tuple[str, ...], gpu: bool, expected: tuple[str, ...], machine: Callable[..., None]
) -> None:
    machine(*built_in, gpu=gpu)
    assert candidates(present()) == expected


def test_tensorrt_is_taken_by_those_who_ask(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("cuda", "tensorrt", "cpu", gpu=True)
    monkeypatch.setenv(providers.VARIABLE, "tensorrt")
    assert candidates(present()) == ("tensorrt",)


def test_impossible_wishes_name_the_remedy(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("cpu", gpu=False)
    with pytest.raises(InputError, match="choose one of: cuda, tensorrt, directml, coreml, cpu"):
        candidates(present(), "abacus")
    monkeypatch.setenv(providers.VARIABLE, "directml")
    with pytest.raises(InputError, match="only cpu; install onnxruntime-directml"):
        candidates(present())


def test_int8_files_are_for_processors(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "int8_is_fast", lambda: True)
    machine("cuda", "cpu", gpu=True)
    assert preferred_precision("onnxruntime") == "float32"
    machine("cuda", "cpu", gpu=False)
    assert preferred_precision("onnxruntime") == "int8"


def test_auto_prefers_a_gpu_that_onnx_runtime_was_built_for(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "available", lambda: ("openvino", "onnxruntime", "torch"))
    machine("cuda", "cpu", gpu=True)
    assert automatic()[0] == "onnxruntime"
    assert "cuda" in automatic()[1]
    machine("cuda", "cpu", gpu=False)
    assert automatic()[0] == "openvino"
    machine("cuda", "cpu", gpu=True)
    monkeypatch.setenv(providers.VARIABLE, "cpu")
    assert automatic()[0] == "openvino"


def test_no_runtime_at_all_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "available", lambda: ())
    assert automatic()[0] == "onnxruntime"


# Sessions


def restored(path: Path, **options: Any) -> tuple[np.ndarray, str]:
    session = open_session(path, runtime="onnxruntime", **options)
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    return session.restore(image), session._engine.provider  # type: ignore[attr-defined]


def test_a_session_asks_for_the_gpu_and_the_processor_for_the_rest(
    tiny_artifact: Path, machine: Callable[..., None], opened: list[list[str]]
) -> None:
    machine("cuda", "cpu", gpu=True)
    assert restored(tiny_artifact)[1] == "cuda"
    assert opened == [[CUDA, CPU]]


@pytest.mark.parametrize("how", ["fails", "silent"])
def test_a_gpu_whose_libraries_are_missing_leaves_the_processor(
    how: str,
    tiny_artifact: Path,
    machine: Callable[..., None],
    opened: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine("cpu", gpu=False)
    plain, _ = restored(tiny_artifact)
    machine("cuda", "cpu", gpu=True)
    monkeypatch.setattr(FakeSession, how, (CUDA,))
    pixels, provider = restored(tiny_artifact)
    assert provider == "cpu"
    assert opened[1:] == [[CUDA, CPU], [CPU]]
    assert np.array_equal(pixels, plain)
    assert capsys.readouterr() == ("", "")


def test_a_gpu_that_was_asked_for_is_not_replaced(
    tiny_artifact: Path,
    machine: Callable[..., None],
    opened: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine("cuda", "cpu", gpu=True)
    monkeypatch.setenv(providers.VARIABLE, "cuda")
    monkeypatch.setattr(FakeSession, "fails", (CUDA,))
    with pytest.raises(ModelError, match="libcudnn"):
        restored(tiny_artifact)


def test_directml_is_never_run_by_two_threads_at_once(
    tiny_artifact: Path,
    machine: Callable[..., None],
    opened: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine("directml", "cpu", gpu=False)
    session = open_session(tiny_artifact, runtime="onnxruntime")
    inside, most = [0], [0]
    run = FakeSession.run

    def counted(self: Any, *args: Any) -> Any:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1
        return run(self, *args)

    monkeypatch.setattr(FakeSession, "run", counted)
    image = np.zeros((16, 16, 3), np.uint8)
    threads = [threading.Thread(target=session.restore, args=(image,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


# What is shown


def test_survey_marks_exactly_what_auto_takes(machine: Callable[..., None]) -> None:
    machine("cpu", gpu=False)
    standings = survey()
    assert [s.name for s in standings] == list(runtime.RUNTIMES)
    assert [s.name for s in standings if s.automatic] == [automatic()[0]]
    assert {s.name for s in standings if s.version} == set(runtime.available())
    assert all(s.device == "cpu" for s in standings if s.version)


def test_survey_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "available", lambda: ("onnxruntime",))
    monkeypatch.setattr("whet.runtime.installed.available", lambda: ("onnxruntime",))
    by_name = {s.name: s for s in survey()}
    assert "pip install openvino" in by_name["openvino"].reason
    assert "pip install 'whet-sharpen[train]'" in by_name["torch"].reason


def test_models_runtimes_shows_a_gpu(machine: Callable[..., None]) -> None:
    machine("cuda", "cpu", gpu=True)
    assert computes_on("onnxruntime") == "cuda"
    lines = succeed("models", "--runtimes").splitlines()
    (starred,) = [line for line in lines[1:-1] if line.startswith("*")]
    assert starred.split()[1] == "onnxruntime"
    assert "cuda" in starred
