"""A teacher's answers on disk are compact, exact enough, and whole after any kill."""

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tools.distill.fault import DistillError, FullDiskError
from tools.distill.logit_cache import LogitCache
from tools.distill.table import key_of
from tools.distill.top_k import compress, softmax

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(2, 9)),
    elements=st.floats(-20, 20, width=32),
)


@given(LOGITS)
def test_all_logits_kept_give_the_probabilities_back(logits: np.ndarray) -> None:
    kept = compress(logits, logits.shape[1])
    given_back = softmax(kept.logits(logits.shape[1]))
    assert np.abs(given_back - softmax(logits)).max() < 0.01


@given(LOGITS, st.integers(1, 3))
def test_the_rest_keeps_its_mass(logits: np.ndarray, k: int) -> None:
    kept = compress(logits, k)
    found, true = softmax(kept.logits(logits.shape[1])), softmax(logits)
    top = np.take_along_axis(true, kept.places.astype(np.int64), axis=1)
    kept_mass = np.take_along_axis(found, kept.places.astype(np.int64), axis=1)
    assert np.abs(kept_mass - top).max() < 0.01
    assert np.allclose(found.sum(axis=1), 1, atol=1e-3)


def test_a_logit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        compress(np.array([[1.0, np.nan]], np.float32), 1)


def test_an_answer_of_eight_of_150_labels_takes_58_bytes(tmp_path: Path) -> None:
    with LogitCache(tmp_path / "a", "teacher", 8) as cache:
        head = (tmp_path / "a").stat().st_size
        cache.put(key_of("hello"), compress(np.arange(150, dtype=np.float32)[None], 8))
        cache.sync()
        assert (tmp_path / "a").stat().st_size - head == 58


def filled(path: Path) -> list[bytes]:
    keys = [key_of(word) for word in ("one", "two", "three")]
    with LogitCache(path, "teacher", 2) as cache:
        for place, key in enumerate(keys[:2]):
            cache.put(key, compress(np.array([[place, 1.0, 2.0]], np.float32), 2))
        cache.skip(keys[2])
    return keys


def test_a_cache_opened_again_knows_its_answers_and_what_was_skipped(tmp_path: Path) -> None:
    keys = filled(tmp_path / "a")
    with LogitCache(tmp_path / "a", "teacher", 2) as cache:
        assert len(cache) == 3
        assert cache.skipped(keys) == 1
        answer = cache.get(keys[0])
        assert answer is not None
        assert answer.places.tolist() == [[2, 1]]


@given(cut=st.integers(1, 100))
def test_a_file_cut_anywhere_keeps_every_whole_answer(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a"
    keys = filled(path)
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    path.write_bytes(whole[: max(head, len(whole) - cut)])
    with LogitCache(path, "teacher", 2) as cache:
        known = [key in cache for key in keys]
        assert known == sorted(known, reverse=True)
        cache.put(keys[2], compress(np.zeros((1, 3), np.float32), 2))
    with LogitCache(path, "teacher", 2) as cache:
        assert keys[2] in cache
        assert [key in cache for key in keys[:2]] == known[:2]


def test_a_changed_byte_ends_what_is_believed(tmp_path: Path) -> None:
    keys = filled(tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[-30] ^= 1
    (tmp_path / "a").write_bytes(data)
    with LogitCache(tmp_path / "a", "teacher", 2) as cache:
        assert keys[0] in cache
        assert keys[2] not in cache


def test_the_answers_of_another_teacher_are_not_taken(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    with pytest.raises(DistillError, match="another teacher"):
        LogitCache(tmp_path / "a", "somebody else", 2)


class FullFile:
    """A file on a full disk."""

    def write(self, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_says_so_and_leaves_what_was_there(tmp_path: Path) -> None:
    keys = filled(tmp_path / "a")
    cache = LogitCache(tmp_path / "a", "teacher", 2)
    cache._file.close()
    cache._file = FullFile()  # type: ignore[assignment]
    with pytest.raises(FullDiskError, match="the same command"):
        cache.put(key_of("four"), compress(np.zeros((1, 3), np.float32), 2))
    with LogitCache(tmp_path / "a", "teacher", 2) as again:
        assert all(key in again for key in keys)
        assert len(again) == 3
