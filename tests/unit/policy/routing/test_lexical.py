"""Texts become the same places as the experts' own hashed n-grams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.pipelines.text import ngram_hashes
from aiosd.policy.routing.lexical import BITS, MOST_CHARACTERS, PLACES, SIZES, grams, normal, places


def expected(text: str) -> set[int]:
    """Return the places by the vectorized hash of the experts' pipelines."""
    kinds = [ngram_hashes(text, [size, size], [1, 2]) for size in SIZES]
    hashes = np.concatenate(kinds)
    return set(((hashes ^ (hashes >> np.uint32(BITS))) & np.uint32(PLACES - 1)).tolist())


@pytest.mark.parametrize(
    "text", ["a", "turn the light on", "größe 五 für çà", "\N{GRINNING FACE} so", "it's o'clock's"]
)
def test_places_are_those_of_the_pipelines_hash(text: str) -> None:
    assert set(places(text)) == expected(text)


@given(st.text(min_size=1, max_size=60).filter(lambda text: normal(text) != ""))
def test_any_text_has_the_places_of_the_pipelines_hash(text: str) -> None:
    form = normal(text.encode("utf-8", "replace").decode())
    if form:
        assert set(places(form)) == expected(form)


@given(st.text(max_size=60))
def test_every_place_is_explained_by_an_n_gram_of_the_text(text: str) -> None:
    form = normal(text)
    named = grams(form, places(form))
    assert set(named) == set(places(form))
    for place, gram in named.items():
        assert gram in f" {form} " or " " in gram
        assert place in places(gram.strip()) or place in places(form)


def test_an_n_gram_is_named_for_its_place() -> None:
    alone = set(places("lamp"))
    named = grams("the lamp", alone)
    assert {"lamp", " lamp"} & set(named.values())
    assert grams("", [1, 2]) == {}


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
