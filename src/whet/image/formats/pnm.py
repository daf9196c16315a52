"""Netpbm, 8 and 16 bit: Pillow would reduce the deep kinds."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from whet.image.formats import pillow
from whet.image.metadata import Metadata, Picture, check_size, from_array, to_array

__all__ = ["decode", "encode"]

_DEEP = re.compile(rb"(P[56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d+)" + rb"\s")


def decode(stream: BinaryIO, max_pixels: int) -> Picture:
    """Read netpbm; the binary 16-bit kinds here, as Pillow reduces them to 8 bits."""
    stream.seek(0)
    header = _DEEP.match(stream.read(4096))
    if header is None or int(header[4]) < 256:
        return pillow.reader("PPM")(stream, max_pixels)
    width, height, peak = (int(header[group]) for group in (2, 3, 4))
    check_size(width, height, max_pixels)
    channels = 3 if header[1] == b"P6" else 1
    stream.seek(header.end())
    data = stream.read(2 * width * height * channels)
    array = np.frombuffer(data, ">u2").reshape(height, width, channels)
    if peak != 65535:
        array = np.rint(array.astype(np.float64) * (65535 / peak))
    return from_array(array.astype(np.uint16), Metadata("PPM"))


def encode(picture: Picture, stream: BinaryIO, quality: int | None) -> None:
    del quality
    array = to_array(picture)
    height, width = array.shape[:2]
    kind = "P5" if array.ndim == 2 else "P6"
    stream.write(f"{kind}\n{width} {height}\n{np.iinfo(array.dtype).max}\n".encode())
    stream.write(array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes())
