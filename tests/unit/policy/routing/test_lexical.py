"""Words become the same places as the experts' own n-grams; a text is what its words are."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.pipelines.text import ngram_hashes
from aiosd.policy.routing.lexical import (
    BITS,
    MOST_CHARACTERS,
    PLACES,
    Grams,
    hash_of,
    neighbours,
    normal,
    over_one,
    places,
    seen,
    spoken,
)


def expected(word: str) -> set[int]:
    """Return the places of a word by the vectorized hash of the experts' pipelines."""
    kinds = [ngram_hashes(word, [size, size], [1, 1]) for size in (2, 4)]
    # Signs are no word of the pipelines.
    hashes = np.concatenate([*kinds, np.array([hash_of(word)], np.uint32)])
    return set(((hashes ^ (hashes >> np.uint32(BITS))) & np.uint32(PLACES - 1)).tolist())


@pytest.mark.parametrize("word", ["a", "light", "größe", "五", "çà", "o'clock's", "0000"])
def test_a_words_places_are_those_of_the_pipelines_hash(word: str) -> None:
    assert set(seen(word).places) == expected(word)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_any_word_has_the_places_of_the_pipelines_hash(text: str) -> None:
    for word in spoken(normal(text)):
        found = seen(word).places
        assert set(found) == expected(word)
        assert len(found) == len(set(found))


@given(st.text(max_size=60))
def test_what_is_seen_of_a_text_is_what_is_seen_of_its_words_and_their_pairs(text: str) -> None:
    form = normal(text)
    words = [seen(word) for word in spoken(form)]
    together = [place for word in words for place in word.places]
    assert places(form) == together + neighbours(words) + over_one(words)
    assert len(neighbours(words)) == max(0, len(words) - 1)
    assert len(over_one(words)) == max(0, len(words) - 2)
    assert all(0 <= place < PLACES for place in places(form))


def test_a_pair_knows_its_order_and_how_far_apart_its_words_are() -> None:
    one, other, third = seen("turn"), seen("off"), seen("light")
    pairs = [*neighbours([one, other]), *neighbours([other, one]), *over_one([one, third, other])]
    assert len(set(pairs)) == 3


@given(text=st.text(max_size=60), far=st.booleans())
def test_every_place_is_explained_by_an_n_gram_of_the_text(*, text: str, far: bool) -> None:
    form = normal(text)
    grams = Grams(form)
    found = grams.times(far=far)
    words = [seen(word) for word in spoken(form)]
    wanted = places(form) if far else places(form)[: -len(over_one(words)) or None]
    assert found == Counter(wanted)
    assert grams.hashes == [word.hash for word in words]
    for place in found:
        gram = grams.name(place)
        parts = gram.split(" … ") if " … " in gram else gram.split()
        assert gram
        assert all(part in form for part in parts)


def test_an_n_gram_is_named_for_its_place() -> None:
    grams = Grams("turn the lamp")
    words = [seen(word) for word in ("turn", "the", "lamp")]
    assert [*map(grams.name, neighbours(words))] == ["turn the", "the lamp"]
    assert [*map(grams.name, over_one(words))] == ["turn … lamp"]
    named = {grams.name(place) for place in words[2].places}
    assert named == {"lamp", " lam", "amp ", " l", "la", "am", "mp", "p "}
    assert Grams("").times(far=True) == {}


def test_signs_are_words_too_and_faces_are_seen() -> None:
    assert spoken("so, what's up? \N{GRINNING FACE}") == [
        "so",
        ",",
        "what's",
        "up",
        "?",
        "\N{GRINNING FACE}",
    ]
    assert seen("?").places


@given(st.text(max_size=60), st.text(st.characters(categories=["L", "N", "Zs"]), max_size=60))
def test_words_are_the_same_whichever_way_they_are_found(some: str, plain: str) -> None:
    for text in (some, plain):
        form = normal(text)
        apart = re.findall(r"\w+(?:'\w+)*|[^\w\s]+", form)
        assert spoken(form) == apart


@given(st.text(max_size=2000))
def test_the_normal_form_is_bounded_and_its_own_normal_form(text: str) -> None:
    form = normal(text)
    assert len(form) <= MOST_CHARACTERS
    assert form == " ".join(form.split())


def test_case_digits_and_spaces_do_not_count() -> None:
    assert normal("  Call 0906\t NOW ") == normal("call 1234 now")


def test_of_a_long_text_head_and_tail_count() -> None:
    form = normal("head " + "x" * 5000 + " tail")
    assert form.startswith("head ")
    assert form.endswith(" tail")


def test_half_a_surrogate_pair_is_hashed_like_anything_else() -> None:
    assert places(normal("a\ud800b"))
