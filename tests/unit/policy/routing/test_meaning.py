"""What words mean is added up by the daemon as NumPy would; a table that is not whole is told."""

import numpy as np
import pytest

from aiosd.fitter.meanings import (
    MAGIC,
    NEAREST,
    NEAREST_OF_FEW,
    Comparisons,
    Vectors,
    compare,
    pack_vectors,
    vectors,
)
from aiosd.policy.routing.head import (
    HeadError,
    HeadFacts,
    Measures,
    Thresholds,
    decode_head,
    encode_head,
)
from aiosd.policy.routing.hearing import explain, hear
from aiosd.policy.routing.lexical import PLACES, hash_of, normal, spoken
from aiosd.policy.routing.meaning import Meaning

WORDS = ["lamp", "light", "bulb", "money", "cash", "bank", "pay"]
ROUTES = [("lamp", ""), ("money", "bank"), ("money", "cash"), ("", "")]
TEXTS = ["the lamp", "a bulb and a light", "the bank", "pay at the bank", "cash money", "who knows"]
TRUTH = np.array([0, 0, 1, 1, 2, 3])


def made_up(seed: int = 4) -> Vectors:
    chance = np.random.default_rng(seed)
    hashes = np.array(sorted(hash_of(word) for word in WORDS), np.uint32)
    return Vectors(hashes, chance.integers(-127, 128, (len(WORDS), 12), np.int8))


def comparisons() -> tuple[Vectors, Comparisons]:
    known = made_up()
    return known, compare(known, known.rows_of(TEXTS), TRUTH, len(ROUTES))


def head_of(made: Comparisons) -> bytes:
    count = len(ROUTES)
    facts = HeadFacts(
        key="k",
        routes=ROUTES,
        scales=[0.1] * count,
        biases=[0.0] * count,
        thresholds=Thresholds(scope=-99.0),
        measures=Measures(),
        meaning=made.facts,
    )
    return encode_head(facts, bytes(PLACES * count) + made.pack())


def added(meaning: Meaning, words: list[int]) -> memoryview:
    """Return the sum of words' rows, as the head hands it on."""
    return memoryview(sum(map(meaning.row, words)).to_bytes(meaning.lanes_bytes, "little"))


@pytest.mark.parametrize("text", [*TEXTS, "lamp lamp lamp bank", "PAY, by the light!", "", "zzz"])
def test_the_daemon_adds_what_the_fitter_measured(text: str) -> None:
    known, made = comparisons()
    head = decode_head(head_of(made))
    wanted = made.scores(known.rows_of([text]))[0]
    assert head.read(text).logits == pytest.approx(wanted.tolist(), abs=1e-9)


def test_a_text_is_nearest_to_its_own_route() -> None:
    _, made = comparisons()
    head = decode_head(head_of(made))
    for text, route in zip(TEXTS[:5], TRUTH, strict=False):
        logits = head.read(text).logits
        assert logits.index(max(logits)) == route


def test_words_explain_what_they_added_to_the_last_bit() -> None:
    _, made = comparisons()
    data = head_of(made)
    head = decode_head(data)
    text = "pay cash at the bank"
    words = [hash_of(word) for word in spoken(normal(text))]
    meaning = Meaning(made.facts, made.pack(), 0, len(ROUTES))
    sums = meaning.sums(added(meaning, words))
    assert sums is not None
    for route, score in enumerate(head.read(text).logits):
        assert sum(meaning.of(words, sums, route)) == pytest.approx(score, abs=1e-9)
    told = explain(head, text, hear(head, text), "money")
    assert told[0].gram.startswith("~")
    assert told[0].weight >= told[-1].weight > 0
    assert meaning.of([1, 2], sums, 0) == [0.0, 0.0]
    assert meaning.sums(added(meaning, [1, 2])) is None


def test_more_words_than_are_remembered_are_looked_up_again() -> None:
    _, made = comparisons()
    head = decode_head(head_of(made))
    before = head.read("the lamp").logits
    for number in range(3000):
        head.read("x" + "abcdefghij"[number % 10] * (number // 10 % 50 + 1) + str(number))
    for start in range(0, 4000, 100):
        letters = [
            chr(97 + n % 26) + chr(97 + n // 26 % 26) + chr(97 + n // 676)
            for n in range(start, start + 100)
        ]
        head.read(" ".join(letters))
    assert head.read("the lamp").logits == before


def test_a_table_that_is_not_whole_is_found_out() -> None:
    _, made = comparisons()
    data = head_of(made)
    for damaged in (data[:-1], data + b"\0"):
        with pytest.raises(HeadError):
            decode_head(damaged)
    with pytest.raises(ValueError, match="bytes of meaning"):
        Meaning(made.facts, made.pack(), 0, len(ROUTES) + 1)


def test_many_texts_of_a_route_are_stood_for_by_some_and_always_the_same() -> None:
    chance = np.random.default_rng(1)
    known = Vectors(np.arange(500, dtype=np.uint32), chance.integers(-127, 128, (500, 16), np.int8))
    said = [chance.integers(0, 500, 4) for _ in range(400)]
    truth = np.array([0] * 390 + [1] * 10)
    made = compare(known, said, truth, 2)
    assert made.facts.counts == [128, 10]
    assert compare(known, said, truth, 2).pack() == made.pack()
    crowded = compare(known, said, truth, 200)
    assert crowded.facts.counts[:3] == [2, 2, 0]
    assert crowded.scores(said).shape == (400, 200)
    packed = compare(known, said, truth, 300)
    assert sum(packed.facts.counts) == 0
    assert np.isfinite(packed.scores(said)).all()


def test_the_vectors_that_come_along_know_common_words() -> None:
    known = vectors()
    assert known is not None
    hashes = set(known.hashes.tolist())
    common = ("lamp", "money", "weather", "play", "what's", "restaurant")
    assert [word for word in common if hash_of(word) not in hashes] == []
    assert np.all(np.diff(known.hashes.astype(np.int64)) > 0)
    again = pack_vectors(known)
    assert len(again) == len(MAGIC) + 8 + known.hashes.nbytes + known.table.nbytes


def test_the_nearest_text_counts_more_where_there_are_few_and_never_less_than_where_many_are() -> (
    None
):
    known = made_up()
    said = known.rows_of(TEXTS)
    few = compare(known, said, TRUTH, len(ROUTES)).facts.nearest
    many = compare(known, said * 400, np.tile(TRUTH, 400), len(ROUTES)).facts.nearest
    assert few == NEAREST + NEAREST_OF_FEW
    assert NEAREST < many < NEAREST + NEAREST_OF_FEW / 10
