"""What a file system can have files share, tried on those that can; and on those that cannot."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import Range, plan
from aiosd.store import assembly, reflink
from aiosd.store.assembly import Copied, copy_chunks
from aiosd.store.blobs import Blobs
from tools.torture.disk import Disk, NoDiskError

BLOCK = 4096
CHUNK = 65_536
OLD = hashlib.shake_128(b"old").digest(10 * CHUNK + 777)
SHA = hashlib.sha256(OLD).hexdigest()


def index(data: bytes, spans: tuple[int, ...] = ()) -> ChunkIndex:
    spans = spans or (len(data),)
    hashes, at = [], 0
    for span in spans:
        for start in range(at, at + span, CHUNK):
            part = data[start : min(start + CHUNK, at + span)]
            hashes.append(hashlib.sha256(part).digest()[:16])
        at += span
    return ChunkIndex(size=CHUNK, spans=spans, hashes=b"".join(hashes))


@pytest.fixture(scope="module", params=["btrfs", "xfs"])
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system on which files share blocks."""
    try:
        with Disk(request.param) as made:
            yield made.root
    except NoDiskError as error:
        pytest.skip(str(error))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return holding(tmp_path)


def holding(folder: Path) -> Blobs:
    """Return a store that holds the old blob."""
    made = Blobs(folder / "blobs")
    if not made.has(SHA, len(OLD)):
        (folder / "old").write_bytes(OLD)
        made.put(folder / "old", SHA, len(OLD))
    return made


def update(blobs: Blobs, new: bytes, spans: tuple[int, ...] = ()) -> Copied:
    """Put a new blob together as an updater does, and take it away again."""
    old = index(OLD, (len(OLD) - sum(spans[1:]), *spans[1:])) if spans else index(OLD)
    wanted = index(new, spans)
    found = plan({SHA: old}, wanted)
    digest = hashlib.sha256(new).hexdigest()
    part = blobs.part(digest)
    handle = os.open(part, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(handle, len(new))
        copied = copy_chunks(blobs, found.copies, wanted, handle)
        for each in (*found.ranges, *copied.missing):
            os.pwrite(handle, new[each.offset : each.offset + each.size], each.offset)
        assert part.read_bytes() == new
    finally:
        os.close(handle)
    blobs.adopt(digest, len(new))
    assert blobs.fault(digest, len(new)) == ""
    assert blobs.fault(SHA, len(OLD)) == ""
    blobs.delete(digest)
    assert copied.written + copied.shared + sum(each.size for each in copied.missing) == sum(
        each.size for each in found.copies
    )
    return copied


def test_blocks_that_lie_alike_are_shared_and_only_edges_written(disk: Path) -> None:
    changed = bytearray(OLD)
    changed[3 * CHUNK] ^= 1
    copied = update(holding(disk), bytes(changed))
    assert copied.written == len(OLD) % BLOCK  # the end of the file, within its last block
    assert copied.shared == len(OLD) - CHUNK - len(OLD) % BLOCK


def test_a_shift_by_whole_blocks_is_shared_too(disk: Path) -> None:
    head = 2 * CHUNK
    new = bytes(BLOCK) + OLD
    copied = update(holding(disk), new, (BLOCK + head, len(OLD) - head))
    assert copied.shared >= len(OLD) - head - BLOCK
    assert copied.written < BLOCK


def test_a_shift_within_a_block_is_copied(disk: Path) -> None:
    head = 2 * CHUNK
    new = bytes(224) + OLD
    copied = update(holding(disk), new, (224 + head, len(OLD) - head))
    assert copied.shared == 0
    assert copied.written == len(OLD) - head


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    insert=st.sampled_from([0, 1, 224, BLOCK, 3 * BLOCK, 5000]),
    head=st.integers(1, 4 * CHUNK),
    flips=st.lists(st.integers(0, len(OLD) - 1), max_size=4),
)
def test_any_edit_gives_the_right_bytes_and_spoils_no_other_blob(
    disk: Path, insert: int, head: int, flips: list[int]
) -> None:
    changed = bytearray(OLD)
    for at in flips:
        changed[at] ^= 0xFF
    new = bytes(insert) + bytes(changed)
    update(holding(disk), new, (insert + head, len(OLD) - head))


def test_a_file_system_that_cannot_is_asked_once_and_everything_is_copied(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def cannot(_handle: int, _request: int, _range: bytes) -> int:
        asked.append(1)
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(reflink.fcntl, "ioctl", cannot)
    changed = bytearray(OLD)
    changed[3 * CHUNK] ^= 1
    changed[6 * CHUNK] ^= 1
    copied = update(blobs, bytes(changed))
    assert len(asked) == 1
    assert copied.shared == 0
    assert copied.written == len(OLD) - 2 * CHUNK


def test_blocks_of_another_size_are_kept_to(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[tuple[int, int]] = []

    def share(source: int, source_offset: int, handle: int, offset: int, size: int) -> bool:
        shared.append((offset, size))
        os.pwrite(handle, os.pread(source, size, source_offset), offset)
        return True

    monkeypatch.setattr(assembly, "block_bytes", lambda _handle: 16_384)
    monkeypatch.setattr(assembly, "share", share)
    changed = bytearray(OLD)
    changed[3 * CHUNK] ^= 1
    update(blobs, bytes(changed))
    assert shared == [(0, 3 * CHUNK), (4 * CHUNK, 6 * CHUNK)]


def test_a_disk_that_is_full_is_no_file_system_that_cannot(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _request: int, _range: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(reflink.fcntl, "ioctl", full)
    with pytest.raises(OSError, match="full"):
        update(blobs, OLD[:-1] + b"x")


def test_a_damaged_chunk_is_not_shared(disk: Path) -> None:
    blobs = Blobs(disk / "damaged")
    (disk / "old").write_bytes(OLD)
    blobs.put(disk / "old", SHA, len(OLD))
    blobs.path(SHA).chmod(0o644)
    with blobs.path(SHA).open("r+b") as file:
        file.seek(2 * CHUNK)
        file.write(b"damage")
    handle = os.open(blobs.root / "new", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(handle, len(OLD))
        found = plan({SHA: index(OLD)}, index(OLD))
        copied = copy_chunks(blobs, found.copies, index(OLD), handle)
        assert copied.missing == [Range(2 * CHUNK, CHUNK)]
        assert os.pread(handle, CHUNK, 2 * CHUNK) == bytes(CHUNK)
    finally:
        os.close(handle)


def test_the_request_is_the_one_of_the_kernel() -> None:
    # linux/fs.h: _IOW(0x94, 13, struct file_clone_range) of four 64-bit numbers.
    assert reflink._FICLONERANGE == (1 << 30) | (32 << 16) | (0x94 << 8) | 13
    assert fcntl is reflink.fcntl
