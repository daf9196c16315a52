"""Sharpen images, video and live calls with networks small enough to run anywhere.

>>> import whet
>>> sharp = whet.sharpen("photo.jpg")            # doctest: +SKIP
>>> session = whet.load("small")                 # doctest: +SKIP
>>> restored = session.restore(frame)            # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from whet.version import __version__

if TYPE_CHECKING:
    from whet.runtime import Session
    from whet.stills.in_memory import Restoration

__all__ = ["__version__", "load", "restore", "sharpen"]

Image = TypeVar("Image")


def load(
    model: str | Path = "small", *, runtime: str = "auto", threads: int | None = None
) -> Session:
    """Open a model once and use it often, also from several threads.

    Args:
        model: name of a shipped model, or path of a model file; a heavy network (``maxim``, which
            takes minutes a picture), a checkpoint, or ``file.py:function``.
        runtime: "auto", "openvino", "onnxruntime" or "torch".
        threads: of computation; None takes all cores.

    Raises:
        InputError, ModelError, MissingExtraError: see :func:`whet.studio.open_model`.
    """
    from whet.studio import open_model

    return open_model(model, runtime=runtime, threads=threads)


def sharpen(image: Image, model: str | Path | Session = "small", *, strength: float = 1.0) -> Image:
    """Sharpen one picture and return it as the type that was given.

    Args:
        image: a path (the result is written beside it, its path returned), the bytes of a
            picture file, a PIL image, a numpy array (uint8 or uint16, HWC RGB, or HW grey),
            or a torch tensor (uint8 or float in [0, 1], CHW or NCHW RGB).
        model: as for :func:`load`, or an open session.
        strength: 0 returns the picture as it is, 1 is full, up to 2.

    Raises:
        InputError: the picture cannot be read or is of no such type.
        ModelError: the model cannot be used.
    """
    return restore(image, model, strength=strength).image


def restore(
    image: Image, model: str | Path | Session = "small", *, strength: float = 1.0
) -> Restoration[Image]:
    """Sharpen one picture as :func:`sharpen` does, and say what could not be kept.

    Args:
        image, model, strength: see :func:`sharpen`.

    Returns:
        ``image`` of the type that was given, and ``notes``: a sentence for each thing that was
        converted or left out, such as metadata that the format cannot hold.

    Raises:
        InputError, ModelError: see :func:`sharpen`.
    """
    from whet.stills.in_memory import restore_anything
    from whet.studio import forget_kept

    if not isinstance(model, (str, Path)):
        return restore_anything(model, image, strength)
    session = load(model)
    restored = restore_anything(session, image, strength)
    forget_kept(session)
    return restored
