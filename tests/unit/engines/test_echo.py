import faulthandler
import os
import signal
from collections.abc import Callable

import pytest

from aiosd.domain.errors import AiosdError, CancelledError, ExpertFailedError, InvalidError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import Embedding, Piece, TextEnd, TextPiece, TextPrompt, Value
from aiosd.domain.request import Sampling
from aiosd.engines.echo import EchoEngine


def run(text: str, cancelled: Callable[[], bool] = lambda: False) -> list[Piece]:
    engine = EchoEngine()
    engine.load({}, EngineNeed(name="echo"), threads=1)
    try:
        return list(engine.run(TextPrompt(text=text, sampling=Sampling()), cancelled=cancelled))
    finally:
        engine.close()


def end_of(text: str) -> str:
    end = run(text)[-1]
    assert isinstance(end, TextEnd)
    return end.text


def death_of(text: str) -> int:
    """Run in a child; return its wait status."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        run(text)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("text", ["hello there", "  two  spaces\n", "", "é😀 x", "!unknown order"])
def test_a_text_comes_back_unchanged_in_its_words(text: str) -> None:
    pieces = run(text)
    assert end_of(text) == text
    assert "".join(piece.text for piece in pieces[:-1] if isinstance(piece, TextPiece)) == text


def test_a_text_is_streamed_word_by_word() -> None:
    assert [piece.text for piece in run("one two")[:-1] if isinstance(piece, TextPiece)] == [
        "one ",
        "two",
    ]


def test_any_other_value_comes_back_whole() -> None:
    value = Value({"type": "series", "values": [1.0, 2.0]})
    assert list(EchoEngine().run(value, cancelled=lambda: False)) == [value]


def test_a_text_input_without_a_prompt_is_a_text() -> None:
    pieces = list(EchoEngine().run(Value({"type": "text", "text": "hi"}), cancelled=lambda: False))
    assert isinstance(pieces[-1], TextEnd)
    assert pieces[-1].text == "hi"


def test_an_embedding_is_the_length_of_the_text() -> None:
    prompt = TextPrompt(text="four", sampling=Sampling(), embed=True)
    assert list(EchoEngine().run(prompt, cancelled=lambda: False)) == [Embedding((4.0,), 1)]


def test_orders_are_obeyed() -> None:
    assert end_of("!tokens 3") == "0 1 2 "
    assert end_of("!sleep 0.01") == "slept"
    assert end_of("!spin 0.01") == "spun"
    assert end_of("!alloc 2") == "took 2 MiB"


@pytest.mark.parametrize("order", ["!sleep x", "!sleep -1", "!tokens", "!exit 256", "!crash dance"])
def test_a_misspelt_order_is_refused(order: str) -> None:
    with pytest.raises(InvalidError) as caught:
        run(order)
    assert caught.value.field == "input.text"


@pytest.mark.parametrize(
    ("order", "error"), [("!fail why", ExpertFailedError), ("!invalid why", InvalidError)]
)
def test_errors_come_on_request(order: str, error: type[AiosdError]) -> None:
    with pytest.raises(error, match="why"):
        run(order)


@pytest.mark.parametrize("order", ["!sleep 60", "!spin 60", "!tokens 1000"])
def test_a_cancel_is_seen(order: str) -> None:
    with pytest.raises(CancelledError):
        run(order, cancelled=lambda: True)


def test_the_process_ends_as_ordered() -> None:
    assert os.waitstatus_to_exitcode(death_of("!exit 3")) == 3
    assert os.waitstatus_to_exitcode(death_of("!crash segv")) == -signal.SIGSEGV
    assert os.waitstatus_to_exitcode(death_of("!crash kill")) == -signal.SIGKILL
