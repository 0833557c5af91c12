"""TOML text ⇄ typed values, strict to the key; an error names the line that is wrong."""

import re
import tomllib
from typing import TypeVar

import msgspec

from aiosd.domain.errors import ConfigError

T = TypeVar("T")

_PATH = re.compile(r" - at `(?P<path>[^`]+)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]+)`")
_SYNTAX_LINE = re.compile(r"\(at line (?P<line>\d+)")
_INDEX = re.compile(r"\[(?P<index>\d+)\]")


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
