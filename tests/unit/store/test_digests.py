import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.store.catalogue import open_package
from aiosd.store.digests import Digests
from aiosd.store.file_state import SETTLED_NS
from aiosd.store.packages import Installed

PackageMaker = Callable[..., Path]

LATER = 10**20  # a clock far past every file's ctime


@pytest.fixture
def installed(tmp_path: Path, make_package: PackageMaker) -> Installed:
    return open_package(make_package(tmp_path / "experts", "one", model=b"m" * 5000))


def later() -> int:
    return LATER


def test_a_whole_package_passes(installed: Installed) -> None:
    Digests(None).verify(installed)


def test_a_flipped_bit_is_found_though_size_and_mtime_are_kept(installed: Installed) -> None:
    path = installed.folder / "model.bin"
    before = path.stat()
    digests = Digests(None, now_ns=later)
    digests.verify(installed)
    data = bytearray(path.read_bytes())
    data[2500] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PackageError, match="but the manifest says") as caught:
        digests.verify(installed)
    assert caught.value.path == str(path)


def test_an_unchanged_file_is_not_read_again(installed: Installed, tmp_path: Path) -> None:
    book = tmp_path / "digests.json"
    path = installed.folder / "model.bin"
    Digests(book, now_ns=later).verify(installed)
    # A book that holds another digest under the same stamp shows that the file is not read.
    true = installed.manifest.files[0].sha256
    book.write_text(book.read_text().replace(true, "f" * 64))
    assert Digests(book, now_ns=later).digest(path) == "f" * 64


def test_a_file_changed_a_moment_ago_is_not_remembered(
    installed: Installed, tmp_path: Path
) -> None:
    book = tmp_path / "digests.json"
    changed = (installed.folder / "model.bin").stat().st_ctime_ns
    Digests(book, now_ns=lambda: changed + SETTLED_NS - 1).verify(installed)
    assert not book.exists()
    Digests(book, now_ns=lambda: changed + SETTLED_NS).verify(installed)
    assert book.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"version":2,"stamps":{}}', b"[]"])
def test_a_damaged_book_is_an_empty_one_and_is_written_anew(
    installed: Installed, tmp_path: Path, content: bytes
) -> None:
    book = tmp_path / "digests.json"
    book.write_bytes(content)
    Digests(book, now_ns=later).verify(installed)
    assert installed.manifest.files[0].sha256 in book.read_text()


def test_files_that_are_gone_leave_the_book(
    installed: Installed, tmp_path: Path, make_package: PackageMaker
) -> None:
    book = tmp_path / "digests.json"
    digests = Digests(book, now_ns=later)
    digests.verify(installed)
    (installed.folder / "model.bin").unlink()
    digests.verify(open_package(make_package(tmp_path / "experts", "two")))
    assert "/two/" in book.read_text()
    assert "/one/" not in book.read_text()


def test_a_state_folder_that_cannot_be_written_is_said_once(
    installed: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digests = Digests(tmp_path / "absent" / "digests.json", now_ns=later)
    path = installed.folder / "model.bin"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            path.touch()
            digests.verify(installed)
    assert len(caplog.records) == 1
    assert "will be hashed again" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_state_folder_keeps_the_old_book_and_leaves_no_scrap(
    installed: Installed, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], check=False)
    if made.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        book = small / "digests.json"
        Digests(book, now_ns=later).verify(installed)
        kept = book.read_bytes()
        (small / "filler").write_bytes(b"x" * 4096)
        with pytest.raises(OSError, match="No space"):
            (small / "more").write_bytes(b"x" * 16384)
        (installed.folder / "model.bin").touch()
        Digests(book, now_ns=later).verify(installed)
        assert book.read_bytes() == kept
        assert sorted(path.name for path in small.iterdir()) == ["digests.json", "filler", "more"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_missing_file_is_a_package_error(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="No such file"):
        Digests(None).digest(tmp_path / "absent")
