"""The vocabulary: byte pair pieces in spaced and capital variants, and the JSON parts."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from tools.train.home_command.labels import INTENTS, SLOTS

SPACE = "\u2581"
UNKNOWN, BEGIN, END = 0, 1, 2
BYTES = 3
"""The id of byte 0; the 256 bytes follow one another."""
INTENT_OPENING, SLOTS_OPENING = '{"intent":"', ',"slots":{'
VALUE_NEXT, VALUE_LAST, NO_SLOTS = '",', '"}}', "}}"
QUOTE, BACKSLASH = '\\"', "\\\\"
MAX_PIECE_BYTES = 32
"""llama-cpp-python prints nothing for a longer piece."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MARKS = "0123456789'.,?!%-&:;/()\"$#+*@_=°£€"
_ACCENTED = "áàâäãåæçéèêëíìîïñóòôöõøúùûüýßœšžčćłńąęğışőű"
_UNREACHABLE = -1.0e7
_TWIN_PENALTY = 1.0e6


@dataclass(frozen=True, slots=True)
class Piece:
    """One token: its text (``SPACE`` for a blank), merge score and factors."""

    text: str
    score: float
    kind: str
    base: str
    spaced: bool = False
    capital: bool = False


def intent_text(intent: str) -> str:
    """Return the token of an intent, with its closing quote."""
    return f'{intent}"'


def slot_opening(slot: str) -> str:
    """Return the JSON text before a slot's value."""
    return f'"{slot}":"'


def train_merges(texts: Iterable[str], count: int) -> list[str]:
    """Learn ``count`` byte pair merges over the letters of lower case words."""
    words: Counter[str] = Counter()
    for text in texts:
        for spaced, letters in re.findall(r"(\s?)([^\W\d_]+)", " " + text.lower()):
            words[(SPACE if spaced else "") + letters] += 1
    symbols = {w: list(w) for w, n in words.items() if n >= 2}
    pairs: Counter[tuple[str, str]] = Counter()
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    for word, parts in symbols.items():
        for pair in pairwise(parts):
            pairs[pair] += words[word]
            users[pair].add(word)
    merges: list[str] = []
    while len(merges) < count:
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append("".join(best))
        for word in list(users[best]):
            old = symbols[word]
            for pair in pairwise(old):
                pairs[pair] -= words[word]
            new = symbols[word] = _merge_all(old, best)
            for pair in pairwise(new):
                pairs[pair] += words[word]
                users[pair].add(word)
        del pairs[best], users[best]
    return list(dict.fromkeys(merges))


def _merge_all(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    at = 0
    while at < len(parts):
        if at + 1 < len(parts) and (parts[at], parts[at + 1]) == pair:
            merged.append(parts[at] + parts[at + 1])
            at += 2
        else:
            merged.append(parts[at])
            at += 1
    return merged


def _fixed_pieces() -> Iterator[Piece]:
    for text in ("<unk>", "<s>", "</s>"):
        yield Piece(text, 0.0, "unknown" if text == "<unk>" else "control", text)
    for byte in range(256):
        yield Piece(f"<0x{byte:02X}>", 0.0, "byte", f"<0x{byte:02X}>")
    for char in SPACE + _MARKS + _ACCENTED + _LETTERS:
        yield Piece(char, _UNREACHABLE, "normal", char)


def _word_pieces(merges: Sequence[str]) -> Iterator[Piece]:
    rank = {text: -float(at + 1) for at, text in enumerate(merges)}
    starts = {f"{SPACE}{c}" for c in _LETTERS + "0123456789"}
    for text in sorted(starts - set(rank)):
        rank[text] = -float(len(rank) + 1)
    for text, score in rank.items():
        spaced = text.startswith(SPACE)
        base = text[1:] if spaced else text
        yield Piece(text, score, "normal", base, spaced)
        if not spaced:
            continue
        twin_score = rank.get(base, score - _TWIN_PENALTY)
        yield Piece(base, twin_score, "normal", base)
        big = base[0].upper() + base[1:]
        if big != base:
            yield Piece(big, twin_score, "normal", base, capital=True)
            yield Piece(SPACE + big, score, "normal", base, spaced=True, capital=True)


@dataclass(frozen=True)
class Vocabulary:
    """All tokens in the order of their ids, and the tokenizer over them."""

    pieces: tuple[Piece, ...]
    _cache: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    @classmethod
    def build(cls, merges: Sequence[str], repeated_slots: Iterable[str]) -> Vocabulary:
        """Make the vocabulary from the merges and the slots that may come twice."""
        repeats = [f"{slot}_2" for slot in sorted(set(repeated_slots))]
        parts = [INTENT_OPENING, SLOTS_OPENING, VALUE_NEXT, VALUE_LAST, NO_SLOTS]
        parts += [QUOTE, BACKSLASH]
        parts += [intent_text(i) for i in INTENTS]
        parts += [slot_opening(s) for s in (*SLOTS, *repeats)]
        json_pieces = [Piece(text, _UNREACHABLE, "normal", text) for text in parts]
        found: dict[str, Piece] = {}
        for piece in (*_fixed_pieces(), *_word_pieces(merges), *json_pieces):
            found.setdefault(piece.text, piece)
        too_long = [t for t in found if len(t.encode()) > MAX_PIECE_BYTES]
        if too_long:
            raise ValueError(f"pieces the engine cannot print: {too_long}")
        return cls(tuple(found.values()))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of every token text."""
        return {p.text: at for at, p in enumerate(self.pieces)}

    @cached_property
    def bare(self) -> dict[int, int]:
        """Map a spaced token to the same token without the blank."""
        return {
            at: self.ids[p.text[1:]]
            for at, p in enumerate(self.pieces)
            if p.spaced and p.text[1:] in self.ids
        }

    def tokenize(self, text: str, rng: random.Random | None = None, drop: float = 0.0) -> list[int]:
        """Tokenize as the engine does; with ``rng`` some merges of some words are left out."""
        tokens: list[int] = []
        for word in re.findall(rf"{SPACE}*[^{SPACE}]*", SPACE + text.replace(" ", SPACE)):
            if not word:
                continue
            if rng is not None and rng.random() < drop:
                tokens.extend(self._merge(word, rng))
                continue
            if word not in self._cache:
                self._cache[word] = self._merge(word, None)
            tokens.extend(self._cache[word])
        return tokens

    def _merge(self, word: str, rng: random.Random | None) -> tuple[int, ...]:
        parts = list(word)
        while len(parts) > 1:
            best, where = -1.0e30, -1
            for at in range(len(parts) - 1):
                token = self.ids.get(parts[at] + parts[at + 1])
                if token is None or (rng is not None and rng.random() < 0.25):
                    continue
                if self.pieces[token].score > best:
                    best, where = self.pieces[token].score, at
            if where < 0:
                break
            parts[where : where + 2] = [parts[where] + parts[where + 1]]
        tokens: list[int] = []
        for part in parts:
            token = self.ids.get(part)
            if token is not None:
                tokens.append(token)
            else:
                tokens.extend(BYTES + byte for byte in part.encode())
        return tuple(tokens)

    def text_of(self, tokens: Iterable[int]) -> str:
        """Return the text of output tokens."""
        raw = bytearray()
        for token in tokens:
            piece = self.pieces[token]
            if piece.kind == "byte":
                raw.append(token - BYTES)
            elif piece.kind == "normal":
                raw += piece.text.replace(SPACE, " ").encode()
        return raw.decode("utf-8", errors="replace")

    @classmethod
    def of_tokens(
        cls, texts: Sequence[str], scores: Sequence[float], kinds: Sequence[str]
    ) -> Vocabulary:
        """Return the vocabulary of a model file; which pieces share a vector is not in it."""
        pieces = []
        for text, score, kind in zip(texts, scores, kinds, strict=True):
            spaced = kind == "normal" and text.startswith(SPACE) and text != SPACE
            pieces.append(Piece(text, score, kind, text, spaced))
        return cls(tuple(pieces))

    def save(self, path: Path) -> None:
        """Write the tokens as JSON."""
        rows = [[p.text, p.score, p.kind, p.base, p.spaced, p.capital] for p in self.pieces]
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what :meth:`save` wrote."""
        rows = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(Piece(*row) for row in rows))
