import hashlib
import itertools
from pathlib import Path

import pytest
from gguf_writer import Tensor, gguf, small_pairs, string
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import gatherer

from aiosd.domain.errors import PackageError
from aiosd.domain.release import ChunkIndex
from aiosd.models.chunks import LEAST_SPAN, chunk_bytes, index_file, spans_of
from aiosd.policy.rollout.delta import plan

TENSORS = [
    Tensor(f"blk.{number}.weight", (5_000,), hashlib.shake_128(bytes([number])).digest(20_000))
    for number in range(8)
]


def index(folder: Path, data: bytes, coarser: int = 1) -> ChunkIndex:
    path = folder / "file"
    path.write_bytes(data)
    digest, found = index_file(path, coarser=coarser)
    assert digest == hashlib.sha256(data).hexdigest()
    at = 0
    for start, length, part in found.chunks():
        assert start == at
        assert part == hashlib.sha256(data[start : start + length]).digest()[:16]
        at += length
    assert at == len(data)
    return found


def test_a_setting_that_grows_fetches_the_settings_alone(tmp_path: Path) -> None:
    old = gguf(small_pairs(), TENSORS)
    new = gguf([*small_pairs(), string("tokenizer.chat_template", "x" * 200)], TENSORS)
    found = plan({"old": index(tmp_path, old)}, index(tmp_path, new))
    assert len(new) != len(old)
    assert found.fetch_bytes < 2_000


def test_a_changed_tensor_fetches_that_tensor_alone(tmp_path: Path) -> None:
    changed = [*TENSORS]
    changed[3] = Tensor("blk.3.weight", (5_000,), bytes(20_000))
    old, new = gguf(small_pairs(), TENSORS), gguf(small_pairs(), changed)
    found = plan({"old": index(tmp_path, old)}, index(tmp_path, new))
    assert [each.size for each in found.ranges] == [20_000]


def test_a_longer_name_in_a_tflite_file_fetches_no_buffer(tmp_path: Path) -> None:
    weights = [float(number % 97) * 1.25 + number for number in range(20_000)]
    old, new = gatherer(weights), gatherer(weights, "a description that moves all that follows")
    assert len(old) != len(new)
    found = plan({"old": index(tmp_path, old)}, index(tmp_path, new))
    assert found.fetch_bytes < 2_000
    assert found.copy_bytes >= 80_000


def test_a_coarser_index_is_smaller_and_of_the_same_file(tmp_path: Path) -> None:
    data = gguf(small_pairs(), TENSORS)
    fine, coarse = index(tmp_path, data), index(tmp_path, data, coarser=8)
    assert len(coarse.hashes) < len(fine.hashes)
    assert len(coarse.spans) < len(fine.spans)


def test_other_files_are_one_span(tmp_path: Path) -> None:
    assert index(tmp_path, b"x" * 10_000).spans == (10_000,)
    assert index(tmp_path, b"").spans == ()


def test_a_damaged_model_is_cut_as_any_other_file(tmp_path: Path) -> None:
    data = gguf(small_pairs(), TENSORS)[:-1]
    assert index(tmp_path, data).spans == (len(data),)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="No such file"):
        index_file(tmp_path / "none")


def test_chunks_grow_with_the_file() -> None:
    assert chunk_bytes(0) == 4096
    assert chunk_bytes(50_000_000) == 65_536
    assert chunk_bytes(2**31) == 2**21
    assert chunk_bytes(2**40) == 2**22


@given(st.lists(st.integers(-5, 40_000), max_size=30), st.integers(0, 30_000))
def test_spans_tile_the_file_whatever_the_marks_are(marks: list[int], size: int) -> None:
    spans = spans_of(marks, size)
    assert sum(spans) == size
    assert all(span > 0 for span in spans)
    # Neighbours that would fit together are together.
    for first, second in itertools.pairwise(spans):
        assert first + second > LEAST_SPAN


@given(st.lists(st.integers(1, 9_000), min_size=2, max_size=12))
def test_a_longer_first_part_moves_no_later_large_one(parts: list[int]) -> None:
    def lengths(first: int) -> list[int]:
        ends, at = [], 0
        for part in [first, *parts]:
            at += part
            ends.append(at)
        return spans_of(ends[:-1], at)

    large = [part for part in parts if part > LEAST_SPAN]
    for first in (1, 5_000):
        kept = iter(lengths(first))
        assert all(part in kept for part in large)
