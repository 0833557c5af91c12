"""A grammar whose one rule quotes the request: any words of it in a row, as they stand there.

What a model copies out of a text is then a part of it, from a word's start to a word's end. For n
words there are n small rules: each is a word, and then, if it likes, what lies between and the
next one. So the grammar grows with the text and not with its square. A word is a run of letters
and digits, or any other single mark. The text is written as inside a string of JSON.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring

from aiosd.domain.errors import InvalidError
from aiosd.engines.gbnf import Grammar, place_of_rule

MAX_BYTES = 4_096
MAX_WORDS = 64
"""llama.cpp follows every word at which a quotation may begin, for each token of the vocabulary."""

FIELD = "prompt.quote"
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


@dataclass(frozen=True)
class Quoting:
    """A checked grammar, without the definition of its rule that quotes."""

    whole: Grammar
    rest: str
    rule: str

    def grammar(self, texts: Sequence[str], most: int = MAX_BYTES) -> Grammar:
        """Return the grammar for a request of these texts; no quotation goes from one to the next.

        Where they have no word, or too many, or more than `most` bytes as JSON writes them, the
        rule is as the package wrote it.
        """
        if sum(len(encode_basestring(text).encode()) - 2 for text in texts) > most:
            return self.whole
        rules = list(_rules(self.rule, texts))
        if not 0 < len(rules) <= MAX_WORDS:
            return self.whole
        starts = " | ".join(f"{self.rule}-{number}" for number in range(len(rules)))
        return Grammar(
            "\n".join((self.rest, f"{self.rule} ::= {starts}", *rules, "")), self.whole.field
        )


@functools.lru_cache(maxsize=8)
def quoting_of(grammar: Grammar, rule: str) -> Quoting:
    """Return how a checked grammar quotes with the rule of this name.

    Raises:
        InvalidError: it has no such rule, or has the name of one that would be made.
    """
    place = place_of_rule(grammar.text, rule)
    if place is None:
        raise InvalidError(f"the grammar has no rule {rule!r} to quote with", field=FIELD)
    start, end = place
    rest = grammar.text[:start] + grammar.text[end:]
    if re.search(rf"(?<![a-zA-Z0-9-]){re.escape(rule)}-[0-9]+(?![a-zA-Z0-9-])", rest):
        raise InvalidError(
            f"the grammar names {rule}-NUMBER itself: that is what the rules of quoted words "
            "are called; give it another name",
            field=FIELD,
        )
    return Quoting(grammar, rest, rule)


def _rules(rule: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield a rule for each word: the word, and then the next one if that is wanted too."""
    number = 0
    for text in texts:
        words = [match.span() for match in _WORD.finditer(text)]
        for at, (start, end) in enumerate(words, 1):
            line = f"{rule}-{number} ::= {_literal(text[start:end])}"
            number += 1
            if at < len(words):
                gap = text[end : words[at][0]]
                line += f" ({_literal(gap)} {rule}-{number})?" if gap else f" {rule}-{number}?"
            yield line


def _literal(text: str) -> str:
    """Return the GBNF that stands for a text inside a string of JSON.

    The escapes of a GBNF literal are those of JSON, and what JSON has escaped holds no others.
    """
    return encode_basestring(encode_basestring(text)[1:-1])
