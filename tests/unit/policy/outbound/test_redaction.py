"""What the owner wants hidden, and that nobody can make hiding it slow."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.outbound.pattern import PatternError, build
from aiosd.policy.outbound.redaction import HIDDEN, Redactor

ALPHABET = "ab1 .\n"


def grow(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeat = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"])
    return st.one_of(
        st.tuples(parts, parts).map("".join),
        st.tuples(parts, parts).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(parts, repeat).map(lambda two: f"({two[0]}){two[1]}"),
    )


ATOMS = st.sampled_from(
    ["a", "b", "1", r"\.", ".", r"\d", r"\w", r"\s", r"\D", "[ab]", "[^a]", r"[a-b\d]", "[]a-]"]
)
PATTERNS = st.recursive(ATOMS, grow, max_leaves=5)


def covered(pattern: str, text: str) -> str:
    """Every character that any match covers, by trying all parts of the text."""
    hidden = [False] * len(text)
    for first in range(len(text)):
        for last in range(first + 1, len(text) + 1):
            if re.fullmatch(pattern, text[first:last]):
                hidden[first:last] = [True] * (last - first)
    marked = "".join("\0" if hide else letter for hide, letter in zip(hidden, text, strict=True))
    return re.sub("\0+", lambda _: HIDDEN, marked)


@given(pattern=PATTERNS, text=st.text(ALPHABET, max_size=10))
def test_exactly_what_some_match_covers_is_hidden(pattern: str, text: str) -> None:
    if re.fullmatch(pattern, ""):
        with pytest.raises(PatternError, match="empty"):
            Redactor([pattern])
    else:
        assert Redactor([pattern]).redact(text)[0] == covered(pattern, text)


@given(st.text(r"ab()[]{}|?*+.^$\-,:1dwsb" + "\n", max_size=14))
def test_a_pattern_is_built_with_pythons_meaning_or_refused(pattern: str) -> None:
    try:
        redactor = Redactor([pattern])
    except PatternError:
        return
    if "[" in pattern and re.search(r"--|&&|~~|\|\||\[\[", pattern):
        return  # Python warns of sets that may mean more one day
    for text in ("ab1 .\n", "a.b{1}", "(a)|b", "aab,b-"):
        assert redactor.redact(text)[0] == covered(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "hidden"),
    [
        (r"[\w.+-]+@[\w-]+(\.[\w-]+)+", "to ann.b@mail.example.org now", f"to {HIDDEN} now"),
        (r"sk-[A-Za-z0-9]{8,}", "key sk-abcdefgh12, sk-abc", f"key {HIDDEN}, sk-abc"),
        (r"(?i)iban:? ?[a-z]{2}\d{2}( ?\d{4}){2,7}", "IBAN: De12 1234 5678!", f"{HIDDEN}!"),
        (r"\+?\d[\d ]{6,14}", "call +49 170 1234567 or 12", f"call {HIDDEN}or 12"),
        ("straße|grün", "Die Straße ist grün", f"Die Straße ist {HIDDEN}"),
        ("(?i)STRASSE", "strasse", HIDDEN),
    ],
)
def test_what_owners_write_down_is_hidden(pattern: str, text: str, hidden: str) -> None:
    assert Redactor([pattern]).redact(text)[0] == hidden


def test_several_patterns_are_hidden_in_one_go_and_counted() -> None:
    assert Redactor(["ab", "bc", "x"]).redact("abc-x-ab") == (
        f"{HIDDEN}-{HIDDEN}-{HIDDEN}",
        3,
    )
    assert Redactor([]).redact("abc") == ("abc", 0)


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("^a", "place"),
        ("a$", "place"),
        (r"\bkey\b", r"\\b"),
        (r"(a)\1", r"\\1"),
        ("(?=a)b", r"only \(\?:"),
        ("(?P<n>a)", r"only \(\?:"),
        ("a*?", "two repeats"),
        ("a++", "two repeats"),
        ("a{2,1}", "no repeat"),
        ("a{x}", "no repeat"),
        ("a{1001}", "no repeat up to 1000"),
        ("*a", "nothing stands before"),
        ("(a", "ends too early"),
        ("a)", "without its"),
        ("[a", "ends too early"),
        ("[b-a]", "range"),
        ("a\\", "ends too early"),
        ("a*", "empty"),
        ("", "empty"),
        ("a" * 301, "longer"),
        ("(" * 30 + "a" + ")" * 30, "deep"),
        ("((a{100}){100}){100}", "positions"),
    ],
)
def test_what_needs_backtracking_or_is_wrong_is_refused_with_its_number(
    pattern: str, word: str
) -> None:
    with pytest.raises(PatternError, match=word) as caught:
        build(["fine", pattern])
    assert "pattern 2" in str(caught.value)


def steps_taken(redactor: Redactor, text: str) -> int:
    """Return how many lines of Python hiding takes."""
    count = 0

    def trace(_frame: object, event: str, _value: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        redactor.redact(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a|aa)+c", r"(\w*a\w*){3}z", "a*a*a*a*b"]
)
def test_no_text_makes_hiding_slow(pattern: str) -> None:
    redactor = Redactor([pattern])
    redactor.redact("a" * 100)
    once, tenfold = steps_taken(redactor, "a" * 500), steps_taken(redactor, "a" * 5000)
    assert tenfold < 11 * once
