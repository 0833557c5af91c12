import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.release import ChunkIndex
from aiosd.policy.rollout.delta import Copy, Plan, Range, plan, whole

SIZE = 1024


def index_of(spans: Sequence[bytes]) -> ChunkIndex:
    hashes = [
        hashlib.sha256(span[at : at + SIZE]).digest()[:16]
        for span in spans
        for at in range(0, len(span), SIZE)
    ]
    return ChunkIndex(size=SIZE, spans=tuple(map(len, spans)), hashes=b"".join(hashes))


def made(found: Plan, old: dict[str, bytes], new: bytes) -> bytes:
    """Follow a plan as a downloader does; every byte must be written once."""
    pieces: list[tuple[int, bytes]] = []
    for copy in found.copies:
        assert copy.size > 0
        source = old[copy.source][copy.source_offset : copy.source_offset + copy.size]
        assert len(source) == copy.size
        pieces.append((copy.offset, source))
    pieces += [(each.offset, new[each.offset : each.offset + each.size]) for each in found.ranges]
    pieces.sort()
    at = 0
    for offset, data in pieces:
        assert offset == at
        at += len(data)
    return b"".join(data for _, data in pieces)


def noise(seed: int, length: int) -> bytes:
    return hashlib.shake_128(str(seed).encode()).digest(length)


span = st.builds(noise, st.integers(0, 6), st.integers(1, 3 * SIZE))
spans = st.lists(span, max_size=6)


@given(st.lists(spans, max_size=3), spans, st.integers(1, 4))
def test_a_plan_makes_the_new_file_whatever_the_old_ones_are(
    olds: list[list[bytes]], new: list[bytes], most: int
) -> None:
    old = {str(number): b"".join(each) for number, each in enumerate(olds)}
    indexes = {str(number): index_of(each) for number, each in enumerate(olds)}
    found = plan(indexes, index_of(new), most_ranges=most)
    data = b"".join(new)
    assert made(found, old, data) == data
    assert len(found.ranges) <= most
    assert found.fetch_bytes + found.copy_bytes == len(data)


@given(spans.filter(bool))
def test_nothing_is_fetched_of_a_file_that_is_here(new: list[bytes]) -> None:
    found = plan({"here": index_of(new)}, index_of(new))
    assert found.ranges == ()


def test_a_longer_head_moves_the_rest_and_fetches_the_head_alone() -> None:
    tensors = [noise(seed, 5000) for seed in range(10, 20)]
    old, new = [b"head", *tensors], [b"a longer head", *tensors]
    found = plan({"old": index_of(old)}, index_of(new))
    assert found.ranges == (Range(0, 13),)
    assert found.copies == (Copy("old", 4, 13, 50_000),)


def test_a_changed_tensor_is_fetched_and_its_neighbours_are_not() -> None:
    old = [noise(seed, 5000) for seed in range(4)]
    new = [*old[:2], noise(9, 5000), old[3]]
    found = plan({"old": index_of(old)}, index_of(new))
    assert found.ranges == (Range(10_000, 5000),)


def test_where_requests_are_dear_small_gaps_are_fetched_too() -> None:
    old = [noise(seed, SIZE * (1 + seed)) for seed in range(4)]
    new = [noise(50, SIZE), old[0], noise(51, SIZE), old[3], noise(52, SIZE)]
    indexes = {"old": index_of(old)}
    assert len(plan(indexes, index_of(new)).ranges) == 3
    found = plan(indexes, index_of(new), most_ranges=2)
    assert found.ranges == (Range(0, 3 * SIZE), Range(7 * SIZE, SIZE))
    assert plan(indexes, index_of(new), most_ranges=1).ranges == (Range(0, 8 * SIZE),)


def test_without_an_older_file_all_is_fetched() -> None:
    assert plan({}, index_of([noise(1, 3000)])) == whole(3000)
    assert whole(0) == Plan((), ())
