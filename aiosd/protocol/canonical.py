"""JSON in the one form that a signature can be over (RFC 8785), and nothing else accepted.

A value has exactly one encoding: keys in the order of their UTF-16 code units, no white space,
numbers as ECMAScript writes them. What is read must be in that form to the byte, so that two
readers of one signed file cannot see two things.
"""

import json
import math
import re
from typing import NoReturn

# RFC 8785, section 3.2.2.3: beyond this a double no longer holds every whole number.
MAX_INTEGER = 2**53 - 1
MAX_BYTES = 262_144
MAX_DEPTH = 32

# A string (one that does not end takes the rest with it), or what opens or closes a level.
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
# ECMAScript writes numbers from 1e-6 to 1e21 without an exponent (ECMA-262, Number::toString).
_PLAIN_FROM, _PLAIN_TO = -6, 21


class CanonicalError(ValueError):
    """The bytes are not canonical JSON, or a value has no canonical form; the message says why."""


def encode(value: object) -> bytes:
    """Return the one encoding of a tree of dicts, lists, texts, numbers, booleans and None.

    Raises:
        CanonicalError: there is something else in it, a number that JSON does not have, a whole
            number beyond 2^53 - 1, or half a surrogate pair.
    """
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise CanonicalError("a text holds half a surrogate pair") from error


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> object:
    """Return the value in `data`, which must be in canonical form.

    Raises:
        CanonicalError: it is longer or deeper than allowed, no JSON, holds a key twice or a number
            that is too large, or is not in canonical form.
    """
    if len(data) > max_bytes:
        raise CanonicalError(f"{len(data)} bytes are over the limit of {max_bytes}")
    _check_depth(data, max_depth)
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise CanonicalError(f"not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise CanonicalError(f"not JSON: {error}") from error
    if encode(value) != data:
        raise CanonicalError("it is JSON, but not in canonical form (RFC 8785)")
    return value


def _check_depth(data: bytes, limit: int) -> None:
    """Refuse nesting before a parser follows it."""
    depth = 0
    for mark in _MARK.finditer(data):
        first = data[mark.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise CanonicalError(f"nested deeper than {limit} levels")
        elif first in b"]}":
            depth -= 1


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a map whose keys are all different."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise CanonicalError(f"the key {key[:64]!r} is there twice")
        found[key] = value
    return found


def _integer(digits: str) -> int:
    """Read a whole number; a long one is refused before it is computed."""
    if len(digits) > len(str(-MAX_INTEGER)) or abs(int(digits)) > MAX_INTEGER:
        raise CanonicalError(f"the number {digits[:24]} is beyond 2^53 - 1")
    return int(digits)


def _real(digits: str) -> float:
    """Read a number with a point or an exponent."""
    value = float(digits)
    if not math.isfinite(value):
        raise CanonicalError(f"the number {digits[:24]} is too large")
    return value


def _constant(word: str) -> NoReturn:
    raise CanonicalError(f"{word} is no number of JSON")


def _write(value: object, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            parts.append({None: "null", True: "true", False: "false"}[value])
        case str():
            parts.append(_text(value))
        case int():
            if abs(value) > MAX_INTEGER:
                raise CanonicalError(f"the number {value:.3e} is beyond 2^53 - 1")
            parts.append(str(value))
        case float():
            parts.append(_number(value))
        case list() | tuple():
            _write_list(value, parts, depth)
        case dict():
            _write_map(value, parts, depth)
        case _:
            raise CanonicalError(f"JSON has no form for a {type(value).__name__}")


def _write_list(items: list[object] | tuple[object, ...], parts: list[str], depth: int) -> None:
    parts.append("[")
    for number, item in enumerate(items):
        if number:
            parts.append(",")
        _write(item, parts, depth + 1)
    parts.append("]")


def _write_map(items: dict[object, object], parts: list[str], depth: int) -> None:
    names = []
    for key in items:
        if not isinstance(key, str):
            raise CanonicalError(f"a key is a {type(key).__name__} and not a text")
        names.append(key)
    parts.append("{")
    for number, key in enumerate(sorted(names, key=_code_units)):
        if number:
            parts.append(",")
        parts.append(f"{_text(key)}:")
        _write(items[key], parts, depth + 1)
    parts.append("}")


def _code_units(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _text(value: str) -> str:
    return f'"{_ESCAPED.sub(_escape, value)}"'


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}"


def _number(value: float) -> str:
    """Write a double as ECMAScript does: the shortest digits that read back as the same double."""
    if not math.isfinite(value):
        raise CanonicalError(f"JSON has no form for the number {value}")
    if value == 0:
        return "0"
    if value.is_integer() and MAX_INTEGER < abs(value) < 10**_PLAIN_TO:
        raise CanonicalError(
            f"the number {value} is beyond 2^53 - 1, and would read as a whole one"
        )
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    return ("-" if value < 0 else "") + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Write digits with the decimal point behind the first `point` of them."""
    if len(digits) <= point <= _PLAIN_TO:
        return digits.ljust(point, "0")
    if 0 < point <= _PLAIN_TO:
        return f"{digits[:point]}.{digits[point:]}"
    if _PLAIN_FROM < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{mantissa}e{point - 1:+d}"
