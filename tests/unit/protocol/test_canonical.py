import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.protocol.canonical import MAX_INTEGER, CanonicalError, decode, encode

# RFC 8785, appendix B.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "becbf647612f3696": "-0.0000033333333333333333",
}

whole = st.integers(-MAX_INTEGER, MAX_INTEGER)
real = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda value: not (value.is_integer() and abs(value) > MAX_INTEGER)
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
trees = st.recursive(
    st.none() | st.booleans() | whole | real | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=16,
)


@pytest.mark.parametrize("bits", NUMBERS)
def test_numbers_are_written_as_the_rfc_has_them(bits: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert encode(value).decode() == NUMBERS[bits]


def test_a_real_that_would_read_as_a_whole_number_beyond_a_double_is_refused() -> None:
    (value,) = struct.unpack(">d", bytes.fromhex("444b1ae4d6e2ef4f"))
    with pytest.raises(CanonicalError, match="whole"):
        encode(value)


def test_keys_are_in_the_order_of_the_rfc() -> None:
    names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7}
    given_order = list(json.loads(encode(names)))
    assert given_order == ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(trees)
def test_what_is_written_reads_back_and_is_json(tree: object) -> None:
    data = encode(tree)
    assert decode(data) == tree
    assert json.loads(data) == tree
    assert encode(decode(data)) == data


@given(st.binary(max_size=64) | st.text('{}[]",:\\0123eE+-.tfn ul', max_size=40).map(str.encode))
def test_bytes_of_any_kind_are_a_value_or_a_typed_error(data: bytes) -> None:
    try:
        value = decode(data)
    except CanonicalError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"b":1,"a":2}', "canonical form"),
        (b'{"a": 1}', "canonical form"),
        (b"[1.0]", "canonical form"),
        (b"[-0]", "canonical form"),
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"9007199254740992", "2\\^53"),
        (b"1" + b"0" * 16_000, "2\\^53"),
        (b"[" * 33 + b"]" * 33, "deeper"),
        (b"[" * 200_000, "deeper"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\u0041"', "canonical form"),
        (b'"\xff"', "UTF-8"),
        (b"", "not JSON"),
        (b'"' + b"a" * 300_000, "limit"),
        (b'\\"' * 100_000, "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(CanonicalError, match=why):
        decode(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, 1e17, b"x", {1: 2}, "\ud800", {1}])
def test_what_has_no_canonical_form_is_not_written(value: object) -> None:
    with pytest.raises(CanonicalError):
        encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CanonicalError, match="deeper"):
        encode(loop)
