import hashlib
import os
from pathlib import Path

import pytest

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import Copy, Range
from aiosd.store.assembly import copy_chunks
from aiosd.store.blobs import Blobs

SIZE = 1024
OLD = hashlib.shake_128(b"old").digest(5 * SIZE)
SHA = hashlib.sha256(OLD).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path / "blobs")
    (tmp_path / "old").write_bytes(OLD)
    made.put(tmp_path / "old", SHA, len(OLD))
    return made


def index(data: bytes) -> ChunkIndex:
    hashes = [
        hashlib.sha256(data[at : at + SIZE]).digest()[:16] for at in range(0, len(data), SIZE)
    ]
    return ChunkIndex(size=SIZE, spans=(len(data),), hashes=b"".join(hashes))


def copied(blobs: Blobs, copies: list[Copy], new: bytes) -> tuple[list[Range], bytes]:
    path = blobs.root / "new.part"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(handle, len(new))
        return copy_chunks(blobs, copies, index(new), handle).missing, path.read_bytes()
    finally:
        os.close(handle)


def test_chunks_are_copied_to_their_new_places(blobs: Blobs) -> None:
    new = bytes(SIZE) + OLD[SIZE : 3 * SIZE] + bytes(100)
    missing, found = copied(blobs, [Copy(SHA, SIZE, SIZE, 2 * SIZE)], new)
    assert missing == []
    assert found == new


def test_a_damaged_chunk_is_left_to_the_downloader(blobs: Blobs) -> None:
    place = blobs.path(SHA)
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(2 * SIZE)
        file.write(b"damage")
    missing, found = copied(blobs, [Copy(SHA, 0, 0, 5 * SIZE)], OLD)
    assert missing == [Range(2 * SIZE, SIZE)]
    assert found[: 2 * SIZE] == OLD[: 2 * SIZE]
    assert found[2 * SIZE : 3 * SIZE] == bytes(SIZE)
    assert found[3 * SIZE :] == OLD[3 * SIZE :]


@pytest.mark.parametrize("cut", [0, 2 * SIZE + 5])
def test_a_blob_that_is_gone_or_cut_short_is_left_to_the_downloader(blobs: Blobs, cut: int) -> None:
    os.truncate(blobs.path(SHA), cut)
    missing, _ = copied(blobs, [Copy(SHA, 0, 0, 5 * SIZE)], OLD)
    first = cut // SIZE * SIZE
    assert missing == [Range(first, 5 * SIZE - first)]
    blobs.delete(SHA)
    missing, _ = copied(blobs, [Copy(SHA, 0, 0, 5 * SIZE)], OLD)
    assert missing == [Range(0, 5 * SIZE)]
