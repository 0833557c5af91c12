"""Beam search: the likeliest answer of a grammar, and a context that is left as it was."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

from fakes.written import run, write
from gguf_writer import write_small_model

from aiosd.domain.errors import CancelledError, InvalidError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import TextEnd, TextPiece, TextPrompt
from aiosd.domain.request import Sampling
from aiosd.engines import llama_beams
from aiosd.engines.llama import LlamaEngine
from aiosd.engines.llama_beams import Beams


def sure(max_tokens: int = 120, repeat_penalty: float = 1.0) -> Sampling:
    return Sampling(max_tokens=max_tokens, temperature=0.0, repeat_penalty=repeat_penalty)


LETTERS = TextPrompt(text="once upon a time", sampling=sure(), grammar="root ::= [a-f]{12}")
TEXTS = ("ab", "ba", "cc", "dog", "cat", "mouse")


def opened(model: Path, beams: int) -> LlamaEngine:
    engine = LlamaEngine()
    need = EngineNeed(name="llama", context=256, batch=16, beams=beams)
    engine.load({"model": model}, need, threads=1)
    return engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[LlamaEngine]:
    engine = opened(model, 3)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def greedy(model: Path) -> Iterator[LlamaEngine]:
    engine = opened(model, 1)
    yield engine
    engine.close()


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The log probability of each answer, as it is given."""
    found: list[float] = []
    close = Beams.close

    def told(beams: Beams) -> None:
        found.append(beams.score)
        close(beams)

    monkeypatch.setattr(Beams, "close", told)
    return found


@pytest.mark.parametrize("text", ["once upon a time", "the end", "a b c"])
def test_of_a_few_texts_the_likeliest_is_the_answer(
    model: Path, scores: list[float], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(llama_beams, "HOPELESS", math.inf)
    engine = opened(model, 8)
    prompt = replace(LETTERS, text=text)
    for one in TEXTS:
        assert write(engine, replace(prompt, grammar=f'root ::= "{one}"')).text == one
    likeliest = TEXTS[scores.index(max(scores))]
    any_of = " | ".join(f'"{one}"' for one in TEXTS)
    assert write(engine, replace(prompt, grammar=f"root ::= {any_of}")).text == likeliest
    engine.close()


def test_no_answer_is_less_likely_than_the_greedy_one(
    engine: LlamaEngine, greedy: LlamaEngine, scores: list[float]
) -> None:
    for text in ("once upon a time", "hello there", "1 2 3", "the"):
        prompt = replace(LETTERS, text=text)
        first = write(greedy, prompt).text
        write(engine, prompt)
        write(engine, replace(prompt, grammar=f'root ::= "{first}"'))
        found, other = scores[-2:]
        assert found >= other - 1e-3


def test_a_grammar_holds_the_answer_and_its_pieces_make_up_the_whole(engine: LlamaEngine) -> None:
    *pieces, end = run(engine, LETTERS)
    assert isinstance(end, TextEnd)
    assert re.fullmatch("[a-f]{12}", end.text)
    assert end.finish == "eos"
    assert end.first_token_ms is not None
    texts = [piece for piece in pieces if isinstance(piece, TextPiece)]
    assert "".join(piece.text for piece in texts) == end.text
    assert sum(piece.tokens for piece in texts) == end.tokens_out


def test_what_all_that_is_followed_begins_with_is_shown_at_once(engine: LlamaEngine) -> None:
    prompt = replace(LETTERS, grammar='root ::= "begin " [a-f]{40}')
    asked = 0

    def count() -> bool:
        nonlocal asked
        asked += 1
        return False

    pieces = engine.run(prompt, cancelled=count)
    next(pieces)
    early = asked
    list(pieces)
    assert early < asked / 2


def test_what_was_answered_before_does_not_change_the_text(engine: LlamaEngine) -> None:
    texts = [write(engine, LETTERS).text]
    write(engine, replace(LETTERS, text="something else, and longer than one batch " * 2))
    texts += [write(engine, LETTERS).text, write(engine, LETTERS).text]
    engine.park(pages=False)
    assert {*texts, write(engine, LETTERS).text} == {texts[0]}


def test_an_answer_that_needs_all_the_room_gets_it(engine: LlamaEngine) -> None:
    prompt = replace(LETTERS, sampling=sure(240), grammar="root ::= [a-f]{200}")
    end = write(engine, prompt)
    assert re.fullmatch("[a-f]{200}", end.text)
    assert write(engine, LETTERS).finish == "eos"


def test_the_text_ends_after_as_many_tokens_as_are_asked_for(engine: LlamaEngine) -> None:
    end = write(engine, replace(LETTERS, sampling=sure(3)))
    assert (end.tokens_out, end.finish) == (3, "length")


def test_a_stop_word_ends_the_text_and_never_shows(engine: LlamaEngine) -> None:
    prompt = replace(LETTERS, stop=("stop",), grammar='root ::= "go stop " [a-f]{9}')
    end = write(engine, prompt)
    assert (end.text, end.finish) == ("go ", "stop")


def test_where_chance_has_a_say_the_answer_is_as_without(
    engine: LlamaEngine, greedy: LlamaEngine
) -> None:
    for settings in (Sampling(seed=4, max_tokens=40), sure(repeat_penalty=1.3)):
        prompt = replace(LETTERS, sampling=settings)
        assert write(engine, prompt).text == write(greedy, prompt).text


def test_without_a_grammar_the_answer_is_the_greedy_one(
    engine: LlamaEngine, greedy: LlamaEngine
) -> None:
    prompt = replace(LETTERS, grammar=None, sampling=sure(20))
    assert write(engine, prompt).text == write(greedy, prompt).text


def test_the_margin_is_told_where_that_is_asked_for(engine: LlamaEngine) -> None:
    assert write(engine, LETTERS).margin is None
    forced = write(engine, replace(LETTERS, margin=True, grammar='root ::= "qzxj" [q-z]{20}'))
    assert forced.margin is not None
    assert 0.0 < forced.margin < 0.5


@pytest.mark.parametrize("text", ['say "a\\b" to_me', "漢字 🙂 don't", "a a a a"])
def test_a_quoting_answer_is_a_part_of_the_request(engine: LlamaEngine, text: str) -> None:
    prompt = replace(
        LETTERS, text=text, literal=((0, len(text)),), quote="value",
        grammar='root ::= "\\"" value "\\""\nvalue ::= [a-z]',
    )  # fmt: skip
    assert json.loads(write(engine, prompt).text) in text


def test_a_place_no_token_can_continue_is_an_error_and_no_abort(engine: LlamaEngine) -> None:
    with pytest.raises(InvalidError, match="no token of this model"):
        run(engine, replace(LETTERS, grammar='root ::= "ok" [z-a]'))
    assert write(engine, LETTERS).finish == "eos"


def test_a_grammar_that_takes_too_long_is_stopped(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_beams, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(InvalidError, match="for one token"):
        run(engine, LETTERS)


@pytest.mark.parametrize("calls", [1, 3, 9])
def test_a_cancel_is_seen_wherever_it_comes(engine: LlamaEngine, calls: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked >= calls

    with pytest.raises(CancelledError):
        run(engine, replace(LETTERS, text=f"{calls} times"), cancelled)
    assert write(engine, LETTERS).finish == "eos"


def test_a_reader_that_goes_away_leaves_the_engine_usable(engine: LlamaEngine) -> None:
    whole = write(engine, LETTERS).text
    pieces = engine.run(LETTERS, cancelled=lambda: False)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert write(engine, LETTERS).text == whole
