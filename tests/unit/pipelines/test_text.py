"""The text steps: normal forms, hashed n-grams, word ids and word pieces."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes.effort import cpu_at_most
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.pre_steps import TextHashNgrams, TextNormalize, TextWordIds, TextWordpiece
from aiosd.domain.prepared import Tensors
from aiosd.pipelines.text import (
    STEPS,
    HashNgramsStep,
    NormalizeStep,
    WordIdsStep,
    WordpieceStep,
    bert_words,
    fnv1a,
    ngram_hashes,
)

HERE = Path()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def normalized(text: str, **parameters: object) -> str:
    return NormalizeStep(TextNormalize(**parameters), HERE)(text)


def plain_hashes(text: str, chars: list[int], words: list[int]) -> Counter[int]:
    """What `ngram_hashes` must give, written the slow and obvious way, for texts without signs."""
    padded, counts = f" {text} ", Counter[int]()
    for size in range(chars[0], chars[1] + 1):
        for start in range(len(padded) - size + 1):
            counts[fnv1a(padded[start : start + size].encode())] += 1
    cut = text.split()
    for size in range(words[0], words[1] + 1):
        for start in range(len(cut) - size + 1):
            counts[fnv1a(b"\x1f" + " ".join(cut[start : start + size]).encode())] += 1
    return counts


# ── normalize ────────────────────────────────────────────────────────────────────────────────


def test_the_normal_form_is_lower_case_with_plain_quotes_and_single_spaces() -> None:
    assert normalized("  What’s\tTHE \n ﬁrst “x” ") == 'what\'s the first "x"'


def test_case_and_digits_are_kept_or_dropped_as_the_spec_says() -> None:
    assert normalized("Call 0800", lower=False) == "Call 0800"
    assert normalized("Call 0845", digits="zero") == "call 0000"


@given(TEXTS)
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    try:
        once = normalized(text)
    except InvalidError:
        return
    assert normalized(once) == once


@given(st.text("ab ", min_size=1, max_size=80), st.integers(8, 40))
def test_a_long_text_keeps_its_head_and_tail_within_the_limit(text: str, limit: int) -> None:
    text = f"h{text}t"
    short = normalized(text, max_chars=limit)
    assert len(short) <= limit
    assert short[0] == "h"
    assert short[-1] == "t"


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_an_invalid_request_that_names_the_text(text: str) -> None:
    with pytest.raises(InvalidError, match="empty") as caught:
        normalized(text)
    assert caught.value.field == "input.text"


def test_half_a_surrogate_pair_is_an_invalid_request() -> None:
    with pytest.raises(InvalidError, match="surrogate"):
        normalized("a\ud800")


def test_what_is_not_a_text_is_an_invalid_request() -> None:
    with pytest.raises(InvalidError, match="int"):
        NormalizeStep(TextNormalize(), HERE)(7)


def test_a_flood_of_combining_marks_takes_no_time() -> None:
    with cpu_at_most(5.0):
        result = normalized("a" + "\u0301\u0323" * 100_000)
    assert len(result) <= 31


def test_a_limit_too_small_for_head_and_tail_is_a_bad_package() -> None:
    with pytest.raises(PackageError, match="max_chars"):
        NormalizeStep(TextNormalize(max_chars=3), HERE)


# ── hashed n-grams ───────────────────────────────────────────────────────────────────────────


def test_fnv1a_gives_its_authors_test_vectors() -> None:
    assert fnv1a(b"") == 0x811C9DC5
    assert fnv1a(b"a") == 0xE40C292C
    assert fnv1a(b"foobar") == 0xBF9CF968


@given(st.text("abé中𐍈 ", max_size=30))
def test_fast_hashes_equal_slow_ones_for_letters_of_one_to_four_bytes(text: str) -> None:
    text = " ".join(text.split())
    found = Counter(ngram_hashes(text, [2, 5], [1, 3]).tolist())
    assert found == plain_hashes(text, [2, 5], [1, 3])


def test_features_of_a_known_text_stay_where_they_were() -> None:
    row = HashNgramsStep(TextHashNgrams(bits=6, chars=[3, 3], words=[1, 1], norm="none"), HERE)(
        "Café au lait"
    )
    places = {int(place): round(float(row[0, place]), 4) for place in np.flatnonzero(row)}
    assert places == {
        3: 1.0,
        8: 1.0,
        11: 1.0,
        13: 1.0,
        14: 1.0,
        18: 1.0,
        23: 1.0,
        28: 1.0,
        35: 1.0,
        38: 1.0,
        42: 2.0986,
        57: 1.0,
        59: 1.0,
    }


@given(TEXTS.filter(bool), st.integers(4, 16), st.sampled_from(["binary", "count", "log"]))
def test_features_have_length_one_and_never_change(text: str, bits: int, weight: str) -> None:
    step = HashNgramsStep(TextHashNgrams(bits=bits, weight=weight), HERE)
    row = step(text)
    assert row.shape == (1, 2**bits)
    assert row.dtype == np.float32
    assert np.isclose(np.linalg.norm(row), 1.0, atol=1e-5)
    assert np.array_equal(row, step(text))


def test_weights_follow_the_count_of_an_n_gram() -> None:
    def weights(weight: str) -> list[float]:
        spec = TextHashNgrams(bits=16, chars=[], words=[1, 1], weight=weight, norm="none")
        row = HashNgramsStep(spec, HERE)("go go go stop")
        return sorted(round(float(value), 4) for value in row[row > 0])

    assert weights("binary") == [1.0, 1.0]
    assert weights("count") == [1.0, 3.0]
    assert weights("log") == [1.0, round(1 + float(np.log(3)), 4)]


def test_case_counts_only_if_the_spec_says_so() -> None:
    same = HashNgramsStep(TextHashNgrams(bits=10), HERE)
    other = HashNgramsStep(TextHashNgrams(bits=10, lower=False), HERE)
    assert np.array_equal(same("STOP now"), same("stop NOW"))
    assert not np.array_equal(other("STOP now"), other("stop NOW"))


def test_surface_facts_come_after_the_n_grams_and_see_the_capitals() -> None:
    spec = TextHashNgrams(bits=8, surface=["capital_share", "link"], surface_scale=0.5)
    row = HashNgramsStep(spec, HERE)("SEE www.x.org")
    assert row.shape == (1, 258)
    assert row[0, 256:].tolist() == pytest.approx([0.5 * 3 / 10, 0.5])


def test_a_text_without_any_n_gram_is_an_invalid_request() -> None:
    with pytest.raises(InvalidError, match="too short") as caught:
        HashNgramsStep(TextHashNgrams(bits=8, chars=[], words=[1, 1]), HERE)("?!")
    assert caught.value.field == "input.text"


@pytest.mark.parametrize("chars", [[2], [3, 2], [0, 2], [1, 9]])
def test_a_range_of_n_grams_out_of_bounds_is_a_bad_package(chars: list[int]) -> None:
    with pytest.raises(PackageError, match="chars"):
        HashNgramsStep(TextHashNgrams(bits=8, chars=chars), HERE)


def test_a_step_without_any_n_grams_is_a_bad_package() -> None:
    with pytest.raises(PackageError, match="empty"):
        HashNgramsStep(TextHashNgrams(bits=8, chars=[], words=[]), HERE)


def test_a_quarter_megabyte_takes_less_than_seconds() -> None:
    limit = NormalizeStep(TextNormalize(max_chars=1000), HERE)
    step = HashNgramsStep(TextHashNgrams(bits=14, surface=["phone", "email", "link"]), HERE)
    with cpu_at_most(10.0):
        for text in ("a" * 262_144, "1 " * 131_072, "é." * 131_072):
            step(limit(text))
            step(text)


# ── word ids ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "vocab").write_text("<PAD> 0\n<START> 1\n<UNKNOWN> 2\nfree 3\ndon't 9\n")
    return tmp_path


def test_words_become_ids_after_the_start_and_before_the_padding(words: Path) -> None:
    step = WordIdsStep(TextWordIds(file="vocab", length=6, start=1), words)
    row = step("free, don't panic!")
    assert row.tolist() == [[1, 3, 9, 2, 0, 0]]
    assert row.dtype == np.int32


def test_words_beyond_the_length_are_dropped(words: Path) -> None:
    step = WordIdsStep(TextWordIds(file="vocab", length=2, dtype="float32"), words)
    row = step("free free free")
    assert row.tolist() == [[3.0, 3.0]]
    assert row.dtype == np.float32


@pytest.mark.parametrize("pattern", ["(a+)+b", "a|b", "[", "[]", "[a-", "[z-a]"])
def test_a_pattern_that_is_no_set_of_characters_is_a_bad_package(words: Path, pattern: str) -> None:
    with pytest.raises(PackageError, match="pattern"):
        WordIdsStep(TextWordIds(file="vocab", length=4, pattern=pattern), words)


def test_a_missing_vocabulary_is_a_bad_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="vocab"):
        WordIdsStep(TextWordIds(file="vocab", length=4), tmp_path)


def test_no_room_for_a_word_is_a_bad_package(words: Path) -> None:
    with pytest.raises(PackageError, match="no room"):
        WordIdsStep(TextWordIds(file="vocab", length=1, start=1), words)


@pytest.mark.assets
@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("What a waste of my time.", [0.81313, 0.18687]),
        (
            "This is the best movie I’ve seen in recent years. Strongly recommend it!",
            [0.48657, 0.51343],
        ),
    ],
)
def test_word_ids_make_the_movie_review_model_say_what_its_authors_published(
    assets: Path, text: str, scores: list[float]
) -> None:
    litert = pytest.importorskip("aiosd.engines.litert", reason="no TFLite library is installed")
    folder = assets / "tflite" / "text"
    engine = litert.LitertEngine()
    model = {"model": folder / "nl_classifier_with_regex_tokenizer.tflite"}
    engine.load(model, EngineNeed(name="litert"), threads=1)
    step = WordIdsStep(TextWordIds(file="movie_review_vocab.txt", length=256, start=1), folder)
    (given,) = engine.run(Tensors((step(text),)), cancelled=lambda: False)
    assert given.arrays[0][0].tolist() == pytest.approx(scores, abs=1e-3)


# ── word pieces ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "the", "cafe", "!", "中"]
    (tmp_path / "vocab.txt").write_text("\n".join(marks) + "\n", encoding="utf-8")
    return tmp_path


def test_words_are_cut_into_the_longest_pieces(pieces: Path) -> None:
    step = WordpieceStep(TextWordpiece(file="vocab.txt", length=10), pieces)
    assert step("Playing the Café! xyz").tolist() == [[2, 4, 5, 7, 8, 9, 1, 3, 0, 0]]


def test_a_long_text_still_ends_with_the_separator(pieces: Path) -> None:
    step = WordpieceStep(TextWordpiece(file="vocab.txt", length=4), pieces)
    assert step("played played").tolist() == [[2, 4, 6, 3]]


def test_without_lower_case_the_letters_stay(pieces: Path) -> None:
    step = WordpieceStep(TextWordpiece(file="vocab.txt", length=4, lower=False), pieces)
    assert step("Play").tolist() == [[2, 1, 3, 0]]


def test_ideographs_and_signs_stand_alone_and_control_characters_vanish() -> None:
    assert bert_words("a中b $5\u200b\x00,-x", lower=True) == [
        *("a", "中", "b", "$", "5", ",", "-", "x")
    ]


@given(TEXTS, st.integers(3, 20))
def test_pieces_of_any_text_fill_the_length_between_the_marks(
    tmp_path_factory: pytest.TempPathFactory, text: str, length: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "v").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n")
    row = WordpieceStep(TextWordpiece(file="v", length=length), folder)(text)
    assert row.shape == (1, length)
    assert row[0, 0] == 2
    assert row[0].tolist().count(3) == 1


def test_a_vocabulary_without_the_marks_is_a_bad_package(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("a\nb\n")
    with pytest.raises(PackageError, match=r"\[PAD\]"):
        WordpieceStep(TextWordpiece(file="v", length=8), tmp_path)


def test_every_text_spec_has_its_step() -> None:
    assert set(STEPS) == {TextNormalize, TextHashNgrams, TextWordIds, TextWordpiece}
