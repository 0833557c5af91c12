"""Messages ⇄ frames: what arrives is checked on every axis, and an error names the field."""

import re
from collections.abc import Sequence

import msgpack
import msgspec

from aiosd.domain.errors import InvalidError
from aiosd.domain.inputs import JsonInput, attachment_index
from aiosd.protocol.limits import DEFAULT_LIMITS, Limits
from aiosd.protocol.messages import VERSION, Answer, Run, Verb

Buffer = bytes | memoryview
MIN_FRAMES = 2

_ENCODER = msgspec.msgpack.Encoder()
_RUNS = msgspec.msgpack.Decoder(Run)
# A header that begins like this (after its length) names the version it speaks.
_USUAL_BEGINNING = b"\xa1t\xa3run\xa1v\x01"
_USUAL_END = 1 + len(_USUAL_BEGINNING)
_ANSWERS = msgspec.msgpack.Decoder(Answer)
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class Envelope(msgspec.Struct, frozen=True):
    """One decoded message: its id, what it says, and the attachments it came with."""

    id: bytes
    verb: Verb
    attachments: tuple[Buffer, ...] = ()


def encode(message: Verb | Answer) -> bytes:
    """Return the header frame of `message`."""
    return _ENCODER.encode(message)


def decode_answer(header: Buffer) -> Answer:
    """Return what the daemon says in a header frame.

    Raises:
        InvalidError: this is no message of version 1.
    """
    try:
        answer: Answer = _ANSWERS.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"the daemon sent something else than aiosd's wire: {error}") from error
    return answer


def message_id(frames: Sequence[Buffer], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the id to answer to, or nothing where the first frame cannot be one."""
    if not frames or not 1 <= len(frames[0]) <= limits.id_bytes:
        return b""
    return bytes(frames[0])


def decode(frames: Sequence[Buffer], limits: Limits = DEFAULT_LIMITS) -> Envelope:
    """Return what a client says in these frames (without ZeroMQ's identity frame).

    Raises:
        InvalidError: too large on some axis, not MessagePack, another version, or not a message.
    """
    usual = len(frames) == MIN_FRAMES and 1 <= len(frames[0]) <= limits.id_bytes
    if not usual or len(frames[1]) > limits.harmless_bytes:
        _check_frames(frames, limits)
    request, header = frames[0], frames[1]
    verb = _run_at_once(header, limits) or _convert(_unpack(header, limits), limits)
    if isinstance(verb, Run) and attachment_index(verb.input) is not None:
        _check_attachment(verb, len(frames) - MIN_FRAMES)
    return Envelope(bytes(request), verb, tuple(frames[MIN_FRAMES:]))


def _check_frames(frames: Sequence[Buffer], limits: Limits) -> None:
    """Refuse a message whose frames are too many, too few or too large."""
    if not MIN_FRAMES <= len(frames) <= limits.frames:
        raise InvalidError(
            f"a message has {MIN_FRAMES} to {limits.frames} frames (id, header, attachments), "
            f"this one has {len(frames)}",
            field="frames",
        )
    if not 1 <= len(frames[0]) <= limits.id_bytes:
        raise InvalidError(
            f"the id frame has 1 to {limits.id_bytes} bytes, this one has {len(frames[0])}",
            field="id",
        )
    if len(frames[1]) > limits.header_bytes:
        raise InvalidError(
            f"the header has {len(frames[1])} bytes, at most {limits.header_bytes} are allowed; "
            "send large data as an attachment frame",
            field="header",
        )
    for number, frame in enumerate(frames[MIN_FRAMES:]):
        if len(frame) > limits.attachment_bytes:
            raise InvalidError(
                f"attachment {number} has {len(frame)} bytes, "
                f"at most {limits.attachment_bytes} are allowed",
                field=f"attachments.{number}",
            )


def _run_at_once(header: Buffer, limits: Limits) -> Run | None:
    """Return a usual, short `run` decoded in one go; None wherever the careful way must look.

    One go takes a twentieth of the time. It counts nothing, so the header must be too short to
    break any limit: an item takes a byte at least, a pair of a map two. Values of any type (JSON, a
    schema) may nest or hold extension types, and a wrong header needs its field named.
    """
    if len(header) > limits.harmless_bytes or header[1:_USUAL_END] != _USUAL_BEGINNING:
        return None
    try:
        run = _RUNS.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    free = isinstance(run.input, JsonInput) or run.options.sampling.json_schema is not None
    return None if free or run.v != VERSION else run


def _unpack(header: Buffer, limits: Limits) -> dict[str, object]:
    """Return the header as plain values, within the limits of every axis."""
    try:
        tree = msgpack.unpackb(
            header,
            max_array_len=limits.array_items,
            max_map_len=limits.map_items,
            max_str_len=limits.string_bytes,
            max_bin_len=limits.binary_bytes,
            max_ext_len=0,
        )
    except RecursionError as error:
        raise InvalidError("the header is nested too deeply", field="header") from error
    except (ValueError, TypeError) as error:
        text = str(error) or type(error).__name__
        if " exceeds max_" in text:
            text += "; send large data as an attachment frame, or less of it"
        raise InvalidError(
            f"the header is not acceptable MessagePack: {text}", field="header"
        ) from (error)
    if not isinstance(tree, dict):
        raise InvalidError(
            f"the header is a MessagePack map, this is {type(tree).__name__}", field="header"
        )
    version = tree.get("v")
    if version != VERSION:
        raise InvalidError(
            f"this daemon speaks version {VERSION} of the wire, the message says v = {version!r}",
            field="v",
            supported=[str(VERSION)],
        )
    return tree


def _convert(tree: dict[str, object], limits: Limits) -> Verb:
    """Return the plain values as a typed message."""
    try:
        verb: Verb = msgspec.convert(tree, Verb, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        where = place["path"] if place else ""
        raise InvalidError(_PLACE.sub("", text), field=where) from error
    except RecursionError as error:
        raise InvalidError("the header is nested too deeply", field="header") from error
    if isinstance(verb, Run):
        free = (("input.value", verb.input.value if isinstance(verb.input, JsonInput) else None),)
        schema = verb.options.sampling.json_schema
        for name, value in (*free, ("options.sampling.json_schema", schema)):
            if not _shallow(value, limits.depth):
                raise InvalidError(f"{name} is nested deeper than {limits.depth}", field=name)
    return verb


def _shallow(value: object, depth: int) -> bool:
    """Tell whether `value` nests no deeper than `depth`, without recursion."""
    level: list[object] = [value]
    for _ in range(depth + 1):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return True
        level = deeper
    return False


def _check_attachment(verb: Run, count: int) -> None:
    """Refuse an input that points at an attachment which did not come."""
    index = attachment_index(verb.input)
    if index is not None and not 0 <= index < count:
        raise InvalidError(
            f"input.frame is {index}, but {count} attachment frames came", field="input.frame"
        )
