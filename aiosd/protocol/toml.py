"""TOML text ⇄ typed values, strict to the key; an error names the line that is wrong."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from aiosd.domain.errors import ConfigError

T = TypeVar("T")

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]+)`")
_SYNTAX_LINE = re.compile(r"\(at line (?P<line>\d+)")
_INDEX = re.compile(r"\[(?P<index>\d+)\]")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def decode_toml(text: str, kind: type[T], *, path: str = "") -> T:
    """Return `text` as a value of `kind`.

    Raises:
        ConfigError: the text is not TOML, or does not fit `kind`; with the line where known.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _SYNTAX_LINE.search(str(error))
        raise ConfigError(str(error), path=path, line=int(found["line"]) if found else 0) from error
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), path=path, line=_line_of(text, str(error))) from error


def encode_toml(tree: Mapping[str, object]) -> str:
    """Return a tree of maps, lists, texts, numbers and booleans as TOML, in the order of its keys.

    Raises:
        TypeError: there is something else in it.
    """
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in tree.items()
        if not _is_table(value) and not _are_tables(value)
    ]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *(f"{_key(k)} = {_value(v)}" for k, v in value.items())]
        elif isinstance(value, list) and _are_tables(value):
            for table in value:
                lines += ["", f"[[{_key(key)}]]"]
                lines += [f"{_key(k)} = {_value(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    """Write a value on one line; texts as JSON writes them, which is a form of TOML's too."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case _:
            raise TypeError(f"TOML has no form for a {type(value).__name__}")


def _line_of(text: str, message: str) -> int:
    """Find the line that a validation message is about; 0 if it cannot be told."""
    place = _PATH.search(message)
    parts = place["path"].removeprefix("$").lstrip(".").split(".") if place else []
    unknown = _UNKNOWN.search(message)
    if unknown:
        parts.append(unknown["key"])
    parts = [part for part in parts if part]
    if not parts:
        return 0
    lines = text.splitlines()
    start, last = 0, 0
    for part in parts:
        name, index = _INDEX.sub("", part), _INDEX.search(part)
        found = _find(lines, name, start, int(index["index"]) if index else 0)
        if found:
            start = last = found
    return last


def _find(lines: list[str], name: str, start: int, skip: int) -> int:
    """Return the number (from 1) of the line at or after `start` that opens or sets `name`."""
    header = re.compile(rf"^\s*\[\[?\s*(?:[\w.-]+\.)?{re.escape(name)}\s*\]\]?")
    setting = re.compile(rf"^\s*(?:\"{re.escape(name)}\"|{re.escape(name)})\s*[=.]")
    for number, line in enumerate(lines, start=1):
        if number < start or not (header.match(line) or setting.match(line)):
            continue
        if skip == 0:
            return number
        skip -= 1
    return 0
