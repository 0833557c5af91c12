"""A request's text put into the manifest's template: what a text engine is asked.

The template is cut once, at its slots; the user's words are joined between the pieces and never
searched, so braces or markers in them mean nothing. `TextPrompt.literal` says which parts of the
text are the user's, so that an engine reads special tokens only in the template's.
"""

import re
from pathlib import Path

import msgspec

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.inputs import ChatInput, InputType, TextInput, Turn
from aiosd.domain.manifest import Manifest, Prompt
from aiosd.domain.prepared import TextPrompt
from aiosd.domain.request import Sampling
from aiosd.pipelines.files import read_text

_LIMITS: dict[str, tuple[float, float]] = {
    "max_tokens": (1, 1_048_576),
    "temperature": (0.0, 100.0),
    "top_k": (0, 1_048_576),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.0, 100.0),
    "seed": (-(2**31), 2**32 - 1),
}
_TURN_SLOTS = re.compile(r"(\{role\}|\{content\})")
_RULES = re.compile(r"^([a-zA-Z0-9-]+)[ \t]*::=", re.MULTILINE)
MAX_STOPS = 16


class PromptWriter:
    """Writes prompts for one manifest; made once per worker."""

    def __init__(self, manifest: Manifest, folder: Path, *, embed: bool) -> None:
        """Cut the template and read the grammar.

        Raises:
            PackageError: the template lacks a slot or has it twice, the grammar is missing or
                lacks the rule that is to quote, or the JSON schema is not JSON.
        """
        own = manifest.prompt or Prompt()
        self._own = own
        self._embed = embed
        self._margin = manifest.check is not None and manifest.check.kind == "token_margin"
        self._chat = manifest.input.type is InputType.CHAT
        slot = "{turns}" if self._chat else "{text}"
        pieces = own.template.split(slot)
        if len(pieces) != 2:  # noqa: PLR2004 - before and after the slot
            raise PackageError(
                f"prompt.template must hold {slot} exactly once, not {len(pieces) - 1} times"
            )
        self._head, self._tail = pieces
        self._turn = _TURN_SLOTS.split(own.turn)
        if self._chat and self._turn.count("{content}") != 1:
            raise PackageError("prompt.turn must hold {content} exactly once for chat input")
        if own.grammar is not None and own.json_schema:
            raise PackageError("prompt.grammar and prompt.json_schema exclude each other")
        self._grammar = None if own.grammar is None else read_text(folder, own.grammar)
        self._quote = own.quote
        _check_quote(own.quote, self._grammar)
        self._schema = own.json_schema or None
        if self._schema is not None:
            try:
                msgspec.json.decode(self._schema, type=dict[str, object])
            except msgspec.DecodeError as error:
                raise PackageError(f"prompt.json_schema is not a JSON object: {error}") from error
        try:
            _check(own.sampling, "prompt.sampling")
        except InvalidError as error:
            raise PackageError(error.message) from error

    def write(self, value: str | TextInput | ChatInput, sampling: Sampling) -> TextPrompt:
        """Return the finished prompt; what `sampling` leaves None comes from the manifest.

        Stop words of the template always hold; the request's replace those of the manifest's
        sampling. A plain text given to a chat expert is one turn of the user.

        Raises:
            InvalidError: an empty conversation, or a sampling value out of its range.
        """
        _check(sampling, "options.sampling")
        text, literal = self._fill(value)
        own = self._own.sampling
        stop = own.stop if sampling.stop is None else sampling.stop
        grammar, schema = self._constraint(sampling)
        merged = {name: getattr(sampling, name) for name in _LIMITS}
        return TextPrompt(
            text=text,
            literal=literal,
            sampling=Sampling(
                **{
                    name: getattr(own, name) if given is None else given
                    for name, given in merged.items()
                }
            ),
            stop=(*self._own.stop, *(stop or ())),
            grammar=grammar,
            # A grammar of the request knows nothing of the package's rule.
            quote=self._quote if grammar is not None and grammar is self._grammar else "",
            quote_max=self._own.quote_max,
            json_schema=schema,
            add_bos=self._own.add_bos,
            special=self._own.special,
            embed=self._embed,
            margin=self._margin,
        )

    def _fill(self, value: str | TextInput | ChatInput) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Return the prompt's text and where in it the user's words are."""
        if isinstance(value, TextInput):
            value = value.text
        if isinstance(value, str) and not self._chat:
            start = len(self._head)
            return self._head + value + self._tail, ((start, start + len(value)),)
        turns = [Turn(role="user", content=value)] if isinstance(value, str) else value.messages
        if not turns:
            raise InvalidError(
                "the conversation is empty; send at least one turn", field="input.messages"
            )
        written, length = [self._head], len(self._head)
        literal: list[tuple[int, int]] = []
        for turn in turns:
            for piece in self._turn:
                text = piece
                if piece == "{role}":
                    text = turn.role
                elif piece == "{content}":
                    text = turn.content
                    literal.append((length, length + len(text)))
                written.append(text)
                length += len(text)
        return "".join((*written, self._tail)), tuple(literal)

    def _constraint(self, sampling: Sampling) -> tuple[str | None, str | None]:
        """Return the GBNF grammar and the JSON schema in force, of which one is None."""
        for source in (sampling, self._own.sampling):
            if source.grammar is not None:
                return source.grammar, None
            if source.json_schema is not None:
                return None, msgspec.json.encode(source.json_schema).decode()
        return self._grammar, self._schema


def _check_quote(rule: str, grammar: str | None) -> None:
    """Raise PackageError unless a rule that is to quote is one of the grammar."""
    if not rule:
        return
    if grammar is None:
        raise PackageError("prompt.quote names a rule of prompt.grammar, and there is no grammar")
    if rule not in _RULES.findall(grammar):
        raise PackageError(f"prompt.quote names {rule!r}, which is no rule of prompt.grammar")


def _check(sampling: Sampling, field: str) -> None:
    """Raise InvalidError unless every value given is within its limits."""
    for name, (low, high) in _LIMITS.items():
        value = getattr(sampling, name)
        if value is not None and not low <= value <= high:
            raise InvalidError(
                f"{name} must be within {low} and {high}, not {value}", field=f"{field}.{name}"
            )
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise InvalidError(
            "grammar and json_schema exclude each other; send one", field=f"{field}.grammar"
        )
    if len(sampling.stop or ()) > MAX_STOPS or "" in (sampling.stop or ()):
        raise InvalidError(
            f"at most {MAX_STOPS} stop words, none of them empty", field=f"{field}.stop"
        )
