import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from aiosd.domain.errors import PackageError
from aiosd.store import blobs as blobs_module
from aiosd.store.blobs import Blobs

DATA = b"the bytes of a model"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "var" / "blobs")


def test_a_part_becomes_a_blob_that_nobody_may_write(blobs: Blobs) -> None:
    part = blobs.part(SHA)
    part.write_bytes(DATA)
    assert not blobs.has(SHA, len(DATA))
    place = blobs.adopt(SHA, len(DATA))
    assert place == blobs.root / "sha256" / SHA[:2] / SHA
    assert place.read_bytes() == DATA
    assert stat.S_IMODE(place.stat().st_mode) == 0o444
    assert blobs.has(SHA, len(DATA))
    assert not part.exists()


def test_a_part_of_another_size_is_not_adopted(blobs: Blobs) -> None:
    blobs.part(SHA).write_bytes(DATA[:-1])
    with pytest.raises(PackageError, match="19 bytes were fetched and not 20"):
        blobs.adopt(SHA, len(DATA))
    assert blobs.part(SHA).exists()  # the rest can still be fetched


def test_nothing_fetched_is_said(blobs: Blobs) -> None:
    with pytest.raises(PackageError, match="nothing was fetched"):
        blobs.adopt(SHA, len(DATA))


def test_a_part_that_is_a_link_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    blobs.part(SHA).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        blobs.adopt(SHA, len(DATA))


def test_a_blob_that_is_here_is_adopted_again_without_a_write(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    inode = blobs.put(source, SHA, len(DATA)).stat().st_ino
    blobs.part(SHA).write_bytes(DATA)
    assert blobs.adopt(SHA, len(DATA)).stat().st_ino == inode
    assert not blobs.part(SHA).exists()
    assert blobs.put(tmp_path / "gone", SHA, len(DATA)).stat().st_ino == inode


@pytest.mark.parametrize("given", [DATA + b"!", DATA[:-1], b"THE bytes of a model", b""])
def test_what_is_not_what_was_declared_is_not_put(
    blobs: Blobs, tmp_path: Path, given: bytes
) -> None:
    source = tmp_path / "source"
    source.write_bytes(given)
    with pytest.raises(PackageError, match="bytes"):
        blobs.put(source, SHA, len(DATA))
    assert [*blobs.held()] == [*blobs.parts()] == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA.upper(), SHA[:-1], SHA + "0"])
def test_only_a_digest_names_a_blob(blobs: Blobs, name: str) -> None:
    with pytest.raises(PackageError, match="no sha256"):
        blobs.path(name)


def test_damage_is_found_by_reading(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    place = blobs.put(source, SHA, len(DATA))
    assert blobs.fault(SHA, len(DATA)) == ""
    place.chmod(0o644)
    place.write_bytes(b"The bytes of a model")
    assert "damaged" in blobs.fault(SHA)
    place.write_bytes(b"")
    assert "0 bytes and not 20" in blobs.fault(SHA, len(DATA))
    place.unlink()
    assert "No such file" in blobs.fault(SHA)


def test_a_failed_fsync_costs_the_part(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        if name == "blob.sync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(blobs_module, "reach", broken)
    source = tmp_path / "source"
    source.write_bytes(DATA)
    with pytest.raises(OSError, match="Input/output"):
        blobs.put(source, SHA, len(DATA))
    assert [*blobs.held()] == [*blobs.parts()] == []


def test_a_full_disk_leaves_no_part(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str) -> None:
        if name == "blob.write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blobs_module, "reach", full)
    source = tmp_path / "source"
    source.write_bytes(DATA)
    with pytest.raises(OSError, match="No space"):
        blobs.put(source, SHA, len(DATA))
    assert [*blobs.held()] == [*blobs.parts()] == []


def test_an_empty_file_is_a_blob_too(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    assert blobs.put(tmp_path / "empty", digest, 0).stat().st_size == 0
    assert [name for name, _ in blobs.held()] == [digest]
