"""The GBNF grammar that permits exactly the JSON of this expert."""

from __future__ import annotations

from collections.abc import Iterable

from tools.train.home_command.labels import INTENTS, SLOTS
from tools.train.home_command.vocabulary import Vocabulary

MAX_SLOTS = 7
MAX_VALUE = 64
VALUE = "value"
"""The rule that quotes the sentence, wherever the sentence is not too long for that."""
QUOTE_MAX = 96
"""Bytes of a sentence that is quoted: seven values of so many tokens fit in an answer."""


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _trie(words: Iterable[str]) -> str:
    """Write alternatives that share their beginnings, so that few of them stay open."""
    heads: dict[str, list[str]] = {}
    for word in sorted(set(words)):
        heads.setdefault(word[:1], []).append(word)
    branches: list[str] = []
    for head, group in heads.items():
        if not head:
            branches.append('""')
            continue
        prefix = head
        while (
            all(len(w) > len(prefix) for w in group)
            and len({w[: len(prefix) + 1] for w in group}) == 1
        ):
            prefix = group[0][: len(prefix) + 1]
        rests = [w[len(prefix) :] for w in group]
        branches.append(_literal(prefix) + ("" if rests == [""] else f" ({_trie(rests)})"))
    return " | ".join(branches)


def slot_names(vocabulary: Vocabulary) -> list[str]:
    """Return every slot key of the vocabulary, with the ``_2`` forms."""
    keys = [p.text[1:-3] for p in vocabulary.pieces if p.text.endswith('":"')]
    return sorted(set(keys) & {*SLOTS, *(f"{s}_2" for s in SLOTS)})


def text(vocabulary: Vocabulary) -> str:
    """Return the grammar file."""
    opening = _literal('{"intent":"')
    middle = _literal('","slots":{')
    return "\n".join((
        "# One JSON object: a closed set of intents and slot names, short string values.",
        f'root ::= {opening} intent {middle} (slot ("," slot){{0,{MAX_SLOTS - 1}}})? "}}}}"',
        'slot ::= "\\"" name "\\":\\"" value "\\""',
        # Where it does not quote the sentence; it begins with no blank, as no labelled value does.
        f"{VALUE} ::= first char{{0,{MAX_VALUE - 1}}}",
        r'first ::= [^ "\\\x00-\x1F\x7F] | "\\" ["\\]',
        r'char ::= [^"\\\x00-\x1F\x7F] | "\\" ["\\]',
        f"intent ::= {_trie(INTENTS)}",
        f"name ::= {_trie(slot_names(vocabulary))}",
        "",
    ))  # fmt: skip
