r"""Hiding what fits the owner's patterns, in time that grows with the text and nothing else.

A pattern is a subset of Python's: literals, `.`, classes, `\d \w \s` and their opposites,
groups, `|`, `? * + {m,n}`, and `(?i)` at its beginning. What needs backtracking (backreferences,
looking around) or a place (`^ $ \b`) is refused. All patterns become one position automaton
(V. Glushkov 1961) whose sets of positions are bits of an integer: one pass forwards finds where a
match may be under way, one backwards where it can still end, and a character that has a position in
both belongs to a match. So *every* match is hidden, whichever a backtracking matcher would prefer.
"""

from collections.abc import Iterator, Sequence

from aiosd.policy.outbound.pattern import Automaton, build

HIDDEN = "[redacted]"
# Sets of positions remembered at once; beyond it they are worked out again.
_MOST_SETS = 4096


class Redactor:
    """Hides what fits any of some patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Build the automaton.

        Raises:
            PatternError: a pattern is wrong or outside the subset; its number is said.
        """
        self._automaton: Automaton | None = build(patterns) if patterns else None
        self._letters: dict[str, int] = {}
        self._next: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def redact(self, text: str) -> tuple[str, int]:
        """Return the text with each run of matching characters hidden, and how many runs."""
        if self._automaton is None:
            return text, 0
        parts: list[str] = []
        end = 0
        runs = list(self._runs(text, self._automaton))
        for first, last in runs:
            parts += (text[end:first], HIDDEN)
            end = last
        parts.append(text[end:])
        return "".join(parts), len(runs)

    def _runs(self, text: str, automaton: Automaton) -> Iterator[tuple[int, int]]:
        """Yield the runs of characters that belong to a match."""
        masks = [self._mask(letter, automaton) for letter in text]
        underway: list[int] = []
        state, first, known = 0, automaton.first, self._next
        for mask in masks:
            reach = known.get(state)
            if reach is None:
                reach = _remember(known, state, automaton.after)
            state = (reach | first) & mask
            underway.append(state)
        covered = [False] * len(masks)
        state, last, known = 0, automaton.last, self._before
        for place in range(len(masks) - 1, -1, -1):
            reach = known.get(state)
            if reach is None:
                reach = _remember(known, state, automaton.before)
            state = (reach | last) & masks[place]
            covered[place] = bool(state & underway[place])
        begun = -1
        for place, inside in enumerate([*covered, False]):
            if inside and begun < 0:
                begun = place
            elif not inside and begun >= 0:
                yield begun, place
                begun = -1

    def _mask(self, letter: str, automaton: Automaton) -> int:
        """Return which positions a character fits."""
        mask = self._letters.get(letter)
        if mask is None:
            if len(self._letters) >= _MOST_SETS:
                self._letters.clear()
            mask = self._letters[letter] = automaton.mask(letter)
        return mask


def _remember(known: dict[int, int], state: int, steps: Sequence[int]) -> int:
    """Work out where a set of positions leads, and keep it."""
    if len(known) >= _MOST_SETS:
        known.clear()
    reach, rest = 0, state
    while rest:
        lowest = rest & -rest
        reach |= steps[lowest.bit_length() - 1]
        rest ^= lowest
    known[state] = reach
    return reach
