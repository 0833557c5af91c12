"""What a caller wants to ask, in plain Python, made into one message of the wire."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from sys import byteorder
from typing import Protocol, TypedDict, Unpack

import msgspec

from aiosd.client.patience import DEADLINE_GRACE_SECONDS, Pending
from aiosd.domain.errors import InvalidError
from aiosd.domain.inputs import (
    AudioInput,
    ChatInput,
    ImageInput,
    Input,
    JsonInput,
    SeriesInput,
    TensorInput,
    TextInput,
    Turn,
    attachment_index,
)
from aiosd.domain.request import Options, Priority, Privacy, Sampling
from aiosd.protocol.codec import decode, encode
from aiosd.protocol.limits import DEFAULT_LIMITS, Limits
from aiosd.protocol.messages import Run, Verb

# From this size on, bytes travel as an attachment frame instead of inside the header.
ATTACH_BYTES = 32 * 1024
# A series of more values than this travels as float32 bytes.
LIST_VALUES = 4096
# A header this small can break a limit on size by no means, so it is not checked again.
TRUSTED_HEADER_BYTES = 1024


class HasToList(Protocol):
    """What numpy arrays and array.array have in common."""

    def tolist(self) -> list[float] | list[list[float]]:
        """Return the values as plain lists."""


Series = Sequence[float] | Sequence[Sequence[float]] | HasToList
File = bytes | str | PathLike[str]


class Ask(TypedDict, total=False):
    """Every keyword of `run` and `stream`.

    Input, exactly one of: `text`; `chat` (turns with role and content); `image`, `audio` (bytes,
    or a path to read); `series` (numbers, or rows of numbers, one per sample; NaN means "no
    reading") with `period_seconds`; `json` (any JSON value).
    Who answers: `expert` by name, `task` such as "text.classify", or neither.
    `stream` is set by the method. `timeout_seconds` replaces the client's own for this request.
    `top_k` is the number of labels to return; `token_top_k` belongs to sampling.
    The rest are the fields of domain.request.Options and Sampling; `sampling` gives them at once.
    """

    text: str
    chat: Sequence[Turn | dict[str, str]]
    image: File
    audio: File
    series: Series
    period_seconds: float
    json: object
    expert: str | None
    task: str | None
    timeout_seconds: float
    deadline_seconds: float | None
    priority: Priority | str
    privacy: Privacy | str
    keep_alive_seconds: float | None
    max_joules: float | None
    max_cost: float | None
    top_k: int | None
    explain: bool
    sampling: Sampling
    max_tokens: int | None
    temperature: float | None
    token_top_k: int | None
    top_p: float | None
    min_p: float | None
    repeat_penalty: float | None
    seed: int | None
    stop: list[str] | None
    json_schema: dict[str, object] | None
    grammar: str | None


_INPUTS = ("text", "chat", "image", "audio", "series", "json")
_OPTIONS = (
    "deadline_seconds",
    "priority",
    "privacy",
    "keep_alive_seconds",
    "max_joules",
    "max_cost",
    "top_k",
    "explain",
)
_SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "min_p",
    "repeat_penalty",
    "seed",
    "stop",
    "json_schema",
    "grammar",
)
_ALL = frozenset((*_INPUTS, *_OPTIONS, *_SAMPLING)) | {
    "period_seconds",
    "expert",
    "task",
    "timeout_seconds",
    "sampling",
    "token_top_k",
}


@dataclass(frozen=True)
class Question:
    """One message, ready to be sent: its frames after the id, and how long to wait for it."""

    frames: list[bytes]
    limit_seconds: float

    def pending(self) -> Pending:
        """Return the state of this question while it is open."""
        return Pending(self.frames, self.limit_seconds)


def verb_question(verb: Verb, limit_seconds: float) -> Question:
    """Return the message for a verb without attachments."""
    return Question([encode(verb)], limit_seconds)


def run_question(
    value: Input | str | None,
    limit_seconds: float,
    *,
    stream: bool,
    limits: Limits = DEFAULT_LIMITS,
    **ask: Unpack[Ask],
) -> Question:
    """Return the message that asks `value`, or the input among `ask`; `limits` are the daemon's.

    Raises:
        InvalidError: no input or two, an unknown keyword, or a limit of the wire is exceeded.
        OSError: a file that was named cannot be read.
    """
    unknown = [name for name in ask if name not in _ALL]
    if unknown:
        raise InvalidError(f"there is no option {unknown[0]!r}", field=unknown[0])
    chosen, attachment = _attach(_input(value, ask))
    run = Run(
        input=chosen, expert=ask.get("expert"), task=ask.get("task"), options=_options(ask, stream)
    )
    frames = [encode(run), *attachment]
    _check(run, frames, limits)
    limit = ask.get("timeout_seconds", limit_seconds)
    deadline = run.options.deadline_seconds
    if deadline is not None and "timeout_seconds" not in ask:
        limit = max(limit, deadline + DEADLINE_GRACE_SECONDS)
    return Question(frames, limit)


def _check(run: Run, frames: list[bytes], limits: Limits) -> None:
    """Refuse here what the daemon would refuse, by the daemon's own check."""
    free = isinstance(run.input, JsonInput) or run.options.sampling.json_schema is not None
    points = attachment_index(run.input) is not None
    if points or free or len(frames[0]) > TRUSTED_HEADER_BYTES:
        decode([b"-", *frames], limits)


def _options(ask: Ask, stream: bool) -> Options:  # noqa: FBT001 -- private, called once
    """Return the options among the keywords.

    Raises:
        InvalidError: a value that the option cannot have.
    """
    given: dict[str, object] = dict(ask)
    token = {name: given[name] for name in _SAMPLING if name in given}
    if "token_top_k" in given:
        token["top_k"] = given["token_top_k"]
    plain = {name: given[name] for name in _OPTIONS if name in given}
    if not (token or plain or "sampling" in given):
        return STREAMED if stream else PLAIN
    try:
        sampling = ask.get("sampling", Sampling())
        if token:
            sampling = msgspec.convert(msgspec.structs.asdict(sampling) | token, Sampling)
        return msgspec.convert(
            plain | {"stream": stream, "sampling": msgspec.structs.asdict(sampling)}, Options
        )
    except msgspec.ValidationError as error:
        raise InvalidError(str(error), field="options") from error


PLAIN = Options()
STREAMED = Options(stream=True)


def _input(value: Input | str | None, ask: Ask) -> Input:
    """Return the one input that was given.

    Raises:
        InvalidError: none was given, or more than one.
    """
    given = [name for name in _INPUTS if name in ask]
    if len(given) + (value is not None) != 1:
        names = ", ".join(given) or "nothing"
        raise InvalidError(
            f"give exactly one input (a value, or one of {', '.join(_INPUTS)}); got {names}"
            + (" beside the value" if given and value is not None else ""),
            field="input",
        )
    if isinstance(value, str):
        return TextInput(text=value)
    return value if value is not None else _named(given[0], ask)


def _named(name: str, ask: Ask) -> Input:
    """Return the input that was given by keyword."""
    match name:
        case "text":
            return TextInput(text=ask["text"])
        case "chat":
            return _chat(ask["chat"])
        case "image":
            return ImageInput(data=_bytes(ask["image"]))
        case "audio":
            return AudioInput(data=_bytes(ask["audio"]))
        case "series":
            return _series(ask["series"], ask.get("period_seconds"))
        case _:
            return JsonInput(value=ask["json"])


def _chat(turns: Sequence[Turn | dict[str, str]]) -> ChatInput:
    """Return a conversation from turns or dicts."""
    try:
        return ChatInput(messages=msgspec.convert(list(turns), list[Turn], from_attributes=True))
    except msgspec.ValidationError as error:
        raise InvalidError(f"chat: {error}", field="input.messages") from error


def _bytes(source: File) -> bytes:
    """Return the bytes, or the content of the file."""
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _series(source: Series, period_seconds: float | None) -> SeriesInput:
    """Return the samples as a list, or as float32 bytes if they are many."""
    rows: Sequence[float | Sequence[float]]
    rows = [*source] if isinstance(source, Sequence) else [*source.tolist()]
    columns = len(rows[0]) if rows and isinstance(rows[0], Sequence) else 1
    try:
        values = list(map(float, _flat(rows)))
    except (TypeError, ValueError) as error:
        raise InvalidError(
            f"a series holds numbers (NaN for a missing one): {error}", field="input.values"
        ) from error
    if len(values) != columns * len(rows):
        raise InvalidError(
            f"every sample of this series must have {columns} values, like the first",
            field="input.values",
        )
    if len(values) <= LIST_VALUES:
        return SeriesInput(values=values, columns=columns, period_seconds=period_seconds)
    packed = array("f", values)
    if byteorder == "big":
        packed.byteswap()
    return SeriesInput(data=packed.tobytes(), columns=columns, period_seconds=period_seconds)


def _flat(rows: Iterable[float | Sequence[float]]) -> Iterable[float]:
    """Return all values, row by row."""
    return chain.from_iterable(row if isinstance(row, Sequence) else (row,) for row in rows)


def _attach(value: Input) -> tuple[Input, list[bytes]]:
    """Move the input's bytes into an attachment frame if they are large."""
    match value:
        case ImageInput() | AudioInput() | SeriesInput() | TensorInput():
            data = value.data
        case _:
            return value, []
    if data is None or len(data) < ATTACH_BYTES:
        return value, []
    return msgspec.structs.replace(value, data=None, frame=0), [data]
