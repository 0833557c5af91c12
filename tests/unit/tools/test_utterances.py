"""What is gathered for the word vectors: each text once, the same ones for the same sources."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from tools.train.utterances import MOST_WORDS, draw, expand

TEMPLATE = "(set|make) an [early] alarm [for {time}]"
MADE = re.compile(r"(set|make) an (early )?alarm( for)?")


@given(st.integers(0, 2**32))
def test_a_template_becomes_one_of_its_texts(seed: int) -> None:
    assert MADE.fullmatch(expand(TEMPLATE, random.Random(seed)))


def test_a_template_becomes_each_of_its_texts_in_time() -> None:
    chance = random.Random(0)
    assert len({expand(TEMPLATE, chance) for _ in range(200)}) == 8


def test_a_text_without_choices_stays_as_it_is() -> None:
    assert expand("what time is it", random.Random(0)) == "what time is it"


def test_texts_are_drawn_once_whatever_their_case_signs_and_spaces() -> None:
    said = iter(["What time is it?", "what  time is it", "what time is it!"])
    assert draw(said, 9, set()) == ["What time is it?"]


def test_what_another_source_said_is_not_drawn_again() -> None:
    taken: set[str] = set()
    assert draw(iter(["Stop the music."]), 9, taken) == ["Stop the music."]
    assert draw(iter(["stop the music", "play the music"]), 9, taken) == ["play the music"]


def test_too_short_too_long_and_foreign_texts_are_left_out() -> None:
    assert draw(iter(["no thanks", "word " * (MOST_WORDS + 1), "où est la gare"]), 9, set()) == []


@given(st.permutations([f"number {name} please" for name in "abcdefgh"]))
def test_who_is_drawn_does_not_depend_on_the_order(texts: list[str]) -> None:
    assert draw(iter(texts), 3, set()) == draw(iter(sorted(texts)), 3, set())
    assert len(draw(iter(texts), 3, set())) == 3
