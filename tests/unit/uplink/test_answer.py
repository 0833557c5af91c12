"""Whatever an endpoint sends, it ends as an answer or with one of three errors."""

from collections.abc import Mapping

import msgspec
import pytest
from fakes.openai import DONE, counted, event
from hypothesis import given
from hypothesis import strategies as st

from aiosd.net.post import Head, NetError
from aiosd.protocol.openai import OpenaiError, decode_said
from aiosd.uplink.answer import Answer, BrokenAnswerError, RefusedError, read_answer

LIMIT = 4096


class FakePost:
    """Gives these pieces, then ends or breaks."""

    def __init__(self, head: Head, pieces: list[bytes], *, breaks: bool = False) -> None:
        self._head = head
        self._pieces = list(pieces)
        self._breaks = breaks

    def send(self, _path: str, _body: bytes, _headers: Mapping[str, str]) -> Head:
        return self._head

    def read(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._breaks:
            raise NetError("read", "stalled")
        return b""


def stream(*pieces: bytes, breaks: bool = False) -> FakePost:
    return FakePost(Head(200, "text/event-stream", "identity", ""), list(pieces), breaks=breaks)


def read(post: FakePost) -> tuple[Answer, list[str]]:
    answer, pieces = Answer(LIMIT), list[str]()
    read_answer(answer, post, "/x", b"", {}, pieces.append)  # type: ignore[arg-type]
    return answer, pieces


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "usage", "error", "index", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
EVENTS = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda value: b"data: " + msgspec.json.encode(value) + b"\n\n"),
    st.text(max_size=10).map(event),
    st.just(event("", "stop")),
    st.just(counted(3, 4)),
    st.just(DONE),
)


@given(
    pieces=st.lists(EVENTS, max_size=12),
    status=st.sampled_from([200, 200, 200, 204, 301, 404, 500]),
    kind=st.sampled_from(["text/event-stream", "application/json", "text/html", ""]),
    encoding=st.sampled_from(["identity", "identity", "gzip", "br"]),
    breaks=st.booleans(),
)
def test_whatever_comes_ends_as_an_answer_or_with_a_known_error(
    pieces: list[bytes], status: int, kind: str, encoding: str, *, breaks: bool
) -> None:
    post = FakePost(Head(status, kind, encoding, ""), [p for p in pieces if p], breaks=breaks)
    try:
        answer, emitted = read(post)
    except (NetError, RefusedError, BrokenAnswerError):
        return
    assert answer.text == "".join(emitted)
    assert answer.done or answer.finish
    assert answer.size <= LIMIT


@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        said = decode_said(data)
    except OpenaiError as error:
        assert len(str(error)) < 80  # noqa: PT017 - what was sent is not quoted
    else:
        assert said.tokens is None or min(said.tokens.prompt_tokens, 0) == 0


def test_pieces_cut_anywhere_make_the_same_answer() -> None:
    whole = event("Hé") + event("llo") + event("", "stop") + counted(1, 2) + DONE
    for step in (1, 2, 3, 7, 1000):
        cut = [whole[start : start + step] for start in range(0, len(whole), step)]
        answer, pieces = read(stream(*cut))
        assert (answer.text, pieces) == ("Héllo", ["Hé", "llo"])
        assert answer.tokens is not None
        assert answer.tokens.completion_tokens == 2


def test_what_comes_after_done_is_not_read() -> None:
    answer, _ = read(stream(event("a") + DONE + event("b"), event("c")))
    assert answer.text == "a"


def test_pieces_are_passed_on_before_it_breaks() -> None:
    pieces: list[str] = []
    with pytest.raises(NetError):
        read_answer(
            Answer(LIMIT),
            stream(event("a"), event("b"), breaks=True),  # type: ignore[arg-type]
            "/x",
            b"",
            {},
            pieces.append,
        )
    assert pieces == ["a", "b"]
