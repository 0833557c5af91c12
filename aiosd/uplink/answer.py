"""An answer as it comes in: a stream of events, or one body where the server cannot stream."""

import time
from collections.abc import Callable, Mapping

from aiosd.net.post import Head, Post
from aiosd.protocol.openai import DONE, EVENT_STREAM, JSON, OpenaiError, Said, Tokens, decode_said
from aiosd.protocol.sse import SseError, SseReader


class RefusedError(Exception):
    """The endpoint refused, in `head`; its words are not repeated, they may hold part of a key."""

    def __init__(self, head: Head) -> None:
        """Take how its answer began."""
        super().__init__(_meaning(head))
        self.head = head


class BrokenAnswerError(Exception):
    """What came is no answer, too long, or not all of it."""


class Answer:
    """What came so far."""

    def __init__(self, limit: int) -> None:
        """Refuse what is longer than `limit` bytes on the wire."""
        self.limit = limit
        self.size = 0
        self.text = ""
        self.finish = ""
        self.model = ""
        self.tokens: Tokens | None = None
        self.first_at: float | None = None
        self.done = False
        self._parts: list[str] = []

    def count(self, piece: bytes) -> bytes:
        """Count bytes that came.

        Raises:
            BrokenAnswerError: they are too many.
        """
        self.size += len(piece)
        if self.size > self.limit:
            raise BrokenAnswerError(f"sent more than {self.limit} bytes")
        return piece

    def take(self, said: Said, emit: Callable[[str], None]) -> None:
        """Take one event."""
        if said.text:
            if self.first_at is None:
                self.first_at = time.monotonic()
            self._parts.append(said.text)
            emit(said.text)
        self.finish = said.finish or self.finish
        self.tokens = said.tokens or self.tokens
        self.model = said.model[:200] or self.model

    def close(self) -> None:
        """Put the text together.

        Raises:
            BrokenAnswerError: the end is missing.
        """
        self.text = "".join(self._parts)
        # Some servers never say [DONE]; a reason for the end is as good.
        if not (self.done or self.finish):
            raise BrokenAnswerError("broke off in the middle of its answer")


def read_answer(
    answer: Answer,
    post: Post,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    emit: Callable[[str], None],
) -> None:
    """Send a request and read its answer into `answer`, giving each piece of text to `emit`.

    Raises:
        NetError: the connection failed.
        RefusedError: the endpoint refused.
        BrokenAnswerError: what came is no answer.
    """
    head = post.send(path, body, headers)
    if head.is_error:
        raise RefusedError(head)
    if head.encoding != "identity":
        raise BrokenAnswerError("sent a packed answer, which was not asked for")
    try:
        if head.content_type == EVENT_STREAM:
            _read_events(answer, post, emit)
        elif head.content_type == JSON:
            _read_body(answer, post, emit)
        else:
            raise BrokenAnswerError("sent neither events nor JSON")
        answer.close()
    except (OpenaiError, SseError) as error:
        raise BrokenAnswerError(str(error)) from None


def _read_events(answer: Answer, post: Post, emit: Callable[[str], None]) -> None:
    reader = SseReader(answer.limit)
    while not answer.done:
        piece = answer.count(post.read())
        for data in reader.feed(piece) if piece else reader.close():
            if data.strip() == DONE:
                answer.done = True
                break
            answer.take(decode_said(data), emit)
        if not piece:
            return


def _read_body(answer: Answer, post: Post, emit: Callable[[str], None]) -> None:
    parts = []
    while piece := answer.count(post.read()):
        parts.append(piece)
    answer.take(decode_said(b"".join(parts)), emit)
    answer.done = True


def _meaning(head: Head) -> str:
    """Say what a status means for whoever must act."""
    known = {
        401: "the key was refused (401): the owner must change it",
        402: "it wants money (402)",
        403: "the key may not do this (403)",
        404: "there is no such path or model (404): see url and model",
        413: "the request is too large for it (413)",
        429: "too many requests (429)",
    }
    if head.status in known:
        return known[head.status]
    if 300 <= head.status < 400:  # noqa: PLR2004 - the class of redirects
        return f"it leads somewhere else ({head.status}), which is not followed: see url"
    return f"status {head.status}"
