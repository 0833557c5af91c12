"""A blob put together from what is here: nothing is fetched twice, nothing wrong is kept."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.downloads import DATA, DIGEST, WANTED, Rig
from fakes.mirror import serving

from aiosd.domain.release import ChunkIndex
from aiosd.domain.update import Fault, UpdateError
from aiosd.policy.rollout.delta import plan
from aiosd.store.blobs import Blobs
from aiosd.update.patchwork import filling, worth_it

CHUNK = 4096


def index_of(data: bytes) -> ChunkIndex:
    hashes = [
        hashlib.sha256(data[at : at + CHUNK]).digest()[:16] for at in range(0, len(data), CHUNK)
    ]
    return ChunkIndex(size=CHUNK, spans=(len(data),), hashes=b"".join(hashes))


NEW = index_of(DATA)
# The release before: one chunk was another.
OLD_DATA = DATA[:40_960] + bytes(CHUNK) + DATA[40_960 + CHUNK :]
OLD = hashlib.sha256(OLD_DATA).hexdigest()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with serving({WANTED.address: DATA}) as mirror:
        board = Rig(mirror, Blobs(tmp_path / "blobs"))
        source = tmp_path / "old"
        source.write_bytes(OLD_DATA)
        board.blobs.put(source, OLD, len(OLD_DATA))
        yield board


def fill(rig: Rig) -> None:
    rig.fill(filling(rig.blobs, plan({OLD: index_of(OLD_DATA)}, NEW), NEW))


def test_only_the_changed_chunk_is_fetched(rig: Rig) -> None:
    fill(rig)
    assert rig.is_here()
    assert sum(rig.came) == CHUNK


def test_what_a_stopped_run_brought_is_not_fetched_again(rig: Rig) -> None:
    whole = plan({}, NEW)
    rig.stop_after = 150_000
    with pytest.raises(UpdateError) as caught:
        rig.fill(filling(rig.blobs, whole, NEW))
    assert caught.value.fault is Fault.CANCELLED
    before = sum(rig.came[:-1])
    rig.came.clear()
    rig.stop_after = -1
    rig.fill(filling(rig.blobs, whole, NEW))
    assert rig.is_here()
    assert sum(rig.came) <= len(DATA) - before + CHUNK


def test_a_stopped_fill_may_be_ended_by_a_plain_fetch(rig: Rig) -> None:
    rig.stop_after = 1
    with pytest.raises(UpdateError):
        fill(rig)
    rig.came.clear()
    rig.stop_after = -1
    rig.fetch()
    assert rig.is_here()


def test_a_damaged_source_is_found_out_and_its_chunk_fetched(rig: Rig) -> None:
    old = rig.blobs.path(OLD)
    old.chmod(0o644)
    old.write_bytes(OLD_DATA[:100] + b"\xff" + OLD_DATA[101:])
    fill(rig)
    assert rig.is_here()
    assert sum(rig.came) == 2 * CHUNK


def test_an_index_that_lies_is_found_out_by_the_whole_files_digest(rig: Rig) -> None:
    lying = index_of(OLD_DATA)
    with pytest.raises(UpdateError) as caught:
        rig.fill(filling(rig.blobs, plan({OLD: lying}, lying), lying))
    assert caught.value.fault is Fault.MISMATCH
    assert not rig.blobs.has(DIGEST, len(DATA))


def test_a_plan_that_saves_little_is_not_worth_its_requests() -> None:
    assert worth_it(plan({OLD: index_of(OLD_DATA)}, NEW), NEW)
    assert not worth_it(plan({}, NEW), NEW)
