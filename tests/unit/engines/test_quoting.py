import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.engines.gbnf import Grammar, check_grammar
from aiosd.engines.quoting import MAX_BYTES, MAX_WORDS, Quoting, quoting_of

TEXT = 'root ::= "{" value ("," value)? "}"\nvalue ::= [a-z]+\n'
# Letters, marks that JSON or GBNF write otherwise, blanks, what is not ASCII.
TEXTS = st.text(st.sampled_from("ab\"\\/[]{}-_'0\n\t \x00\x1f\x7fé\u0301漢🙂"), max_size=12)
RULE = re.compile(
    r'value-(\d+) ::= ("(?:[^"\\]|\\.)*")(?: \(("(?:[^"\\]|\\.)*") value-\d+\)\?| (v)\S+\?)?'
)


def quoting(text: str = TEXT, rule: str = "value") -> Quoting:
    return quoting_of(Grammar(text, "options.sampling.grammar"), rule)


def quotations(grammar: Grammar) -> set[str]:
    """Every text that the rule `value` allows, read from its rules alone."""
    parts = []
    for line in grammar.text.splitlines():
        if found := RULE.fullmatch(line):
            after = json.loads(found[3]) if found[3] else "" if found[4] else None
            parts.append((json.loads(found[2]), after))
    allowed = set()
    for first in range(len(parts)):
        text = ""
        for word, after in parts[first:]:
            text += word
            allowed.add(text)
            if after is None:
                break
            text += after
    return allowed


@given(TEXTS)
def test_a_quotation_is_any_words_in_a_row_and_nothing_else(text: str) -> None:
    grammar = quoting().grammar([text])
    check_grammar(grammar.text)
    places = [match.span() for match in re.finditer(r"[^\W_]+|[^\w\s]|_", text)]
    runs = {text[start:end] for at, (start, _) in enumerate(places) for _, end in places[at:]}
    assert quotations(grammar) == {json.dumps(run, ensure_ascii=False)[1:-1] for run in runs}


@given(st.lists(TEXTS, max_size=3))
def test_no_quotation_goes_from_one_text_to_the_next(texts: list[str]) -> None:
    grammar = quoting().grammar(texts)
    check_grammar(grammar.text)
    single = [quotations(quoting().grammar([text])) for text in texts]
    assert quotations(grammar) == set[str]().union(*single)


def test_the_grammar_grows_with_the_text_and_not_with_its_square() -> None:
    few, many = (len(quoting().grammar(["word " * count]).text) for count in (6, 60))
    assert many < 12 * few


@pytest.mark.parametrize(
    "texts",
    [[], [""], [" \n"], ["a " * (MAX_WORDS + 1)], ["a" * (MAX_BYTES + 1)]],
    ids=["none", "empty", "blank", "many words", "long"],
)
def test_without_words_or_with_too_many_the_rule_is_the_package_s(texts: list[str]) -> None:
    assert quoting().grammar(texts).text == TEXT


def test_what_counts_is_the_bytes_of_the_text_as_it_would_be_quoted() -> None:
    for text, size in (("a b", 3), ("é", 2), ('"', 2), ("🙂 a", 6)):
        assert quoting().grammar([text], size).text != TEXT
        assert quoting().grammar([text], size - 1).text == TEXT


def test_the_longest_text_that_is_quoted_makes_a_grammar_that_can_be_used() -> None:
    words = [format(number, "031d") for number in range(MAX_WORDS)]
    grammar = quoting().grammar([" ".join(words)])
    assert f"value-{MAX_WORDS - 1} ::=" in grammar.text
    check_grammar(grammar.text)


def test_only_the_rule_itself_is_replaced() -> None:
    others = "root ::= value values\nvalues ::= value*"
    grammar = quoting(
        f"value ::= (\n  [a-z] |\n  [0-9]\n)  # as the file has it\n{others}"
    ).grammar(["hello"])
    check_grammar(grammar.text)
    assert "[a-z]" not in grammar.text
    assert others in grammar.text
    assert 'value-0 ::= "hello"' in grammar.text


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        (TEXT, "name", "no rule 'name'"),
        (TEXT, "valu", "no rule 'valu'"),
        ('root ::= value value-1\nvalue ::= "a"\nvalue-1 ::= "b"', "value", "value-NUMBER"),
    ],
)
def test_a_rule_that_cannot_quote_is_told(text: str, rule: str, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        quoting(text, rule)
    assert words in caught.value.message
    assert caught.value.field == "prompt.quote"
