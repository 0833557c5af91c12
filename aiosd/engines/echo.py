"""No model: gives back what it is given, and fails in every way on request; the file to copy.

A text is streamed word by word; anything else comes back whole. A text that begins with one of
these words is an order, by which tests drive a real worker:

    !sleep SECONDS     wait, looking for a cancel meanwhile, then answer "slept"
    !deaf SECONDS      wait without looking, as a library does that cannot be interrupted
    !spin SECONDS      compute for that long, looking for a cancel
    !tokens N          stream N numbers
    !alloc MIB         take and keep that much written memory, until the next order of this kind
    !fail MESSAGE      fail as a model does
    !invalid MESSAGE   refuse the input
    !exit STATUS       end the process at once
    !crash NAME        die by a signal: segv, abrt, bus, fpe, ill, kill or term
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aiosd.domain.errors import CancelledError, ExpertFailedError, InvalidError
from aiosd.domain.manifest import EngineNeed
from aiosd.domain.prepared import (
    Embedding,
    Piece,
    Prepared,
    Tensors,
    TextEnd,
    TextPiece,
    TextPrompt,
    Value,
)

_LOOK_SECONDS = 0.01
_MIB = 1_048_576
_PAGE = 4_096
_SIGNALS = ("segv", "abrt", "bus", "fpe", "ill", "kill", "term")
_MOST = {"sleep": 600.0, "deaf": 600.0, "spin": 600.0, "tokens": 1e6, "alloc": 65_536.0}


class EchoEngine:
    """Answers with its input; see `aiosd.engines.engine.Engine` for the contract."""

    def __init__(self) -> None:
        self._held = bytearray()

    def version(self) -> str:
        """Name and version: there is no library, so the version of this behaviour."""
        return "echo 1"

    def load(self, files: Mapping[str, Path], need: EngineNeed, *, threads: int) -> None:
        """Take anything; an engine with a model opens `files["model"]` here."""

    def run(self, prepared: Prepared, *, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        """Yield the input back: a text as pieces and an end, an embedding of its length, a value.

        Raises:
            InvalidError: an order is misspelt, or is `!invalid`.
            ExpertFailedError: the order is `!fail`.
            CancelledError: `cancelled()` became true.
        """
        if isinstance(prepared, TextPrompt) and prepared.embed:
            yield Embedding((float(len(prepared.text)),), len(prepared.text.split()))
            return
        text = _text_of(prepared)
        if text is not None:
            yield from _speak(text, self._obey(text, cancelled), cancelled)
        elif isinstance(prepared, Tensors):
            yield prepared
        else:
            yield Value(prepared.value) if isinstance(prepared, Value) else Value(None)

    def use_threads(self, threads: int) -> None:
        """Take any number: there is one thread."""

    def close(self) -> None:
        """Let go of what `!alloc` took."""
        self._held = bytearray()

    def _obey(self, text: str, cancelled: Callable[[], bool]) -> Iterator[str]:
        """Carry out an order, if the text is one; return what to answer, word by word."""
        order, _, rest = text.partition(" ")
        match order:
            case "!sleep" | "!deaf" | "!spin":
                _pass_time(order, _number(order, rest), cancelled)
                return iter([{"!sleep": "slept", "!deaf": "woke", "!spin": "spun"}[order]])
            case "!tokens":
                return (f"{number} " for number in range(int(_number(order, rest))))
            case "!alloc":
                return iter([self._take(int(_number(order, rest)))])
            case "!fail":
                raise ExpertFailedError(rest or "asked to fail", reason="echo")
            case "!invalid":
                raise InvalidError(rest or "asked to refuse", field="input.text")
            case "!exit":
                os._exit(_status(rest))
            case "!crash":
                _crash(rest)
            case _:
                pass
        return _words(text)

    def _take(self, mebibytes: int) -> str:
        """Take memory and write to each page, so that it counts."""
        self._held = bytearray()
        self._held = bytearray(mebibytes * _MIB)
        for at in range(0, len(self._held), _PAGE):
            self._held[at] = 1
        return f"took {mebibytes} MiB"


def _text_of(prepared: Prepared) -> str | None:
    """Return the text of a prompt, of a plain text, or of a text input that had no prompt."""
    if isinstance(prepared, TextPrompt):
        return prepared.text
    value = prepared.value if isinstance(prepared, Value) else None
    if isinstance(value, dict) and value.get("type") == "text":
        value = value.get("text")
    return value if isinstance(value, str) else None


def _speak(text: str, words: Iterator[str], cancelled: Callable[[], bool]) -> Iterator[Piece]:
    """Yield words as pieces, and the end."""
    start = time.perf_counter()
    said: list[str] = []
    first_ms = None
    for word in words:
        if cancelled():
            raise CancelledError("cancelled while answering")
        if first_ms is None:
            first_ms = (time.perf_counter() - start) * 1000
        said.append(word)
        yield TextPiece(word)
    yield TextEnd("".join(said), len(text.split()), len(said), "stop", first_ms)


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text with the white space after each, so that nothing is lost."""
    start = 0
    for at in range(1, len(text)):
        if text[at - 1].isspace() and not text[at].isspace():
            yield text[start:at]
            start = at
    if text:
        yield text[start:]


def _pass_time(order: str, seconds: float, cancelled: Callable[[], bool]) -> None:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        if order != "!deaf" and cancelled():
            raise CancelledError("cancelled while waiting")
        if order != "!spin":
            select.select([], [], [], left if order == "!deaf" else min(left, _LOOK_SECONDS))


def _number(order: str, text: str) -> float:
    """Return the number an order is given."""
    most = _MOST[order[1:]]
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise InvalidError(f"{order} takes a number from 0 to {most:g}", field="input.text")
    return number


def _status(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:  # noqa: PLR2004 -- wait(2): one byte
        raise InvalidError("!exit takes a status from 0 to 255", field="input.text")
    return int(text)


def _crash(name: str) -> None:
    if name not in _SIGNALS:
        raise InvalidError(f"!crash takes one of {', '.join(_SIGNALS)}", field="input.text")
    signal.raise_signal(signal.Signals[f"SIG{name.upper()}"])
