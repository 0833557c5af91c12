"""A head adds up int8 weights as NumPy would, and is a file that tells when it is damaged."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.routing.head import (
    MAGIC,
    REMEMBERED_BYTES,
    Head,
    HeadError,
    HeadFacts,
    Measures,
    Thresholds,
    decode_facts,
    decode_head,
    encode_head,
)
from aiosd.policy.routing.hearing import explain, hear
from aiosd.policy.routing.lexical import PLACES, normal, places
from aiosd.policy.routing.weights import pack_postings

ROUTES = [("lamp", ""), ("money", "card"), ("money", "bank"), ("", "")]


def facts(routes: list[tuple[str, str]] = ROUTES, **thresholds: float) -> HeadFacts:
    count = len(routes)
    return HeadFacts(
        key="k",
        routes=routes,
        scales=[0.1 * (place + 1) for place in range(count)],
        biases=[0.01 * place for place in range(count)],
        thresholds=Thresholds(**thresholds),
        measures=Measures(),
    )


def random_table(routes: int, seed: int = 3) -> bytes:
    chance = np.random.default_rng(seed)
    return chance.integers(-128, 128, (PLACES, routes), np.int8).tobytes()


def taught(words: dict[int, list[str]], **thresholds: float) -> Head:
    """Return a head in which the n-grams of these words speak for these routes."""
    table = np.zeros((PLACES, len(ROUTES)), np.int8)
    for route, known in words.items():
        for word in known:
            table[places(normal(word)), route] = 50
    return Head(facts(**thresholds), table.tobytes())


@pytest.mark.parametrize("length", [1, 20, 300, 5000])
def test_scores_are_the_sums_of_the_weights_however_long_the_text(length: int) -> None:
    letters = random.Random(length).choices("abcdefgh ijklm", k=length)
    text = "".join(letters).strip() or "a"
    data = random_table(len(ROUTES))
    head = Head(facts(), data)
    table = np.frombuffer(data, np.int8).reshape(PLACES, len(ROUTES)).astype(np.int64)
    found = places(normal(text))
    known = facts()
    wanted = table[found].sum(axis=0) * known.scales / np.sqrt(len(found)) + known.biases
    assert head.read(text).logits == pytest.approx(wanted.tolist())


def test_a_head_survives_being_written_and_read() -> None:
    data = encode_head(facts(), random_table(4))
    head = decode_head(data)
    assert head.facts == facts()
    assert encode_head(head.facts, data[decode_facts(data)[1] :]) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"something else",
        MAGIC + b"\x02\0\0\0\xc0\xc0",
        encode_head(facts(), random_table(4))[:-1],
        encode_head(facts(), random_table(3)),
    ],
)
def test_a_damaged_head_is_no_head(data: bytes) -> None:
    with pytest.raises(HeadError):
        decode_head(data)


def test_a_text_of_a_route_is_heard_as_meant_for_its_expert() -> None:
    head = taught({0: ["lamp", "light"], 1: ["card"], 2: ["bank"]}, scope=0.1, sure=0.6)
    heard = hear(head, "please the bank card bank")
    assert heard.meant == ("money",)
    assert heard.parts["money"] in {"card", "bank"}
    assert [gate.passed for gate in heard.gates] == [True, True]
    assert sum(heard.chances.values()) == pytest.approx(1.0)


def test_a_text_that_nothing_speaks_for_is_meant_for_nobody() -> None:
    head = taught({0: ["lamp"], 1: ["card"], 2: ["bank"], 3: ["weather"]}, scope=0.1)
    heard = hear(head, "weather")
    assert heard.meant == ()
    assert [(gate.name, gate.passed) for gate in heard.gates] == [("scope", False), ("sure", False)]
    assert len(heard.nearest) == 2


def test_a_text_that_may_be_for_two_is_heard_as_for_both_the_likelier_first() -> None:
    head = taught({0: ["lamp"], 1: ["card"]}, scope=-5.0, sure=0.99, member=0.1, temperature=50.0)
    assert hear(head, "card lamp").meant == ("money", "lamp")
    assert hear(head, "card lamp", {"lamp"}).meant == ("lamp",)


def test_an_empty_text_is_meant_for_nobody() -> None:
    assert hear(taught({0: ["lamp"]}), "  ").meant == ()


def test_the_n_grams_that_decided_are_those_of_the_text_with_what_they_added() -> None:
    head = taught({0: ["lamp"]}, scope=-5.0)
    heard = hear(head, "lamp of zzz")
    told = explain(head, "lamp of zzz", heard, "lamp")
    assert heard.scores is not None
    added = 50 * 0.1 / np.sqrt(len(places(normal("lamp of zzz"))))
    assert len(told) == 5
    for each in told:
        assert each.gram.strip() in "lamp of"
        assert each.weight == pytest.approx(added)
    assert explain(head, "lamp", heard, "stranger") == ()


@given(st.lists(st.text(st.sampled_from("abcdefgh ?'"), max_size=60), min_size=1, max_size=30))
def test_what_is_remembered_of_words_changes_no_score(texts: list[str]) -> None:
    data = random_table(len(ROUTES))
    used = Head(facts(), data)
    for text in [*texts, *reversed(texts)]:
        assert used.read(text) == Head(facts(), data).read(text)


def test_more_words_than_are_remembered_and_longer_ones_say_the_same() -> None:
    data = random_table(len(ROUTES))
    head, table = Head(facts(), data), np.frombuffer(data, np.int8).reshape(PLACES, -1)
    table = table.astype(np.int64)
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(1, 40))) for _ in range(8000)]
    for word in [*words, *words[:200]]:
        found = places(word)
        known = facts()
        wanted = table[found].sum(axis=0) * known.scales / np.sqrt(len(found)) + known.biases
        assert head.read(word).logits == pytest.approx(wanted.tolist())
    held = head.remembered()
    assert held.maxsize is not None
    assert held.maxsize < held.misses
    assert held.currsize == held.maxsize
    assert held.maxsize * 500 < REMEMBERED_BYTES


def test_of_thousands_of_routes_each_counts_alike() -> None:
    many = [(f"e{place:03d}", "") for place in range(300)]
    table = pack_postings([0] * (PLACES + 1), b"", b"")
    with pytest.raises(HeadError, match="counts alike"):
        Head(facts([*many, ("", "")]), table)
