"""Steps for text that a model wrote: strip it, read the JSON in it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiosd.domain.errors import ExpertFailedError
from aiosd.domain.post_steps import JsonParse, TextStrip
from aiosd.domain.step import Step
from aiosd.pipelines.answer import Answer

Call = Callable[[object], object]

SHOWN = 80  # characters of a bad answer that its error quotes
_LOW, _HIGH = -(2**63), 2**64 - 1  # what MessagePack holds
_LONGEST = 20  # digits or sign of those


def _text(value: object, step: str) -> tuple[Answer, str]:
    if not isinstance(value, Answer) or value.text is None:
        raise ExpertFailedError(f"{step} needs a generated text", reason="no text")
    return value, value.text


def strip(spec: TextStrip, folder: Path) -> Call:
    """Make a callable that cuts white space from both ends of the text."""
    del spec, folder

    def call(value: object) -> object:
        answer, text = _text(value, "text.strip")
        return replace(answer, text=text.strip())

    return call


def parse(spec: JsonParse, folder: Path) -> Call:
    """Make a callable that writes `value`: the first JSON value in the text.

    The text may hold words around an object or an array, as models without a grammar write them.
    """
    del spec, folder
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_int=_integer)

    def call(value: object) -> object:
        answer, text = _text(value, "json.parse")
        found = _first(decoder, text.strip())
        return replace(answer, output={**answer.output, "value": found})

    return call


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    """Return an integer that the wire can hold, else the nearest float."""
    if len(digits) > _LONGEST:
        return float(digits)
    number = int(digits)
    return number if _LOW <= number <= _HIGH else float(number)


def _first(decoder: json.JSONDecoder, text: str) -> object:
    """Return the value that the whole text is, or the first object or array in it.

    Only the first bracket counts: what is inside a broken object is not the answer.
    """
    start = 0
    if text[:1] != '"':  # a string may hold brackets
        start = min((place for place in map(text.find, "{[") if place >= 0), default=0)
    try:
        found, end = decoder.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        if isinstance(found, dict | list) or end == len(text):
            return found
        reason = "prose, not JSON"
    raise ExpertFailedError(f"the expert's answer is not JSON: {text[:SHOWN]!r}", reason=reason)


STEPS: dict[type[Step], Callable[[Any, Path], Call]] = {TextStrip: strip, JsonParse: parse}
