"""Nothing is overwritten unasked, and nothing is half written."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import names, noise, saved, smooth
from PIL import Image

from whet.errors import ImageError, InputError
from whet.files import replacing
from whet.image import Picture, read, write

# --- Streams -----------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as stdin is."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer):
        return self._inner.readinto(buffer)


def test_a_pipe_is_read_and_written_in_the_format_it_came_in():
    data = saved(Image.fromarray(smooth(8, 8)), "BMP")
    picture = read(io.BufferedReader(Pipe(data)))
    buffer = io.BytesIO()
    write(picture, buffer)
    assert buffer.getvalue()[:2] == b"BM"


# --- Writing -----------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    with pytest.raises(ImageError, match="exists already"):
        write(Picture(smooth(8, 8)), target)
    assert target.read_bytes() == b"precious"
    write(Picture(smooth(8, 8)), target, overwrite=True)
    assert read(target).pixels.shape == (8, 8, 3)
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, OSError(errno.EIO, "I/O")])
def test_an_interrupted_write_leaves_the_old_file_and_no_leftover(failure, tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    with pytest.raises((KeyboardInterrupt, MemoryError, InputError)):  # noqa: PT012, SIM117
        with replacing(target, overwrite=True) as temporary:
            temporary.write_bytes(b"half")
            raise failure
    assert target.read_bytes() == b"precious"
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_full_disk_is_one_clear_sentence_and_leaves_nothing(suffix, tmp_path, monkeypatch):
    real = Path.open

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, mode="r", *args, **kwargs):
        if "w" in mode:
            real(path, "wb").close()
            return Full(path, "w+")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(ImageError, match="disk is full"):
        write(Picture(noise(40, 40)), tmp_path / f"a{suffix}")
    assert names(tmp_path) == []


def test_a_real_size_limit_of_the_system_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(ImageError, match="cannot be written"):
            write(Picture(noise(64, 64)), tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_names_the_remedy(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ImageError, match="permission denied; check the rights or choose"):
            write(Picture(smooth(8, 8)), tmp_path / "a.png")
    finally:
        tmp_path.chmod(0o700)


def test_a_refused_permission_names_the_remedy(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ImageError, match="permission denied; check the rights or choose"):
        write(Picture(smooth(8, 8)), tmp_path / "a.png")
    assert names(tmp_path) == []


def test_unknown_suffixes_and_folders_are_refused(tmp_path):
    picture = Picture(smooth(8, 8))
    with pytest.raises(ImageError, match=r"no '.xyz' pictures; use one of \.jpg"):
        write(picture, tmp_path / "a.xyz")
    with pytest.raises(ImageError, match=r"no '.gif' pictures"):
        write(picture, tmp_path / "a.gif")
    with pytest.raises(ImageError, match="no such folder; create it first"):
        write(picture, tmp_path / "nowhere" / "a.png")
    with pytest.raises(ImageError, match="choose 1 to 100"):
        write(picture, tmp_path / "a.jpg", quality=0)


def test_a_picture_too_large_for_the_format_names_others(tmp_path):
    with pytest.raises(ImageError, match=r"17000 x 1 pixels cannot be written as WEBP.*\.png"):
        write(Picture(np.zeros((1, 17000, 3), np.uint8)), tmp_path / "a.webp")
    assert names(tmp_path) == []
