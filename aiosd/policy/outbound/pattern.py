"""A safe subset of regular expressions, built into a position automaton; see `redaction`.

An automaton's positions are the places of a pattern that take one character; a set of positions is
the bits of an integer, so that building takes a bounded time and matching never goes back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# The longest pattern, and how many positions all patterns may have when repeats are written out.
MAX_LENGTH = 300
MAX_POSITIONS = 2000
MAX_REPEATS = 1000
_MAX_DEPTH = 20

Fits = Callable[[str], bool]

_CLASSES: dict[str, Fits] = {
    "d": str.isdecimal,
    "w": lambda letter: letter.isalnum() or letter == "_",
    "s": str.isspace,
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_REFUSED = {
    "^": "^ is a place, not a character",
    "$": "$ is a place, not a character",
    "*": "nothing stands before *",
    "+": "nothing stands before +",
    "?": "nothing stands before ?",
    "{": "nothing stands before {; write \\{ for the character",
    ")": "a ) without its (",
}


class PatternError(Exception):
    """A pattern is wrong, or outside the subset; the owner must write it otherwise."""


@dataclass
class Automaton:
    """Positions with what fits them, who may be first and last, and who follows whom."""

    fits: list[Fits] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0

    def mask(self, letter: str) -> int:
        """Return the positions that a character fits."""
        return sum(1 << place for place, fits in enumerate(self.fits) if fits(letter))


@dataclass(frozen=True)
class _Part:
    """A part of a pattern: its positions at both ends, and whether it may be left out."""

    first: int
    last: int
    empty: bool


# Makes a part; called again for each repeat of it.
_Make = Callable[[], _Part]
_EMPTY = _Part(0, 0, empty=True)


def build(patterns: Sequence[str]) -> Automaton:
    """Return one automaton for all patterns.

    Raises:
        PatternError: one is wrong, too long, matches nothing at all, or is outside the subset.
    """
    automaton = Automaton()
    for number, pattern in enumerate(patterns, 1):
        try:
            part = _Builder(pattern, automaton).build()
        except PatternError as error:
            raise PatternError(f"pattern {number} ({pattern!r}): {error}") from None
        automaton.first |= part.first
        automaton.last |= part.last
    return automaton


class _Builder:
    """Reads one pattern, by recursive descent, and adds it to an automaton."""

    def __init__(self, pattern: str, automaton: Automaton) -> None:
        """Read nothing yet."""
        if len(pattern) > MAX_LENGTH:
            raise PatternError(f"is longer than {MAX_LENGTH} characters")
        self._any_case = pattern.startswith("(?i)")
        self._rest = pattern.removeprefix("(?i)")
        self._place = 0
        self._depth = 0
        self._automaton = automaton

    def build(self) -> _Part:
        """Return the whole pattern as a part."""
        make = self._choice()
        if self._place < len(self._rest):
            raise PatternError(_REFUSED[self._peek()])
        part = make()
        if part.empty:
            raise PatternError("matches an empty text, and would hide nothing")
        return part

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def _peek(self) -> str:
        return self._rest[self._place : self._place + 1]

    def _take(self) -> str:
        """Return the next character.

        Raises:
            PatternError: there is none.
        """
        letter = self._peek()
        if not letter:
            raise PatternError("ends too early")
        self._place += 1
        return letter

    def _choice(self) -> _Make:
        """Read what `|` keeps apart."""
        ways = [self._sequence()]
        while self._peek() == "|":
            self._place += 1
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else lambda: _any_of([way() for way in ways])

    def _sequence(self) -> _Make:
        """Read parts that follow each other."""
        parts: list[_Make] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated())
        return lambda: self._joined(parts)

    def _repeated(self) -> _Make:
        """Read one part and how often it may come."""
        make = self._atom()
        letter = self._peek()
        if letter not in {"*", "+", "?", "{"}:
            return make
        self._place += 1
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(letter) or self._bounds()
        if self._peek() in {"*", "+", "?", "{"}:
            raise PatternError("two repeats in a row (also the lazy and possessive ones)")
        return lambda: self._times(make, least, most)

    def _bounds(self) -> tuple[int, int | None]:
        """Read what stands between braces."""
        text = ""
        while (letter := self._take()) != "}":
            text += letter
        low, comma, high = text.partition(",")
        ends = [low or "0", high] if comma else [low, low]
        if not all(end.isascii() and (end.isdecimal() or not end) for end in ends) or not ends[0]:
            raise PatternError(f"{{{text}}} is no repeat")
        least, most = int(ends[0]), int(ends[1]) if ends[1] else None
        if max(least, most or 0) > MAX_REPEATS or (most is not None and most < least):
            raise PatternError(f"{{{text}}} is no repeat up to {MAX_REPEATS}")
        return least, most

    def _atom(self) -> _Make:
        """Read a group, a class or a character."""
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter in _REFUSED:
            raise PatternError(_REFUSED[letter])
        if letter == "[":
            fits = self._set()
        elif letter == ".":
            fits = "\n".__ne__
        else:
            fits = self._escape() if letter == "\\" else self._letter(letter)
        return lambda: self._position(fits)

    def _group(self) -> _Make:
        """Read what stands in round brackets."""
        if self._peek() == "?":
            if self._rest[self._place : self._place + 2] != "?:":
                raise PatternError("of the groups that begin with (? only (?: is known")
            self._place += 2
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise PatternError("is nested too deeply")
        make = self._choice()
        self._depth -= 1
        if self._take() != ")":
            raise PatternError("a ( without its )")
        return make

    def _letter(self, letter: str) -> Fits:
        """Return what a character fits."""
        if not self._any_case:
            return letter.__eq__
        cases = {letter, letter.lower(), letter.upper()}
        return cases.__contains__

    def _escape(self) -> Fits:
        """Read what follows a backslash."""
        letter = self._take()
        known = _CLASSES.get(letter.lower())
        if known is not None:
            return known if letter.islower() else lambda other: not known(other)
        if letter in _CONTROLS:
            return _CONTROLS[letter].__eq__
        if letter.isalnum():
            raise PatternError(f"\\{letter} is not in the subset")
        return letter.__eq__

    def _set(self) -> Fits:
        """Read a class in square brackets."""
        negated = self._peek() == "^"
        self._place += negated
        members: list[Fits] = []
        while True:
            letter = self._take()
            if letter == "]" and members:
                break
            members.append(self._member(letter))

        def fits(other: str) -> bool:
            return any(member(other) for member in members) is not negated

        return fits

    def _member(self, letter: str) -> Fits:
        """Read a character, an escape or a range of a class."""
        low = self._set_letter(letter)
        if not isinstance(low, str):
            return low
        following = self._rest[self._place + 1 : self._place + 2]
        if self._peek() != "-" or following in {"]", ""}:
            return self._letter(low)
        self._place += 1
        high = self._set_letter(self._take())
        if not isinstance(high, str) or high < low:
            raise PatternError("a range in [] does not go up from one character to another")
        if not self._any_case:
            return lambda other: low <= other <= high
        return lambda other: any(
            low <= case <= high for case in (other, other.lower(), other.upper())
        )

    def _set_letter(self, letter: str) -> str | Fits:
        """Return a plain character of a class, or what an escape fits."""
        if letter != "\\":
            return letter
        escaped = self._peek()
        fits = self._escape()
        if escaped.lower() in _CLASSES:
            return fits
        return _CONTROLS.get(escaped, escaped)

    # ── building ──────────────────────────────────────────────────────────────────────────────

    def _position(self, fits: Fits) -> _Part:
        """Add a position."""
        automaton = self._automaton
        place = len(automaton.fits)
        if place >= MAX_POSITIONS:
            raise PatternError(f"all patterns together have over {MAX_POSITIONS} positions")
        automaton.fits.append(fits)
        automaton.after.append(0)
        automaton.before.append(0)
        return _Part(1 << place, 1 << place, empty=False)

    def _follow(self, ends: int, begins: int) -> None:
        """Let each position of `begins` follow each of `ends`."""
        automaton = self._automaton
        for place in _places(ends):
            automaton.after[place] |= begins
        for place in _places(begins):
            automaton.before[place] |= ends

    def _joined(self, parts: Sequence[_Make]) -> _Part:
        """Return parts one after the other."""
        whole = _EMPTY
        for make in parts:
            whole = self._then(whole, make())
        return whole

    def _then(self, left: _Part, right: _Part) -> _Part:
        self._follow(left.last, right.first)
        return _Part(
            left.first | (right.first if left.empty else 0),
            right.last | (left.last if right.empty else 0),
            empty=left.empty and right.empty,
        )

    def _times(self, make: _Make, least: int, most: int | None) -> _Part:
        """Return a part so many times; without an upper bound the last one may repeat."""
        whole = _EMPTY
        for number in range(max(least, 1) if most is None else most):
            part = make()
            if most is None and number == max(least, 1) - 1:
                self._follow(part.last, part.first)
            if number >= least:
                part = _Part(part.first, part.last, empty=True)
            whole = self._then(whole, part)
        return whole


def _any_of(ways: Sequence[_Part]) -> _Part:
    """Return a part that is one of some."""
    first = last = 0
    for way in ways:
        first |= way.first
        last |= way.last
    return _Part(first, last, empty=any(way.empty for way in ways))


def _places(positions: int) -> list[int]:
    """Return the numbers of a set of positions."""
    places = []
    while positions:
        lowest = positions & -positions
        places.append(lowest.bit_length() - 1)
        positions ^= lowest
    return places
