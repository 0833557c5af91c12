"""Words that few texts have: which they are, whom they are near, and the texts they are put in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tools.distill.strangers import FEW, MATES, mates_of, strange, with_strangers
from tools.distill.table import UNLABELLED, Table

TEXTS = ["toss the coin", "Toss the coin now", "toss a coin", "toss dimes"]
TABLE = Table(TEXTS, np.zeros(len(TEXTS), np.int64))
NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def test_a_word_is_strange_that_few_texts_have_and_usual_words_are_the_others() -> None:
    assert FEW == 3
    assert strange(["toss", "coin", "dimes", "the", "nay"], TABLE) == (
        ["dimes", "the", "nay"],
        ["coin", "toss"],
    )


def test_mates_are_the_nearest_usual_words_and_none_where_none_is_near() -> None:
    known = np.eye(6, dtype=np.float32)
    asked = np.array([[0.6, 0.8, 0, 0, 0, 0], [0.1] * 6, [0.4] * 6], np.float32)
    found = mates_of(["x", "y", "z"], asked, ["a", "b", "c", "d", "e", "f"], known)
    assert found == {"x": ["b", "a"], "y": [], "z": ["a", "b", "c", "d"][:MATES]}


def test_a_strange_word_stands_where_a_near_one_stood() -> None:
    found = list(with_strangers(TABLE, {"dime": ["coin"]}, 50, 1).inputs)
    assert found[:3] == ["coin", "toss", "dime"]
    assert sorted(found[3:]) == ["Toss the dime now", "toss a dime", "toss the dime"]


def test_a_word_that_is_like_no_usual_one_stands_anywhere() -> None:
    found = list(with_strangers(TABLE, {"nay": []}, 200, 1).inputs)
    assert {"nay the coin", "toss nay", "toss the nay", "nay dimes"} <= set(found)
    assert all("nay" in text.split() for text in found if text not in ("coin", "toss"))


def test_the_texts_of_a_word_stay_when_others_come_and_when_more_are_made() -> None:
    alone = set(with_strangers(TABLE, {"dime": ["coin"]}, 1, 1).inputs)
    assert alone < set(with_strangers(TABLE, {"nay": [], "dime": ["coin"]}, 3, 1).inputs)


@given(st.lists(st.text("abc ", min_size=1), min_size=1, max_size=6), NAMES, st.integers(0, 99))
def test_what_is_made_is_new_unlabelled_and_the_same_for_a_seed(
    texts: list[str], names: list[str], seed: int
) -> None:
    table = Table([text if text.strip() else "a" for text in texts], np.zeros(len(texts), np.int64))
    mates = {name: ["a"] for name in names}
    made = with_strangers(table, mates, 3, seed)
    assert set(made.inputs).isdisjoint({" ".join(str(one).split()) for one in table.inputs})
    assert len(set(made.inputs)) == len(made)
    assert (made.labels == UNLABELLED).all()
    assert list(made.inputs) == list(with_strangers(table, mates, 3, seed).inputs)
