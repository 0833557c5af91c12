"""One request as it goes up: what is sent, until when, and whether anybody still wants it."""

import hashlib
import time
from collections.abc import Callable, Iterator

import msgspec

from aiosd.domain.errors import (
    AiosdError,
    CancelledError,
    DeadlineError,
    NoRouteError,
    RefusedPrivacyError,
)
from aiosd.domain.inputs import Turn
from aiosd.net.post import Post
from aiosd.policy.outbound.redaction import Redactor
from aiosd.protocol.uplink import Ask


class Case:
    """Made by the thread that takes orders, which may `stop` it; else its own thread's."""

    def __init__(self, ask: Ask, total_seconds: float, on_piece: Callable[[str], None]) -> None:
        """Take a request; `on_piece` takes the text of its answer as it comes."""
        self.ask = ask
        self.began = time.monotonic()
        self.until = self.began + min(ask.seconds or total_seconds, total_seconds)
        self.turns: list[Turn] = []
        self.redactions = 0
        self.digest = ""
        # Once a piece was passed on, no other endpoint may begin anew.
        self.passed_on = False
        self.post: Post | None = None
        self._on_piece = on_piece
        self._stopped = False

    def hide(self, redactor: Redactor) -> None:
        """Take the text without what the owner's patterns fit, and its SHA-256.

        Raises:
            RefusedPrivacyError: a pattern fits what goes along and cannot be hidden in.
            NoRouteError: the answer is to fit a grammar, which no endpoint knows.
        """
        sampling = self.ask.sampling
        if sampling.grammar is not None:
            raise NoRouteError("the uplink's endpoints know no grammar; use json_schema")
        for text in _strings([sampling.stop, sampling.json_schema]):
            if redactor.redact(text)[1]:
                raise RefusedPrivacyError(
                    "this request may not go up: the owner's patterns fit its stop words or schema",
                    forbidden_by="uplink.redact",
                )
        for turn in self.ask.turns:
            text, count = redactor.redact(turn.content)
            self.turns.append(msgspec.structs.replace(turn, content=text))
            self.redactions += count
        text = "\n".join(turn.content for turn in self.turns)
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    def stop(self, *, late: bool = False) -> None:
        """Give the request up: nobody wants it any more, or (`late`) its time is over."""
        self._stopped = self._stopped or not late
        post = self.post
        if post is not None:
            post.abort()

    def over(self) -> AiosdError | None:
        """Return why the request must end now, if it must."""
        if self._stopped:
            return CancelledError("cancelled by the caller")
        now = time.monotonic()
        if now < self.until:
            return None
        waited = now - self.began
        return DeadlineError(
            f"the time was up after {waited:.1f} s, at the uplink",
            stage="running",
            waited_seconds=round(waited, 3),
        )

    def emit(self, text: str) -> None:
        """Pass a piece of the answer on, if the app wants pieces."""
        if self.ask.stream:
            self.passed_on = True
            self._on_piece(text)


def _strings(value: object) -> Iterator[str]:
    """Yield every string in a value of lists and maps."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            left += item
