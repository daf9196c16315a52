"""Read weights that others made: safely, strictly, and with an error that helps.

A checkpoint is untrusted input. Only two readers exist here, safetensors and
``torch.load(weights_only=True)``; neither runs code from the file. What comes
out is a flat mapping of finite, dense CPU tensors or a
:class:`~whet.errors.ModelError`; nothing in between.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn

from whet.errors import ModelError
from whet.models import MODELS, build

__all__ = ["load_state", "load_strict", "load_student"]

# The order matters. BasicSR and its descendants (Restormer, NAFNet, ...) write
# `params`, plus `params_ema` when they keep an average of the weights, and then
# validate and publish scores with the average: so the average wins. Restormer's
# official files hold `params` alone.
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")

# Left behind by nn.DataParallel / DistributedDataParallel and by torch.compile.
_PREFIXES = ("module.", "_orig_mod.")

_NAMED_KEYS = 3
_RESAVE = (
    "re-save only the weights, with torch.save(model.state_dict(), ...) or as .safetensors, "
    "on a machine that trusts the file"
)


def load_state(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Return the weights in ``path`` as a flat mapping of parameter name to CPU tensor.

    The kind of file is told from its content, not from its name. Wrappers
    (``params_ema`` before ``params``, ``state_dict``, ``model_state_dict``,
    ``model``) are opened, and a ``module.`` or ``_orig_mod.`` that every key
    carries is dropped. Shapes and dtypes are those of the file.

    Args:
        path: a safetensors file, or one written by ``torch.save``.
        sha256: digest the file must have (hexadecimal, any case); it is
            compared before anything is parsed.

    Raises:
        ModelError: the file is missing, empty, truncated, no checkpoint, holds
            more than weights, differs from ``sha256``, or has a tensor that is
            not finite or is larger than the data behind it.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file; check the path")
    try:
        with path.open("rb") as file:
            if sha256 is not None:
                _check_digest(file, sha256, path)
            content = _parse(file, path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
    state = _flatten(content, path)
    for key, tensor in state.items():
        _check_tensor(key, tensor, path)
    return state


def load_strict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    rename: Callable[[str], str] | None = None,
) -> None:
    """Copy ``state`` into ``module``; every key and every shape must agree.

    Values are converted to the dtype and device of ``module``. On an error the
    module is left as it was.

    Args:
        module: the network to fill.
        state: parameter name -> tensor, as from :func:`load_state`.
        source: what the weights are, for the error message (usually the path).
        rename: maps a key of ``state`` to the key of ``module``.

    Raises:
        ModelError: keys are missing, unexpected or mis-shaped; the first few
            of each are listed.
    """
    renamed = {rename(key) if rename else key: tensor for key, tensor in state.items()}
    if len(renamed) != len(state):
        raise ModelError(f"{source}: two of its weights map to one name; it is for another network")
    expected = module.state_dict()
    misshaped = [
        f"{key} is {tuple(renamed[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in renamed and renamed[key].shape != tensor.shape
    ]
    complaints = [
        _name_few("missing", [key for key in expected if key not in renamed]),
        _name_few("unexpected", [key for key in renamed if key not in expected]),
        _name_few("mis-shaped", misshaped),
    ]
    if any(complaints):
        raise ModelError(
            f"{source} does not fit {type(module).__name__}: "
            f"{'; '.join(filter(None, complaints))}; "
            "use weights made for this network and these options"
        )
    module.load_state_dict(renamed, strict=True)


def _check_digest(file: BufferedReader, sha256: str, path: Path) -> None:
    """Raise ModelError unless the open ``file`` hashes to ``sha256``; rewind it."""
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.strip().lower():
        raise ModelError(
            f"{path}: sha256 is {found}, expected {sha256.strip().lower()}; "
            "the file is damaged or another version: obtain it again"
        )
    file.seek(0)


def _parse(file: BufferedReader, path: Path) -> Any:
    """Return what ``file`` holds, read without running anything in it."""
    head = file.read(9)
    file.seek(0)
    if not head:
        raise ModelError(f"{path}: the file is empty; obtain it again")
    try:
        # A safetensors file is an 8-byte length followed by a JSON object; a
        # zip archive or a pickle never has an opening brace there.
        if head[8:] == b"{":
            return parse_safetensors(file.read())
        return torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ModelError(
            f"{path}: damaged safetensors file ({_one_line(error)}); obtain it again"
        ) from error
    except pickle.UnpicklingError as error:
        # Both an honest `torch.save(model)` and an attack end here; the zip
        # signature or pickle opcode tells either from a text or image file.
        if head.startswith((b"PK", b"\x80")):
            raise ModelError(
                f"{path}: holds more than weights (Python objects that could run code), "
                f"or is damaged, and was not opened; {_RESAVE}"
            ) from error
        raise _not_a_checkpoint(path) from error
    except OSError:
        raise
    except Exception as error:
        # Damaged archives surface as RuntimeError, EOFError, KeyError, ... : the
        # set depends on the byte that is wrong, so none is worth telling apart.
        if head.startswith((b"PK", b"\x80")):
            raise ModelError(
                f"{path}: truncated or damaged checkpoint ({_one_line(error)}); obtain it again"
            ) from error
        raise _not_a_checkpoint(path) from error


def _not_a_checkpoint(path: Path) -> ModelError:
    return ModelError(
        f"{path}: not a checkpoint; give a .safetensors file or one written by torch.save"
    )


def _flatten(content: Any, path: Path) -> dict[str, Tensor]:
    """Open known wrappers around a state dict and drop a prefix common to all keys."""
    for _ in _WRAPPERS:  # bounded: a hostile mapping may contain itself
        if isinstance(content, Mapping):
            inner = (content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping))
            content = next(inner, content)
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: holds no weights; {_RESAVE}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path}: {str(key)[:80]!r} is a {type(value).__name__}, not a named tensor; "
                f"{_RESAVE}"
            )
    state: dict[str, Tensor] = dict(content)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {key: value.detach() for key, value in state.items()}


def _check_tensor(key: str, tensor: Tensor, path: Path) -> None:
    """Raise ModelError unless ``tensor`` is dense, backed by data, and finite."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized:
        raise ModelError(f"{path}: {key} is not a plain dense tensor; {_RESAVE}")
    # A few bytes with stride 0 can claim to be terabytes; every later step
    # (this one's finiteness check first) would then try to allocate them.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelError(
            f"{path}: {key} claims {tuple(tensor.shape)} values, more than the file holds; "
            "do not use it, obtain it again"
        )
    if not torch.isfinite(tensor).all():
        raise ModelError(
            f"{path}: {key} holds values that are not finite; the training run diverged or "
            "the file is damaged: use an earlier checkpoint"
        )


def _name_few(kind: str, names: list[str]) -> str:
    """Return ``"2 missing (a, b)"``, with at most a few names, or ``""``."""
    if not names:
        return ""
    rest = ", ..." if len(names) > _NAMED_KEYS else ""
    return f"{len(names)} {kind} ({', '.join(names[:_NAMED_KEYS])}{rest})"


def _one_line(error: Exception) -> str:
    """Return the first line of an error message, shortened; some readers print pages."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


def load_student(checkpoint: Path, name: str | None = None) -> tuple[str, nn.Module]:
    """Return (architecture, student) of a checkpoint, loaded strictly.

    Args:
        checkpoint: ``student.safetensors`` of a run, or any file of the student's
            state dict, such as the founding notebook's ``.pth``.
        name: key of ``whet.models.MODELS``; None finds the one that fits.

    Raises:
        InputError: no such architecture.
        ModelError: the file is damaged, or fits none.
    """
    state = load_state(checkpoint)
    if name is None:
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        fitting = [
            n
            for n in MODELS
            if {k: tuple(v.shape) for k, v in build(n).state_dict().items()} == shapes
        ]
        if not fitting:
            raise ModelError(
                f"{checkpoint} fits none of {', '.join(MODELS)}; it must be a student's state dict"
            )
        name = fitting[0]
    student = build(name)
    load_strict(student, state, str(checkpoint))
    return name, student.eval()
