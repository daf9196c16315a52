"""Sharpen images, video and live calls with networks small enough to run anywhere.

What is named in ``__all__`` is promised; everything below it may change.

>>> import whet
>>> sharp = whet.sharpen("photo.jpg")            # doctest: +SKIP
>>> session = whet.load("small")                 # doctest: +SKIP
>>> restored = session.restore(frame)            # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from whet import errors
from whet.version import __version__

if TYPE_CHECKING:
    from whet.runtime import Session
    from whet.stills.in_memory import Restoration
    from whet.video.run import RestoredVideo

__all__ = [
    "Session",
    "__version__",
    "errors",
    "load",
    "restore",
    "sharpen",
    "sharpen_video",
]

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


def sharpen_video(
    source: str | Path,
    target: str | Path | None = None,
    model: str | Path | Session = "nano",
    *,
    strength: float = 1.0,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    deinterlace: bool = False,
    audio: str | None = None,
    subtitles: bool = True,
    framemd5: bool = False,
) -> RestoredVideo:
    """Sharpen a video file; sound, subtitles, chapters and times stay as they are.

    Args:
        source: a file that FFmpeg can read.
        target: where to write; None means ``NAME-whet`` beside the source.
        model: as for :func:`load`, or an open session.
        strength: 0 leaves the frames as they are, 1 is full, up to 2.
        codec: "h264", "hevc", "av1", "vp9", "ffv1", an encoder's name, or "same" as the
            source's; None takes what suits the source and the container.
        crf: constant rate factor, lower is better and larger; None takes the codec's default.
        preset: the encoder's speed setting; None takes the codec's default.
        resume: keep what is finished until all is, and go on behind it.
        overwrite: whether an existing file may be replaced.
        progress: called after every frame with the number done and the number expected,
            None where the file does not say.
        start_s, duration_s: the part to restore, in seconds from the beginning.
        deinterlace: make a picture of each field of interlaced video, at twice its rate.
        audio: codec to convert sound to, such as "aac"; None copies it.
        subtitles: keep them.
        framemd5: write a checksum of every frame of the result beside it.

    Returns:
        ``target``, ``frames``, ``seconds``, ``interrupted``, ``notes``, and what of the source
        is the ``same``, ``changed`` or ``lost``.

    Raises:
        MediaError: the source cannot be read, or the target cannot be written.
        ModelError: the model cannot be used.
    """
    from whet.studio import forget_kept
    from whet.video.run import restore_video

    session = load(model) if isinstance(model, (str, Path)) else model
    made = restore_video(
        session,
        source,
        target,
        strength=strength,
        codec=codec,
        crf=crf,
        preset=preset,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        start_s=start_s,
        duration_s=duration_s,
        deinterlace=deinterlace,
        audio=audio,
        subtitles=subtitles,
        framemd5=framemd5,
    )
    if session is not model and not made.interrupted:
        forget_kept(session)
    return made


def __getattr__(name: str) -> object:
    # The protocol's module loads the reader of model files, for which nobody waits who does not
    # ask for it.
    if name == "Session":
        from whet.runtime import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
