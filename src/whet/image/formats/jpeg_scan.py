"""Whether the picture data of a JPEG is whole.

A JPEG carries no checksum, and its decoders repair what they can: zeroed bytes or a missing end
become gray or shifted blocks without an error. Two readers that repair nothing are asked: the
transcoder of JPEG XL, which must rebuild every bit, and for large pictures, where it
would take longer than the restoration, FFmpeg's decoder with its strictest error detection.
"""

from __future__ import annotations

import io

import numpy as np

__all__ = ["is_whole"]

_TRANSCODED_PX = 2**22
"""Up to 4 megapixels the transcoder takes less than a second."""

_FILLER = b"\xb5\x3a" * 32
_END = b"\xff\xd9"


def is_whole(bare: bytes, pixels: int, *, transcodable: bool) -> bool:
    """Whether 8-bit Huffman data decodes to its end without an error.

    Damage that happens to decode like sound data cannot be told from it.

    Args:
        bare: tables, frame and scans from SOI to EOI, without metadata.
        pixels: width times height.
        transcodable: whether it is gray or has three components, sampled by 1 or 2.
    """
    if pixels <= _TRANSCODED_PX and transcodable:
        return _transcodes(bare)
    return _strictly_decodes(bare) and not _reads_past_its_end(bare)


def _transcodes(bare: bytes) -> bool:
    import imagecodecs

    try:
        imagecodecs.jpegxl_encode_jpeg(bare)
    except imagecodecs.JpegxlError:
        return False
    return True


def _strictly_decodes(bare: bytes) -> bool:
    import av

    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        return bool(decoder.decode(av.Packet(bare)))
    except av.InvalidDataError:
        return False
    except av.FFmpegError:
        return True  # a kind of JPEG that this decoder does not know says nothing


def _reads_past_its_end(bare: bytes) -> bool:
    """Whether other bytes behind the last scan would make another picture."""
    body = bare.removesuffix(_END)
    shown, other = (_decoded(body + tail + _END) for tail in (b"", _FILLER))
    return not np.array_equal(shown, other)


def _decoded(data: bytes) -> np.typing.NDArray[np.uint8]:
    from PIL.JpegImagePlugin import JpegImageFile

    image = JpegImageFile(io.BytesIO(data))
    image.load()
    return np.asarray(image)
