"""Sentences and labels as token sequences."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.train.home_command.labels import Example, Span, named_spans
from tools.train.home_command.vocabulary import (
    BACKSLASH,
    BEGIN,
    BYTES,
    END,
    INTENT_OPENING,
    NO_SLOTS,
    QUOTE,
    SLOTS_OPENING,
    SPACE,
    VALUE_LAST,
    VALUE_NEXT,
    Vocabulary,
    intent_text,
    slot_opening,
)

STOP = BYTES + ord("\n")
AUXILIARY_STOP = BYTES + ord("\t")
MAX_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Sequence:
    """Tokens of one example; the first ``prompt`` of them are given."""

    tokens: tuple[int, ...]
    prompt: int


def encode(
    example: Example,
    vocabulary: Vocabulary,
    rng: random.Random | None = None,
    drop: float = 0.0,
) -> Sequence | None:
    """Encode sentence and JSON; none where the label set cannot express it."""
    sentence = vocabulary.tokenize(example.text, rng, drop)
    bounds = _bounds(sentence, vocabulary)
    tokens = [BEGIN, *sentence, STOP]
    prompt = len(tokens)
    parts = (INTENT_OPENING, intent_text(example.intent), SLOTS_OPENING)
    tokens.extend(vocabulary.ids[part] for part in parts)
    named = named_spans(example.spans)
    if len(named) != len(example.spans):
        return None
    for at, (name, span) in enumerate(named):
        opening = vocabulary.ids.get(slot_opening(name))
        if opening is None:
            return None
        tokens.append(opening)
        tokens.extend(_value(example.text, span, sentence, bounds, vocabulary))
        last = at == len(named) - 1
        tokens.append(vocabulary.ids[VALUE_LAST if last else VALUE_NEXT])
    if not named:
        tokens.append(vocabulary.ids[NO_SLOTS])
    tokens.append(END)
    return Sequence(tuple(tokens), prompt) if len(tokens) <= MAX_TOKENS else None


def encode_steps(example: Example, vocabulary: Vocabulary) -> Sequence | None:
    """Encode a sentence and, after another stop, what its parts are: slots without the intent."""
    whole = encode(example, vocabulary)
    if whole is None:
        return None
    head = (*whole.tokens[: whole.prompt - 1], AUXILIARY_STOP)
    # The opening, the intent and the opening of the slots stand before the parts.
    return Sequence((*head, *whole.tokens[whole.prompt + 3 :]), whole.prompt)


def encode_auxiliary(text: str, label: int, vocabulary: Vocabulary) -> Sequence:
    """Encode a sentence of the auxiliary task; its labels follow the vocabulary."""
    tokens = [BEGIN, *vocabulary.tokenize(text), AUXILIARY_STOP]
    return Sequence((*tokens, len(vocabulary.pieces) + label), len(tokens))


def token_starts(text: str, sentence: list[int], vocabulary: Vocabulary) -> dict[int, int]:
    """Map places of `text`, in characters, to the token of `sentence` that starts there."""
    bounds = _bounds(sentence, vocabulary)
    found: dict[int, int] = {}
    at = len(SPACE.encode())
    for place, char in enumerate(text):
        if at in bounds:
            found[place] = bounds[at]
        at += len((SPACE if char == " " else char).encode())
    found.setdefault(0, 0)
    return found


def _bounds(sentence: list[int], vocabulary: Vocabulary) -> dict[int, int]:
    """Map byte offsets (after the added blank) to the token that starts there."""
    blank = len(SPACE.encode())
    at = 0
    bounds: dict[int, int] = {}
    for index, token in enumerate(sentence):
        piece = vocabulary.pieces[token]
        bounds[at] = index
        if piece.kind != "byte" and piece.text.startswith(SPACE) and len(piece.text) > 1:
            bounds.setdefault(at + blank, index)
        at += 1 if piece.kind == "byte" else len(piece.text.encode())
    bounds[at] = len(sentence)
    return bounds


def _value(
    text: str, span: Span, sentence: list[int], bounds: dict[int, int], vocabulary: Vocabulary
) -> list[int]:
    def offset(at: int) -> int:
        return len((SPACE + text[:at]).replace(" ", SPACE).encode())

    first = bounds.get(offset(span.start))
    after = bounds.get(offset(span.end))
    if first is None or after is None or after <= first:
        tokens = _stripped(vocabulary.tokenize(text[span.start : span.end]), vocabulary)
    else:
        tokens = _stripped(sentence[first:after], vocabulary)
    escapes = {
        vocabulary.ids['"']: vocabulary.ids[QUOTE],
        BYTES + ord("\\"): vocabulary.ids[BACKSLASH],
    }
    return [escapes.get(token, token) for token in tokens]


def _stripped(tokens: list[int], vocabulary: Vocabulary) -> list[int]:
    head = tokens[0]
    if head == vocabulary.ids[SPACE]:
        return tokens[1:]
    return [vocabulary.bare.get(head, head), *tokens[1:]]
