"""Files and folders appear whole or not at all, whoever writes them."""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path

import pytest

import whet
from whet.errors import ImageError, InputError, Kind
from whet.files import check_target, file_sha256, new_folder, reason, replacing

ROOT = Path(whet.__file__).parent
FAILURES = [KeyboardInterrupt, MemoryError, OSError(errno.ENOSPC, "full")]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("durable", [False, True])
def test_a_failure_leaves_the_old_file_alone(
    failure: BaseException, durable: bool, tmp_path: Path
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with (  # noqa: PT012
        pytest.raises((KeyboardInterrupt, MemoryError, InputError)),
        replacing(target, overwrite=True, durable=durable) as temporary,
    ):
        temporary.write_text("half")
        raise failure
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_a_file_appears_with_all_of_its_content(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt", durable=True) as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_exists_is_a_kind_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ImageError, match="exists already") as caught:
        check_target(tmp_path / "a", error=ImageError)
    assert caught.value.kind is Kind.EXISTS
    check_target(tmp_path / "a", overwrite=True)
    for target in (tmp_path, tmp_path / "none" / "a"):
        with pytest.raises(InputError, match=r"name a file|create it first") as other:
            check_target(target, overwrite=True)
        assert other.value.kind is Kind.OTHER


@pytest.mark.parametrize("failure", FAILURES)
def test_a_folder_appears_whole_or_not_at_all(failure: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with (  # noqa: PT012
        pytest.raises((KeyboardInterrupt, MemoryError, InputError)),
        new_folder(target) as folder,
    ):
        (folder / "index.html").write_text("half")
        raise failure
    assert list(tmp_path.iterdir()) == []
    target.mkdir()  # an empty one may be used
    with new_folder(target) as folder:
        (folder / "index.html").write_text("whole")
        assert list(target.iterdir()) == []
    assert (target / "index.html").read_text() == "whole"
    with pytest.raises(InputError, match="in use"), new_folder(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000  # more than two blocks
    (tmp_path / "a").write_bytes(data)
    shares: list[float] = []
    assert file_sha256(tmp_path / "a", shares.append) == hashlib.sha256(data).hexdigest()
    assert len(shares) == 3
    assert shares == sorted(shares)
    assert shares[-1] == 1
    (tmp_path / "none").touch()
    assert file_sha256(tmp_path / "none") == hashlib.sha256(b"").hexdigest()


def test_reasons_are_words() -> None:
    assert "the disk is full" in reason(OSError(errno.ENOSPC, "x"))
    assert "permission" in reason(OSError(errno.EROFS, "x"))
    assert reason(OSError(errno.EIO, "it broke")) == "it broke"


def test_there_is_one_way_to_write_a_file_and_one_file_hash() -> None:
    """No module but ``files`` renames what it wrote, or hashes a file."""
    own = re.compile(r"\b(?:temporary|partial|new_\w+|tmp)\.(?:replace|rename)\(|file_digest\(")
    allowed = {
        "files.py",
        "fetch/weights.py",  # two files that count only together
        "models/checkpoints.py",  # hashes the open file that it then reads
        "video/run.py",  # what is interrupted gets another name
    }
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if own.search(path.read_text(encoding="utf-8"))
    }
    assert found == allowed
