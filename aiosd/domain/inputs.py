"""What a request may carry: one frozen value per kind of input.

Bytes of an image, a recording or a long series may travel inside the header (`data`) or as an
attachment frame of the message (`frame`, counted from 0), which is never copied into the header.
"""

from enum import StrEnum
from typing import Literal

import msgspec


class InputType(StrEnum):
    """The kinds of input; the tag of each input on the wire and of `input.type` in a manifest."""

    TEXT = "text"
    CHAT = "chat"
    IMAGE = "image"
    AUDIO = "audio"
    SERIES = "series"
    TENSOR = "tensor"
    JSON = "json"


class _Input(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """What all inputs share: the name of the tag."""


class TextInput(_Input, frozen=True, kw_only=True, tag="text"):
    """A text; UTF-8."""

    text: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatInput(_Input, frozen=True, kw_only=True, tag="chat"):
    """A conversation, oldest turn first."""

    messages: list[Turn]


class ImageInput(_Input, frozen=True, kw_only=True, tag="image"):
    """An image file as it is on disk (PNG, JPEG, BMP, GIF, WebP)."""

    data: bytes | None = None
    frame: int | None = None


class AudioInput(_Input, frozen=True, kw_only=True, tag="audio"):
    """A RIFF WAVE file as it is on disk (PCM)."""

    data: bytes | None = None
    frame: int | None = None


class SeriesInput(_Input, frozen=True, kw_only=True, tag="series"):
    """Equally spaced samples, row-major: sample 0 of every column, then sample 1.

    Either `values` or little-endian float32 bytes (`data` or `frame`). NaN means "no reading".
    """

    values: list[float] | None = None
    data: bytes | None = None
    frame: int | None = None
    columns: int = 1
    period_seconds: float | None = None


class TensorInput(_Input, frozen=True, kw_only=True, tag="tensor"):
    """Numbers that are already features: little-endian bytes of `dtype` in C order."""

    dtype: Literal["float32", "int8", "uint8", "int16", "int32", "int64"]
    shape: list[int]
    data: bytes | None = None
    frame: int | None = None


class JsonInput(_Input, frozen=True, kw_only=True, tag="json"):
    """Any JSON value."""

    value: object


Input = TextInput | ChatInput | ImageInput | AudioInput | SeriesInput | TensorInput | JsonInput


_TYPES: dict[type[Input], InputType] = {
    TextInput: InputType.TEXT,
    ChatInput: InputType.CHAT,
    ImageInput: InputType.IMAGE,
    AudioInput: InputType.AUDIO,
    SeriesInput: InputType.SERIES,
    TensorInput: InputType.TENSOR,
    JsonInput: InputType.JSON,
}


def type_of(value: Input) -> InputType:
    """Return the input's kind."""
    return _TYPES[type(value)]


def attachment_index(value: Input) -> int | None:
    """Return which attachment frame the input's bytes are in, or None."""
    return getattr(value, "frame", None)
