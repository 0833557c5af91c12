"""Bytes of tokens → text that may be shown: whole code points, and never a part of a stop word."""

import codecs
from collections.abc import Sequence

from aiosd.domain.errors import InvalidError

MAX_STOPS = 32
MAX_STOP_CHARACTERS = 256


class TextStream:
    """The text of one answer in progress.

    A code point that is split over tokens is held until it is whole; bytes that are not UTF-8
    become U+FFFD. Text that could be the beginning of a stop word is held until it is known not
    to be. `stopped` is true once a stop word was met; the word itself is never returned.

    Raises:
        InvalidError: a stop word is empty or too long, or there are too many.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        _check_stops(stop)
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._shown: list[str] = []
        self.stopped = False

    def text(self) -> str:
        """Return all that was shown so far."""
        return "".join(self._shown)

    def feed(self, data: bytes) -> str:
        """Take the bytes of the next token; return what may be shown now."""
        text = self._decoder.decode(data)
        if self._stop:
            text = self._release(self._held + text)
        if text:
            self._shown.append(text)
        return text

    def finish(self) -> str:
        """Return what was held back, now that no token follows; nothing after a stop word."""
        if self.stopped:
            return ""
        text = self._release(self._held + self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        if text:
            self._shown.append(text)
        return text

    def _release(self, text: str) -> str:
        """Cut `text` at a stop word, or hold back the longest end that may begin one."""
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def _check_stops(stop: Sequence[str]) -> None:
    field = "options.sampling.stop"
    if len(stop) > MAX_STOPS:
        raise InvalidError(
            f"{len(stop)} stop words are more than the {MAX_STOPS} allowed", field=field
        )
    for word in stop:
        if not word:
            raise InvalidError("a stop word is empty; leave it out", field=field)
        if len(word) > MAX_STOP_CHARACTERS:
            raise InvalidError(
                f"a stop word has {len(word)} characters; at most {MAX_STOP_CHARACTERS}",
                field=field,
            )
