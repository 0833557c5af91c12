"""Texts that nobody wrote: new, of known words, the same for the same seed; or an error."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.distill.fault import DataError
from tools.distill.recipe import Recipe
from tools.distill.recombining import LONGEST, ROUND, crossed, part_of, recombine, thinned
from tools.distill.run_book import RunBook
from tools.distill.table import Material, Table, unlabelled
from tools.distill.widening import widen

TEXTS = Table(
    ["turn on the lamp in the hall", "play the song of the day", "what is the time in rome"],
    np.array([0, 1, 2], np.int64),
)
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=40)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_texts_change_over_at_the_word_they_share() -> None:
    found = crossed(["turn", "on", "the", "lamp"], ["play", "The", "song"], "the", chance())
    assert found == ["turn", "on", "the", "song"]


@given(WORDS, st.integers(0, 1000))
def test_a_part_is_a_stretch_of_at_least_half(words: list[str], seed: int) -> None:
    found = part_of(words, chance(seed))
    assert 2 * len(found) >= len(words)
    assert len(found) >= min(2, len(words))
    assert any(words[at : at + len(found)] == found for at in range(len(words)))


@given(WORDS, st.integers(0, 1000))
def test_what_is_thinned_keeps_its_order_and_is_never_empty(words: list[str], seed: int) -> None:
    rest = iter(words)
    found = thinned(words, chance(seed))
    assert found
    assert all(word in rest for word in found)


@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(0, 1000))
def test_new_texts_are_new_short_unlabelled_and_of_known_words(
    texts: list[list[str]], seed: int
) -> None:
    table = Table([" ".join(each) for each in texts], np.arange(len(texts)) % 3)
    found = recombine(table, 3, {"a": ["z"]}, seed)
    made = [str(one).split() for one in found.inputs]
    assert len(found) <= 3 * len(texts)
    assert len(set(found.inputs)) == len(found)
    assert set(found.inputs).isdisjoint(table.inputs)
    assert (found.labels == -2).all()
    assert {word for each in made for word in each} <= {*"abcdefz"}
    assert all(0 < len(each) <= LONGEST for each in made)
    assert list(found.inputs) == list(recombine(table, 3, {"a": ["z"]}, seed).inputs)


@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(0, 1000))
def test_more_of_them_begin_with_those_of_fewer_whole_rounds(
    texts: list[list[str]], seed: int
) -> None:
    table = Table([" ".join(each) for each in texts], np.arange(len(texts)) % 3)
    fewer = recombine(table, ROUND, {"a": ["z"]}, seed)
    more = recombine(table, 2 * ROUND + 1, {"a": ["z"]}, seed)
    assert list(more.inputs)[: len(fewer)] == list(fewer.inputs)


def recipe(*names: str) -> Recipe:
    plain = {
        "name": "tiny",
        "task": "text.classify",
        "data": {"source": "rows"},
        "teacher": {"kind": "scikit"},
        "student": {"kind": "text-classifier"},
        "method": {"names": names, "variants": 4},
        "training": {"epochs": 1},
        "package": {"words": "tiny.words.toml"},
    }
    return msgspec.convert(plain, Recipe)


def material(train: Table, *tuning: str) -> Material:
    nothing = unlabelled([])
    return Material(("a", "b", "c"), train, nothing, unlabelled(list(tuning)), nothing, "nothing")


def test_what_a_method_made_is_counted_aloud_and_both_methods_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = RunBook(tmp_path, "recipe", "digest")
    kept, mixed = widen(recipe("paraphrase", "recombine"), material(TEXTS), tmp_path, book)
    said = capsys.readouterr().out
    counts = [int(line.split()[1]) for line in said.splitlines()]
    assert [line.split(":")[0] for line in said.splitlines()] == ["paraphrase", "recombine"]
    assert len(kept) == 0
    assert sum(counts) == len(mixed) > counts[0] > 0


def test_a_method_that_makes_nothing_stops_the_run(tmp_path: Path) -> None:
    alone = Table(["hello"], np.array([0], np.int64))
    with pytest.raises(DataError, match="no text that is new"):
        widen(recipe("recombine"), material(alone), tmp_path, RunBook(tmp_path, "r", "d"))
