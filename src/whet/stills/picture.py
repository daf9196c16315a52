"""One picture through a session, in memory or in bands of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whet import image
from whet.errors import ImageError, Kind
from whet.files import replacing
from whet.image import Picture, Pixels
from whet.image.formats.tiff import TiffBands
from whet.image.formats.tiff_write import regrouped, write_bands
from whet.image.sound import sound
from whet.image.xmp import marked
from whet.runtime.tiling import restore_bands
from whet.version import __version__

if TYPE_CHECKING:
    from whet.runtime import Session

__all__ = ["fill_hidden", "is_large_tiff", "restore_large_tiff", "restore_picture", "said_by"]

LARGE_PX = 2**24
"""TIFFs above 16.8 megapixels pass in bands, in memory that does not grow with their height."""

_SEEN_LEVELS = 2
_HARDLY_CHANGED = 0.03
"""Share of pixels. Of 16 photographs the sharp ones changed by 1.3 to 2.9% (median of each shipped
model), the same blurred by a Gaussian of 0.6 px by 7.9 to 9.4%."""

_BAND_TILE_PX = 1024
_FILL_ROWS = 256  # a multiple of the largest block
_FILL_LEVELS = 6  # blocks of up to 64 pixels, beyond the reach of a real-time network


def fill_hidden(pixels: Pixels, hidden: NDArray[np.bool_]) -> Pixels:
    """Replace colours under transparent pixels by those of the visible ones around.

    Such colours are arbitrary, often black; a network would mix them into the
    visible border. A hidden pixel takes the mean of the visible ones in the
    smallest block of 2, 4, ... 64 pixels that holds any (the pull-push scheme of
    Gortler et al., The Lumigraph, 1996), and mid-gray where there is none. Blocks
    are counted from the upper left corner, so that bands fill like the whole.

    Args:
        pixels: (H, W, 3) uint8 or uint16.
        hidden: (H, W, 1), true where alpha is 0.
    """
    filled = pixels.copy()
    for row in range(0, len(pixels), _FILL_ROWS):
        part = slice(row, row + _FILL_ROWS)
        if hidden[part].any():
            colours = np.rint(_pull_push(pixels[part], hidden[part])).astype(pixels.dtype)
            np.copyto(filled[part], colours, where=hidden[part])
    return filled


def _pull_push(pixels: Pixels, hidden: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return what :func:`fill_hidden` shows under hidden pixels, for one band."""
    visible = (~hidden).astype(np.float32)
    levels = [(pixels * visible, visible)]
    for _ in range(_FILL_LEVELS):
        total, count = levels[-1]
        levels.append((_halved(total), _halved(count)))
    filled = np.full((*levels[-1][1].shape[:2], 3), np.iinfo(pixels.dtype).max / 2, np.float32)
    for total, count in reversed(levels):
        rows, columns = count.shape[:2]
        if filled.shape[:2] != (rows, columns):
            filled = filled.repeat(2, axis=0)[:rows].repeat(2, axis=1)[:, :columns]
        filled = np.where(count > 0, total / np.maximum(count, 1), filled)
    return filled


def _halved(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum blocks of 2x2; an odd border is continued with zeros."""
    rows, columns = array.shape[:2]
    array = np.pad(array, ((0, rows % 2), (0, columns % 2), (0, 0)))
    return array[::2, ::2] + array[1::2, ::2] + array[::2, 1::2] + array[1::2, 1::2]


def restore_picture(
    session: Session, picture: Picture, strength: float = 1.0, *, mark: bool = True
) -> Picture:
    """Return the restored picture; alpha, colours under alpha 0 and metadata are untouched.

    Args:
        session: an open session.
        picture: uint8 or uint16; the result has the same dtype.
        strength: scales what restoration changes; 0 returns the picture itself.
        mark: say in the XMP history what was done, by which model.
    """
    if strength == 0:
        return picture
    hidden = None if picture.alpha is None else picture.alpha == 0
    if hidden is None or not hidden.any():
        restored = session.restore(picture.pixels, strength)
    elif hidden.all():
        return picture
    else:
        restored = session.restore(fill_hidden(picture.pixels, hidden), strength)
        restored = np.where(hidden, picture.pixels, restored)
    after = _noted(picture.with_pixels(np.ascontiguousarray(restored)), session)
    notes = after.metadata.notes + _how_little(picture.pixels, after.pixels)
    history = _history(session, strength) if mark else None
    return replace(after, metadata=replace(after.metadata, notes=notes, history=history))


def _history(session: Session, strength: float) -> tuple[str, str]:
    """Return who changes a picture and how, for its XMP history."""
    return f"whet {__version__}", f"model {session.card.name}, strength {strength:g}"


def _how_little(before: Pixels, after: Pixels) -> tuple[str, ...]:
    """Say that a picture hardly changed, judged by every ninth of its pixels."""
    level = np.iinfo(before.dtype).max // 255
    sampled = before[::3, ::3].astype(np.int32) - after[::3, ::3]
    share = float((np.abs(sampled).max(axis=2) > _SEEN_LEVELS * level).mean())
    if share >= _HARDLY_CHANGED:
        return ()
    return (
        f"hardly changed: {100 * share:.1f}% of its pixels, by more than {_SEEN_LEVELS} of 255 "
        "levels; it is sharp already, or suffers from what this model does not mend",
    )


def said_by(session: Session) -> tuple[str, ...]:
    """Return what a session has to say about the last picture; most have nothing."""
    take = getattr(session, "take_notes", None)
    return take() if take else ()


def _noted(picture: Picture, session: Session) -> Picture:
    """Add what the session has to say about a picture to its notes."""
    notes = (*picture.metadata.notes, *said_by(session))
    return replace(picture, metadata=replace(picture.metadata, notes=notes))


def is_large_tiff(source: Path, max_pixels: int) -> bool:
    """Whether a file is a plain TIFF so large that it should pass in bands."""
    try:
        with source.open("rb") as stream:
            if image.sniff(stream.read(32)) != "TIFF":
                return False
            bands = TiffBands(stream, max_pixels)
            return bands.plain and bands.height * bands.width > LARGE_PX
    except Exception:
        return False  # reading it whole fails the same way, and says how


def restore_large_tiff(
    session: Session,
    source: Path,
    target: Path,
    *,
    strength: float,
    overwrite: bool,
    max_pixels: int,
    mark: bool = True,
    strip: bool = False,
) -> tuple[str, ...]:
    """Restore a TIFF in bands; its orientation tag is kept instead of applied.

    Returns:
        What could not be kept, in sentences.

    Raises:
        ImageError: the file is damaged, or ``target`` cannot be written.
    """
    with source.open("rb") as stream:
        bands = TiffBands(stream, max_pixels)
        metadata = sound(bands.metadata)
        if strip:
            metadata = image.stripped(metadata)
        elif mark:
            packet = marked(metadata.xmp, *_history(session, strength))
            metadata = replace(metadata, xmp=packet)

        def run(window: Pixels) -> Pixels:
            if bands.channels == 3:
                return np.asarray(session.restore(window, strength))
            colour, alpha, filled = window[..., :3], window[..., 3:4], window[..., 4:]
            restored = session.restore(np.ascontiguousarray(filled), strength)
            return np.concatenate([np.where(alpha == 0, colour, restored), alpha], axis=2)

        named = _named(bands, source)
        restored = restore_bands(
            run,
            named if bands.channels == 3 else _with_filled(named),
            height=bands.height,
            width=bands.width,
            multiple=session.card.multiple,
            halo=session.card.halo,
            tile=_BAND_TILE_PX,
        )
        shape = (bands.height, bands.width, bands.channels)
        with (
            replacing(target, overwrite=overwrite, error=ImageError) as temporary,
            temporary.open("w+b") as out,
        ):
            write_bands(out, restored, shape, bands.dtype, metadata)
    return metadata.notes


def _with_filled(bands: Iterable[Pixels]) -> Iterator[Pixels]:
    """Append to RGBA bands the three channels that the session is to see."""
    for band in regrouped(bands, 2**_FILL_LEVELS):
        hidden = band[..., 3:] == 0
        filled = fill_hidden(band[..., :3], hidden) if hidden.any() else band[..., :3]
        yield np.concatenate([band, filled], axis=2)


def _named(bands: Iterable[Pixels], source: Path) -> Iterator[Pixels]:
    """Pass bands on; whatever a damaged file raises names the file it came from."""
    try:
        yield from bands
    except ImageError as error:
        raise ImageError(f"{source}: {error}", error.kind) from error
    except Exception as error:
        raise ImageError(
            f"{source}: the TIFF data is damaged or incomplete ({error})", Kind.DAMAGED
        ) from error
