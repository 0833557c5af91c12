"""Text → words → places in a hashed table of n-grams: what the router sees of a text.

Two and four characters within a word (with a space on both sides), the word, it and the one before
it, and it and the one before that. Nothing but the pairs reaches over a word's end, so that all
that is seen of a word is known from the word alone: whoever has added that up once need not again
(`recent.py`). Characters and words are hashed by FNV-1a (Fowler, Noll, Vo), pairs by multiplying
(Knuth, volume 3, section 6.4).
"""

import re
import unicodedata
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
    return _WORD.findall(text)


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


def pairs(words: Sequence[Seen]) -> list[int]:
    """Return the places of the pairs of words, in order: those of neighbours, then the others."""
    return [(one.before + other.after & MASK) >> PAIR_SHIFT for one, other in pairwise(words)] + [
        (one.long_before + other.after & MASK) >> PAIR_SHIFT
        for one, other in zip(words, words[2:], strict=False)
    ]


def places(text: str) -> list[int]:
    """Return the places of a text in normal form: those of each word, and of the pairs."""
    words = [seen(word) for word in spoken(text)]
    return [*chain.from_iterable(word.places for word in words), *pairs(words)]


def grams(text: str) -> list[tuple[str, int]]:
    """Return the n-grams of a text in normal form with their places, to explain them.

    A place of a word is named by the longest n-gram there: of words and characters in one place the
    characters are named, for no more is known.
    """
    words = spoken(text)
    found: list[tuple[str, int]] = []
    for word in words:
        named = {_place(hash_of(word)): word}
        spaced = f" {word} "
        for start, place in enumerate(_characters(word)):
            # Those of two characters come first: one for each character but the last.
            fours = start - len(spaced) + 1
            named[place] = spaced[fours : fours + 4] if fours >= 0 else spaced[start : start + 2]
        found += [(gram, place) for place, gram in named.items()]
    names = [f"{one} {other}" for one, other in pairwise(words)]
    names += [f"{one} … {other}" for one, other in zip(words, words[2:], strict=False)]
    return [*found, *zip(names, pairs([seen(word) for word in words]), strict=True)]


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
