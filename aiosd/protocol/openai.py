"""Chat requests and answers as OpenAI-compatible servers speak them: /chat/completions.

Sent is what all of them know (OpenAI, vLLM, Ray Serve LLM, llama-server); read is only what is
needed, and what is unknown is skipped.
"""

import msgspec

from aiosd.domain.inputs import Turn
from aiosd.domain.request import Sampling

DONE = b"[DONE]"
EVENT_STREAM = "text/event-stream"
JSON = "application/json"


class OpenaiError(Exception):
    """The endpoint sent something that is no answer of such a server."""


class _Delta(msgspec.Struct, frozen=True):
    """A piece of an answer, or all of it."""

    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    """One of the answers; only the first is asked for."""

    index: int = 0
    delta: _Delta = _Delta()
    message: _Delta = _Delta()
    finish_reason: str | None = None


class Tokens(msgspec.Struct, frozen=True):
    """What the server counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct, frozen=True):
    """One event of a stream, or a whole answer."""

    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: Tokens | None = None
    model: str | None = None
    error: object = None


class Said(msgspec.Struct, frozen=True):
    """What one event, or a whole answer, says."""

    text: str = ""
    finish: str = ""
    tokens: Tokens | None = None
    model: str = ""


_DECODER = msgspec.json.Decoder(_Answer)
_ENCODER = msgspec.json.Encoder()


def encode_chat(
    model: str, turns: list[Turn], sampling: Sampling, max_tokens: int, max_tokens_field: str
) -> bytes:
    """Return the body of a request for a streamed answer with its count of tokens."""
    body: dict[str, object] = {
        "model": model,
        "messages": turns,
        "stream": True,
        "stream_options": {"include_usage": True},
        max_tokens_field: max_tokens,
    }
    for name in ("temperature", "top_p", "seed", "stop"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": sampling.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return _ENCODER.encode(body)


def decode_said(data: bytes) -> Said:
    """Return what the data of an event, or a whole body, says.

    Raises:
        OpenaiError: it is no JSON, not UTF-8, no such answer, or says that something went wrong.
    """
    try:
        answer = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OpenaiError(f"sent what is no answer ({type(error).__name__})") from None
    if answer.error is not None:
        # Not quoted: it may repeat what was asked, or part of a key.
        raise OpenaiError("reported an error in the middle of its answer")
    first = next((choice for choice in answer.choices if choice.index == 0), _Choice())
    text = first.delta.content if first.delta.content is not None else first.message.content
    tokens = answer.usage
    if tokens is not None and min(tokens.prompt_tokens, tokens.completion_tokens) < 0:
        raise OpenaiError("counted fewer than no tokens")
    return Said(text or "", first.finish_reason or "", tokens, answer.model or "")
