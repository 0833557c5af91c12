"""GBNF grammars checked before llama.cpp sees them, as it aborts, hangs or fills memory on some.

llama.cpp's parser recurses without a limit on nested groups, takes `{5,2}` as a repetition of
2^64 times and multiplies long literals by large counts; so a grammar is read here first, with
limits, and an error names the line. The notation is that of llama.cpp's `grammars/README.md`.
"""

import functools
import re
from dataclasses import dataclass
from typing import NoReturn

from aiosd.domain.errors import InvalidError
from aiosd.engines.json_grammar import grammar_of_schema

MAX_CHARACTERS = 65_536
MAX_DEPTH = 32
MAX_RULES = 2_000
MAX_REPEAT = 1_000
MAX_ELEMENTS = 50_000
MAX_RUN = 12

_FIELD = "options.sampling.grammar"
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_CHARACTER = r"(?:\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\\"\[\]-])|[^\\%s\x00])"
_LITERAL = re.compile('"(?:' + _CHARACTER % '"' + ')*"')
_RANGE = re.compile(r"\[\^?(?:" + _CHARACTER % r"\]" + r")*\]")
_ONE = re.compile(_CHARACTER % "")
_REPEAT = re.compile(r"[*+?]|\{[ \t]*(\d{1,9})[ \t]*(,[ \t]*(\d{1,9})?[ \t]*)?\}")


@dataclass(frozen=True)
class Grammar:
    """A checked GBNF text, and the part of the request it comes from."""

    text: str
    field: str


@functools.lru_cache(maxsize=8)
def grammar_of(grammar: str | None, json_schema: str | None) -> Grammar | None:
    """Return the checked grammar of a request, from either kind of constraint, or None.

    The last few are remembered, as an expert usually has one.

    Raises:
        InvalidError: both are given, or the one given is wrong or too large.
    """
    if grammar is not None and json_schema:
        raise InvalidError("give either a grammar or a JSON schema, not both", field=_FIELD)
    if json_schema:
        made = grammar_of_schema(json_schema)
        try:
            check_grammar(made)
        except InvalidError as error:
            raise InvalidError(
                f"the grammar of the JSON schema cannot be used: {error.message}",
                field="options.sampling.json_schema",
            ) from error
        return Grammar(made, "options.sampling.json_schema")
    if grammar is not None:
        check_grammar(grammar)
        return Grammar(grammar, _FIELD)
    return None


def check_grammar(text: str) -> None:
    """Check that llama.cpp can take the grammar.

    Raises:
        InvalidError: it is not GBNF, has no `root`, is recursive at its left, or is too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidError(
            f"the grammar has {len(text)} characters; at most {MAX_CHARACTERS}", field=_FIELD
        )
    rules = _Reader(text).read()
    if "root" not in rules:
        raise InvalidError('the grammar has no rule named "root"', field=_FIELD)
    for name, alternatives in rules.items():
        for other in (item for items in alternatives for item in items if item is not None):
            if other not in rules:
                raise InvalidError(
                    f"rule {name!r} refers to {other!r}, which is not defined", field=_FIELD
                )
    empty = _empty_rules(rules)
    _check_left(rules, empty)
    _check_runs(rules, empty)


def place_of_rule(text: str, name: str) -> tuple[int, int] | None:
    """Return where in a checked grammar a rule is defined, as [start, end); None: nowhere."""
    reader = _Reader(text)
    reader.read()
    return reader.places.get(name)


# A rule is its alternatives; each a row of items: the name of a rule, or None for a character.
# Groups and repetitions become rules of their own, named by a number.
_Rules = dict[str, list[list[str | None]]]


class _Reader:
    """Reads a grammar once, front to back."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._rules: _Rules = {}
        self._elements = 0
        self.places: dict[str, tuple[int, int]] = {}

    def read(self) -> _Rules:
        self._skip(_SPACES)
        while self._at < len(self._text):
            start = self._at
            name = self._take(_NAME, "the name of a rule")
            if name in self._rules:
                self._fail(f"rule {name!r} is defined a second time")
            self._skip(_SPACE)
            if not self._text.startswith("::=", self._at):
                self._fail('expected "::="')
            self._at += 3
            self._skip(_SPACES)
            self._rules[name], _ = self._alternatives(0)
            self.places[name] = (start, self._at)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                self._fail("expected the end of the line")
            self._skip(_SPACES)
        return self._rules

    def _alternatives(self, depth: int) -> tuple[list[list[str | None]], int]:
        """Read `a | b | …`; return the rows, and how many elements they have in all."""
        row, size = self._row(depth)
        rows = [row]
        while self._text.startswith("|", self._at):
            self._at += 1
            self._skip(_SPACES)
            row, more = self._row(depth)
            rows.append(row)
            size += more + 1
        return rows, size

    def _row(self, depth: int) -> tuple[list[str | None], int]:
        row: list[str | None] = []
        total = 0
        while self._at < len(self._text) and self._text[self._at] not in ")|\r\n":
            items, size = self._item(depth)
            self._skip(_SPACES if depth else _SPACE)
            repeat = 1
            while found := _REPEAT.match(self._text, self._at):
                optional, times = self._times(found)
                repeat *= times
                if repeat > MAX_REPEAT:
                    self._fail(f"a repetition of {repeat} times is over the {MAX_REPEAT} allowed")
                items = [self._name([items * times, []])] if optional else items * times
                self._at = found.end()
                self._skip(_SPACES if depth else _SPACE)
            total += size * repeat
            self._count(size * repeat)
            row.extend(items)
        return row, total

    def _count(self, elements: int) -> None:
        """Add to what the grammar will hold once written out."""
        self._elements += elements
        if self._elements > MAX_ELEMENTS:
            self._fail(f"the grammar has over {MAX_ELEMENTS} elements")

    def _item(self, depth: int) -> tuple[list[str | None], int]:
        """Read a literal, a range, any character, a reference or a group."""
        sign = self._text[self._at]
        if sign == '"':
            size = len(_ONE.findall(self._take(_LITERAL, "a whole literal")[1:-1]))
            return ([None] if size else []), size
        if sign == "[":
            size = len(self._take(_RANGE, "a whole range of characters")) - 2
            if size < 1:
                self._fail("a range of characters is empty")
            return [None], size
        if sign == ".":
            self._at += 1
            return [None], 1
        if sign == "(":
            return self._group(depth + 1)
        return [self._take(_NAME, "a rule, a literal, a range or a group")], 1

    def _group(self, depth: int) -> tuple[list[str | None], int]:
        if depth > MAX_DEPTH:
            self._fail(f"groups are nested more than {MAX_DEPTH} deep")
        self._at += 1
        self._skip(_SPACES)
        rows, size = self._alternatives(depth)
        if not self._text.startswith(")", self._at):
            self._fail('expected ")"')
        self._at += 1
        return [self._name(rows)], size + 1

    def _times(self, found: re.Match[str]) -> tuple[bool, int]:
        """Return whether a repetition may be of none, and how often it is written out."""
        if found[0] in "*+?":
            return found[0] != "+", 1
        low = int(found[1])
        high = low if found[2] is None else int(found[3]) if found[3] else None
        if high is not None and (high < low or high == 0):
            self._fail(f"{found[0]} asks for at least {low} and at most {high}")
        return low == 0, max(low, high or 1)

    def _name(self, rows: list[list[str | None]]) -> str:
        """Keep rows as a rule of its own."""
        name = f"#{len(self._rules)}"
        self._rules[name] = rows
        if len(self._rules) > MAX_RULES:
            self._fail(f"the grammar has over {MAX_RULES} rules and groups")
        return name

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            self._fail(f"expected {what}")
        self._at = found.end()
        return found[0]

    def _fail(self, message: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise InvalidError(f"line {line} of the grammar: {message}", field=_FIELD, line=line)


def _check_left(rules: _Rules, empty: set[str]) -> None:
    """Refuse a rule that can begin with itself; llama.cpp would never come to an end."""
    first = {
        name: {item for row in rows for item in _beginnings(row, empty)}
        for name, rows in rules.items()
    }
    done: set[str] = set()
    for start in rules:
        path: list[tuple[str, list[str]]] = [(start, sorted(first[start]))]
        open_now = {start}
        while path and start not in done:
            name, left = path[-1]
            if not left:
                done.add(name)
                open_now.discard(name)
                path.pop()
                continue
            following = left.pop()
            if following in open_now:
                shown = following if not following.startswith("#") else name
                raise InvalidError(f"rule {shown!r} can begin with itself", field=_FIELD)
            if following not in done:
                open_now.add(following)
                path.append((following, sorted(first[following])))


def _check_runs(rules: _Rules, empty: set[str]) -> None:
    """Refuse long runs of items that may all be left out.

    llama.cpp follows every way to leave some out, for every token of the vocabulary: a run of 500
    takes minutes per token, and nothing can stop it meanwhile.
    """
    longest: dict[str, int] = {}
    for name in _inner_first(rules):
        most = 1
        for row in rules[name]:
            run = 0
            for item in row:
                run = run + longest.get(item, 1) if item in empty else 0
                most = max(most, run)
        longest[name] = most
        if most > MAX_RUN:
            raise InvalidError(
                f"{most} items in a row may all be left out, over the {MAX_RUN} allowed: "
                "make some of them required, or use a repetition",
                field=_FIELD,
            )


def _inner_first(rules: _Rules) -> list[str]:
    """Return the rules, each after those it is made of (except where they go in a circle)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in rules:
        path = [(start, False)]
        while path:
            name, left = path.pop()
            if left:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                path.append((name, True))
                inner = {item for row in rules[name] for item in row if item is not None}
                path.extend((item, False) for item in inner - seen)
    return order


def _empty_rules(rules: _Rules) -> set[str]:
    """Return the rules that can match nothing."""
    waiting: dict[str, list[tuple[str, int]]] = {}
    missing: dict[tuple[str, int], int] = {}
    ready: list[str] = []
    for name, rows in rules.items():
        for number, row in enumerate(rows):
            items = set(row)
            missing[name, number] = len(items)
            if not items:
                ready.append(name)
            for item in items - {None}:
                waiting.setdefault(str(item), []).append((name, number))
    empty: set[str] = set()
    while ready:
        name = ready.pop()
        if name in empty:
            continue
        empty.add(name)
        for place in waiting.get(name, ()):
            missing[place] -= 1
            if missing[place] == 0:
                ready.append(place[0])
    return empty


def _beginnings(row: list[str | None], empty: set[str]) -> list[str]:
    """Return the rules that a row may begin with."""
    found: list[str] = []
    for item in row:
        if item is None:
            break
        found.append(item)
        if item not in empty:
            break
    return found
