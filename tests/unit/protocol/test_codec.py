"""Messages ⇄ frames: everything round-trips, and nothing that arrives does harm."""

import contextlib
import struct

import msgpack
import msgspec
import pytest
from fakes.effort import cpu_at_most
from hypothesis import given, settings
from hypothesis import strategies as st

from aiosd.domain import inputs
from aiosd.domain.errors import ERRORS, InvalidError
from aiosd.domain.request import Options, Outcome, Priority, Privacy, Sampling, Usage
from aiosd.protocol import codec, messages
from aiosd.protocol.codec import decode, decode_answer, encode, message_id
from aiosd.protocol.limits import DEFAULT_LIMITS, Limits

TEXT = st.text(max_size=40)
FLOAT = st.floats(allow_nan=False)
POSITIVE = st.integers(0, 2**31)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
BYTES = st.binary(max_size=40)
# The input's bytes come inside the header or as attachment 0, which every message here has.
PLACE = BYTES.map(lambda data: {"data": data}) | st.just({"frame": 0})
INPUTS = st.one_of(
    st.builds(inputs.TextInput, text=TEXT),
    st.builds(
        inputs.ChatInput,
        messages=st.lists(
            st.builds(
                inputs.Turn, role=st.sampled_from(["system", "user", "assistant"]), content=TEXT
            ),
            max_size=3,
        ),
    ),
    PLACE.map(lambda place: inputs.ImageInput(**place)),
    PLACE.map(lambda place: inputs.AudioInput(**place)),
    st.builds(inputs.SeriesInput, values=st.lists(FLOAT, max_size=5), columns=POSITIVE),
    PLACE.map(lambda place: inputs.TensorInput(dtype="int8", shape=[1, 2], **place)),
    st.builds(inputs.JsonInput, value=JSON),
)
SAMPLING = st.builds(
    Sampling,
    max_tokens=st.none() | POSITIVE,
    temperature=st.none() | FLOAT,
    seed=st.none() | POSITIVE,
    stop=st.none() | st.lists(TEXT, max_size=3),
    json_schema=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
)
OPTIONS = st.builds(
    Options,
    stream=st.booleans(),
    deadline_seconds=st.none() | FLOAT,
    priority=st.sampled_from(Priority),
    privacy=st.sampled_from(Privacy),
    top_k=st.none() | POSITIVE,
    sampling=SAMPLING,
)
VERBS = st.one_of(
    st.builds(
        messages.Run, input=INPUTS, expert=st.none() | TEXT, task=st.none() | TEXT, options=OPTIONS
    ),
    st.sampled_from(
        [
            kind()
            for kind in (
                messages.Cancel,
                messages.Ping,
                messages.List,
                messages.Ps,
                messages.Status,
                messages.Reload,
            )
        ]
    ),
    st.builds(messages.Show, expert=TEXT),
    st.builds(messages.Load, expert=TEXT),
    st.builds(messages.Unload, expert=TEXT),
    st.builds(messages.Pin, expert=TEXT, pinned=st.booleans()),
)
DETAILS = st.dictionaries(
    TEXT, TEXT | st.integers(-(2**53), 2**53) | FLOAT | st.booleans() | st.lists(TEXT, max_size=3)
)
ANSWERS = st.one_of(
    st.builds(messages.Chunk, n=POSITIVE, text=TEXT),
    st.builds(messages.Error, code=TEXT, message=TEXT, details=DETAILS),
    st.builds(messages.Reply, body=st.dictionaries(TEXT, JSON, max_size=4)),
    st.builds(
        messages.End,
        outcome=st.builds(
            Outcome,
            expert=TEXT,
            release=POSITIVE,
            why=TEXT,
            output=st.dictionaries(TEXT, JSON, max_size=4),
            cold=st.booleans(),
            usage=st.builds(Usage, run_ms=FLOAT, tokens_in=st.none() | POSITIVE),
        ),
    ),
)


@given(VERBS, st.binary(min_size=1, max_size=64))
def test_what_a_client_says_is_what_the_daemon_hears(verb: messages.Verb, name: bytes) -> None:
    envelope = decode([name, encode(verb), b"attached"])
    assert (envelope.id, envelope.verb, envelope.attachments) == (name, verb, (b"attached",))


@given(ANSWERS)
def test_what_the_daemon_says_is_what_a_client_hears(answer: messages.Answer) -> None:
    assert decode_answer(encode(answer)) == answer


@given(VERBS, st.dictionaries(st.text(min_size=5, max_size=9).map("x-".__add__), JSON, max_size=3))
def test_unknown_keys_are_ignored(verb: messages.Verb, more: dict[str, object]) -> None:
    tree = msgpack.unpackb(encode(verb))
    assert decode([b"1", msgpack.packb(more | tree), b""]).verb == verb


@given(st.lists(st.binary(max_size=200), max_size=12))
def test_random_frames_are_a_message_or_invalid(frames: list[bytes]) -> None:
    with pytest.raises(InvalidError):
        decode(frames)
    assert isinstance(message_id(frames), bytes)


@given(st.binary(max_size=400))
def test_random_answers_are_invalid(header: bytes) -> None:
    with pytest.raises(InvalidError):
        decode_answer(header)


@settings(max_examples=300)
@given(VERBS, st.data())
def test_a_message_with_flipped_bytes_is_a_message_or_invalid(
    verb: messages.Verb, data: st.DataObject
) -> None:
    header = bytearray(encode(verb))
    for _ in range(data.draw(st.integers(1, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidError):
        assert decode([b"1", bytes(header), b""]).id == b"1"


def test_a_tag_that_is_not_utf_8_is_invalid() -> None:
    header = encode(messages.Run(input=inputs.ImageInput(frame=0)))
    spoilt = header.replace(b"\xa5image", b"\xa5\x80mage")
    assert spoilt != header
    with pytest.raises(InvalidError):
        decode([b"1", spoilt, b""])


@settings(max_examples=300)
@given(VERBS, st.data())
def test_a_short_request_means_the_same_read_at_once_and_read_carefully(
    verb: messages.Verb, data: st.DataObject
) -> None:
    header = bytearray(encode(verb))
    for _ in range(data.draw(st.integers(0, 2))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    at_once = codec._run_at_once(bytes(header), DEFAULT_LIMITS)
    if at_once is not None:
        with contextlib.suppress(InvalidError):
            tree = codec._unpack(bytes(header), DEFAULT_LIMITS)
            assert codec._convert(tree, DEFAULT_LIMITS) == at_once


def test_a_usual_request_is_read_at_once() -> None:
    run = messages.Run(input=inputs.TextInput(text="hello"), expert="echo")
    assert codec._run_at_once(encode(run), DEFAULT_LIMITS) == run


def test_a_request_of_another_version_is_never_read_at_once() -> None:
    header = msgpack.packb({"t": "run", "v": 2, "input": {"type": "text", "text": "hello"}})
    assert codec._run_at_once(header, DEFAULT_LIMITS) is None


def test_limits_hold_for_short_headers_too() -> None:
    run = messages.Run(input=inputs.TextInput(text="longer than ten bytes"))
    with pytest.raises(InvalidError):
        decode([b"1", encode(run)], Limits(string_bytes=10))


@given(JSON)
def test_any_map_is_a_message_or_invalid(value: object) -> None:
    header = msgpack.packb({"v": 1, "t": "run", "input": value, "options": value})
    with pytest.raises(InvalidError):
        decode([b"1", header])


NESTED = 400_000
BOMBS = {
    "nested arrays": b"\x91" * NESTED + b"\xc0",
    "nested maps": b"\x81\xa1a" * (NESTED // 3) + b"\xc0",
    "an array that claims four thousand million items": b"\xdd\xff\xff\xff\xff",
    "a map that claims four thousand million entries": b"\xdf\xff\xff\xff\xff",
    "a string that claims four gigabytes": b"\xdb\xff\xff\xff\xff",
    "a bin that claims four gigabytes": b"\xc6\xff\xff\xff\xff",
    "an extension type": b"\x81\xa1v\xd4\x05\x00",
    "an extension that claims four gigabytes": b"\xc9\xff\xff\xff\xff\x01",
    "a time stamp": b"\x81\xa1v\xd6\xff\x00\x00\x00\x00",
    "a text of a megabyte": b"\xdb" + struct.pack(">I", 1 << 20) + b"x" * (1 << 20),
    "many empty arrays": b"\xdd" + struct.pack(">I", 400_000) + b"\x90" * 400_000,
    "arrays in arrays up to the limit": (b"\xdc\xff\xff" + b"\x90" * 65_535) * 7,
    "a text that is not UTF-8": b"\x82\xa1v\x01\xa1t\xa2\xff\xfe",
    "two values": b"\x80\x80",
    "nothing": b"",
    "a list": b"\x90",
    "a key that is a list": b"\x81\x90\xc0",
    "a key that is a map": b"\x81\x80\xc0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    with cpu_at_most(2.0), pytest.raises(InvalidError) as refused:
        decode([b"1", BOMBS[name]])
    assert refused.value.field


@pytest.mark.parametrize("place", ["value", "schema"])
def test_free_values_may_nest_to_the_limit_and_no_further(place: str) -> None:
    def nested(depth: int) -> dict[str, object]:
        value: object = 1
        for _ in range(depth):
            value = {"a": value}
        return {"a": value}

    def message(depth: int) -> list[bytes]:
        value = nested(depth)
        if place == "value":
            return [b"1", encode(messages.Run(input=inputs.JsonInput(value=value)))]
        options = Options(sampling=Sampling(json_schema=value))
        return [b"1", encode(messages.Run(input=inputs.TextInput(text=""), options=options))]

    decode(message(DEFAULT_LIMITS.depth - 1))
    for depth in (DEFAULT_LIMITS.depth + 1, 100, 400):
        with pytest.raises(InvalidError, match="nested"):
            decode(message(depth))


PING = encode(messages.Ping())
SMALL = Limits(
    frames=3, header_bytes=200, attachment_bytes=8, array_items=4, map_items=8, string_bytes=16
)


@pytest.mark.parametrize(
    ("frames", "field", "says"),
    [
        ([], "frames", "2 to 3 frames"),
        ([b"1"], "frames", "this one has 1"),
        ([b"1", PING, b"", b""], "frames", "this one has 4"),
        ([b"", PING], "id", "1 to 64 bytes"),
        ([b"x" * 65, PING], "id", "this one has 65"),
        ([b"1", b"x" * 201], "header", "201 bytes, at most 200"),
        ([b"1", PING, b"x" * 9], "attachments.0", "9 bytes, at most 8"),
    ],
)
def test_every_axis_of_the_frames_has_a_limit(frames: list[bytes], field: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as refused:
        decode(frames, SMALL)
    assert refused.value.field == field


@pytest.mark.parametrize("value", [[0] * 5, dict.fromkeys(map(str, range(9))), "x" * 17])
def test_every_axis_of_the_values_has_a_limit(value: object) -> None:
    header = msgpack.packb({"v": 1, "t": "run", "input": {"type": "json", "value": value}})
    with pytest.raises(InvalidError, match="exceeds"):
        decode([b"1", header], SMALL)
    assert decode([b"1", header]).id == b"1"


@pytest.mark.parametrize("version", [0, 2, None, "1", 1.5, [1]])
def test_another_version_is_refused_and_ours_is_named(version: object) -> None:
    with pytest.raises(InvalidError) as refused:
        decode([b"1", msgpack.packb({"t": "ping", "v": version})])
    assert refused.value.field == "v"
    assert refused.value.details["supported"] == ["1"]


@pytest.mark.parametrize(
    ("tree", "field"),
    [
        ({"t": "run"}, ""),
        ({"t": "run", "input": {"type": "smell"}}, "input.type"),
        ({"t": "run", "input": {"type": "text", "text": 5}}, "input.text"),
        (
            {"t": "run", "input": {"type": "text", "text": ""}, "options": {"top_k": "x"}},
            "options.top_k",
        ),
        ({"t": "show"}, ""),
        ({"t": "fly"}, "t"),
        ({"t": "run", "input": {"type": "image", "frame": 0}}, "input.frame"),
        ({"t": "run", "input": {"type": "image", "frame": -1}}, "input.frame"),
    ],
)
def test_an_error_names_the_field(tree: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidError) as refused:
        decode([b"1", msgpack.packb({"v": 1, **tree})])
    assert refused.value.field == field


def test_attachments_are_not_copied() -> None:
    data = memoryview(b"x" * 1000)
    run = messages.Run(input=inputs.ImageInput(frame=0))
    assert decode([b"1", encode(run), data]).attachments[0] is data


@given(st.sampled_from(sorted(ERRORS)), TEXT, DETAILS)
def test_an_error_crosses_the_wire_as_its_own_class(
    code: str, text: str, details: dict[str, object]
) -> None:
    sent = messages.Error(code=code, message=text, details=details)  # type: ignore[arg-type]
    error = messages.error_of(sent)
    assert type(error) is ERRORS[error.code]
    assert (error.code, error.message) == (code, text)
    assert messages.error_message(error).details == error.details
    assert error.details == ({"field": ""} if code == "invalid" else {}) | details


@pytest.mark.parametrize("name", ["message", "self", "field", "code"])
def test_a_detail_may_be_named_like_a_parameter(name: str) -> None:
    error = messages.error_of(messages.Error(code="invalid", message="m", details={name: "x"}))
    assert (error.message, error.details[name]) == ("m", "x")


def test_an_unknown_code_is_an_expert_that_failed() -> None:
    error = messages.error_of(messages.Error(code="tired", message="later", details={"a": 1}))
    assert (error.code, error.message, error.details) == ("expert_failed", "tired: later", {"a": 1})


def test_a_type_tag_is_used_once() -> None:
    kinds = (*messages.Verb.__args__, *messages.Answer.__args__)
    tags = [msgspec.inspect.type_info(kind).tag for kind in kinds]
    assert len(set(tags)) == len(tags)
