"""Text → words → places in a hashed table of n-grams: what the router sees of a text.

Two and four characters within a word (with a space on both sides), the word, it and the one before
it, and it and the one before that. Nothing but the pairs reaches over a word's end, so that all
that is seen of a word is known from the word alone: whoever has added that up once need not again
(`recent.py`). Characters and words are hashed by FNV-1a (Fowler, Noll, Vo), pairs by multiplying
(Knuth, volume 3, section 6.4).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

BITS = 14
PLACES = 1 << BITS
# A text counts by its head and its tail: what is asked stands at one of the two.
MOST_CHARACTERS = 384
_RAW_FACTOR = 2

# FNV-1a's, for 32 bits.
BASIS = 0x811C9DC5
PRIME = 0x01000193
MASK = 0xFFFFFFFF
_WORD_MARK = 0x1F
# Odd numbers near golden sections of 2^32: a pair's place are the highest bits of a sum of two
# products, which are known for each word.
BEFORE, AFTER, LONG_BEFORE = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PAIR_SHIFT = 32 - BITS
_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]+")
_DIGIT = re.compile(r"\d")
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"'})


def normal(text: str) -> str:
    """Return the normal form of a text: NFKC, lower case, digits as 0, single spaces, cut."""
    text = _cut(text, MOST_CHARACTERS * _RAW_FACTOR)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    text = _DIGIT.sub("0", text.lower())
    return _cut(" ".join(text.split()), MOST_CHARACTERS)


def spoken(text: str) -> list[str]:
    """Return the words of a text in normal form, in order; signs in a row are one, too."""
    # Where there is nothing but words, they lie between the spaces.
    return text.split() if text.replace(" ", "").isalnum() else _WORD.findall(text)


class Seen(NamedTuple):
    """What is seen of a word: its hash, its places, each once, and its parts of its pairs' hashes.

    `before` and `long_before` count with the `after` of the next word and of the one after that.
    """

    hash: int
    places: tuple[int, ...]
    before: int
    after: int
    long_before: int


def seen(word: str) -> Seen:
    """Return what is seen of a word in normal form."""
    value = hash_of(word)
    return Seen(
        value,
        tuple({_place(value), *_characters(word)}),
        value * BEFORE & MASK,
        value * AFTER & MASK,
        value * LONG_BEFORE & MASK,
    )


def hash_of(word: str) -> int:
    """Return the hash of a word in normal form.

    It begins with a byte that no text has, so that a word is not the same characters.
    """
    return _fold(_AT_WORD, word.encode("utf-8", "surrogatepass"))


def neighbours(words: Sequence[Seen]) -> list[int]:
    """Return the places of the pairs of words that stand together, in order."""
    return [(one.before + other.after & MASK) >> PAIR_SHIFT for one, other in pairwise(words)]


def over_one(words: Sequence[Seen]) -> list[int]:
    """Return the places of the pairs of words with one between them, in order."""
    return [
        (one.long_before + other.after & MASK) >> PAIR_SHIFT
        for one, other in zip(words, words[2:], strict=False)
    ]


def places(text: str) -> list[int]:
    """Return the places of a text in normal form: those of each word, and of the pairs."""
    words = [seen(word) for word in spoken(text)]
    alone = chain.from_iterable(word.places for word in words)
    return [*alone, *neighbours(words), *over_one(words)]


class Grams:
    """The n-grams of a text in normal form, to explain them."""

    def __init__(self, text: str) -> None:
        """Look at a text."""
        self.words = spoken(text)
        self._spelt = {word: _characters(word) for word in dict.fromkeys(self.words)}
        self._hash_of = {word: hash_of(word) for word in self._spelt}
        self.hashes = [self._hash_of[word] for word in self.words]

    def times(self, *, far: bool) -> dict[int, int]:
        """Return how often each place is in the text; `far` with the pairs over one word."""
        found: dict[int, int] = {}
        so_far, hashes = found.get, self.hashes
        for word, count in Counter(self.words).items():
            for place in {_place(self._hash_of[word]), *self._spelt[word]}:
                found[place] = so_far(place, 0) + count
        said = [_pair(one, other, BEFORE) for one, other in pairwise(hashes)]
        if far:
            said += [
                _pair(one, other, LONG_BEFORE)
                for one, other in zip(hashes, hashes[2:], strict=False)
            ]
        for place in said:
            found[place] = so_far(place, 0) + 1
        return found

    def name(self, place: int) -> str:
        """Return an n-gram of characters in a place, else the word or the pair there.

        Of words and characters in one place the characters are named: no more is known.
        """
        for word, spelt in self._spelt.items():
            if place in spelt:
                # Those of two characters come first: one for each character but the last.
                start = spelt.index(place)
                twos = len(word) + 1
                spaced = f" {word} "
                if start < twos:
                    return spaced[start : start + 2]
                return spaced[start - twos : start - twos + 4]
        for word, value in self._hash_of.items():
            if _place(value) == place:
                return word
        words, hashes = self.words, self.hashes
        for far, factor, between in ((1, BEFORE, " "), (2, LONG_BEFORE, " … ")):
            for at, (one, other) in enumerate(zip(hashes, hashes[far:], strict=False)):
                if _pair(one, other, factor) == place:
                    return f"{words[at]}{between}{words[at + far]}"
        return ""


def _pair(one: int, other: int, factor: int) -> int:
    """Return the place of a pair of words, by their hashes."""
    return (one * factor + other * AFTER & MASK) >> PAIR_SHIFT


def _cut(text: str, most: int) -> str:
    """Return at most `most` characters: the head, one space, and the tail."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half].rstrip()} {text[half + 1 - most :].lstrip()}"


def _characters(word: str) -> list[int]:
    """Return the places of the n-grams of two characters of a word, then those of four."""
    if word.isascii():
        data = f" {word} ".encode()
        ones = [(BASIS ^ byte) * PRIME & MASK for byte in data]
        twos = [(state ^ byte) * PRIME & MASK for state, byte in zip(ones, data[1:], strict=False)]
        threes = [
            (state ^ byte) * PRIME & MASK for state, byte in zip(twos, data[2:], strict=False)
        ]
        fours = [
            (state ^ byte) * PRIME & MASK for state, byte in zip(threes, data[3:], strict=False)
        ]
    else:
        parts = [char.encode("utf-8", "surrogatepass") for char in f" {word} "]
        ones = [_fold(BASIS, part) for part in parts]
        twos = [*map(_fold, ones, parts[1:])]
        fours = [*map(_fold, map(_fold, twos, parts[2:]), parts[3:])]
    return [(value ^ (value >> BITS)) & (PLACES - 1) for value in twos + fours]


def _place(value: int) -> int:
    """Return where a hash falls."""
    return (value ^ (value >> BITS)) & (PLACES - 1)


def _fold(state: int, part: bytes) -> int:
    """Return the FNV-1a hash of a part, continued from `state`."""
    for byte in part:
        state = ((state ^ byte) * PRIME) & MASK
    return state


_AT_WORD = ((BASIS ^ _WORD_MARK) * PRIME) & MASK
