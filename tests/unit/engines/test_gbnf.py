import pytest
from fakes.effort import cpu_at_most
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.engines.gbnf import Grammar, check_grammar, grammar_of

GOOD = [
    'root ::= "yes" | "no"',
    "root ::= [a-z]+ # words\n",
    'root ::= line{2,4}\nline ::= [^\\n]* "\\n"',
    'root ::= (\n  "a" |\n  "b"\n)',
    'root ::= "\\x41\\u00e9\\U0001F600" .',
    'root ::= item ("," item)*\nitem ::= "(" root ")" | [0-9]{1,3}',
    'root ::= ""',
    "root ::= [\\]\\[\\-]",
]
BAD = {
    'root ::= "a"{5,2}': "at least 5",
    'root ::= "a"{0}': "at most 0",
    'root ::= "a"{1,100000000}': "over the 1000",
    'root ::= "a"{999}{999}': "over the 1000",
    'root ::= (("a"{40}){40}){40}': "over 50000 elements",
    "root ::= " + "(" * 40 + '"a"' + ")" * 40: "nested more than 32",
    'root ::= root "a"': "begin with itself",
    'root ::= a "x"\na ::= b\nb ::= "q"? a': "begin with itself",
    "root ::= nope": "'nope', which is not defined",
    'other ::= "a"': 'no rule named "root"',
    "": 'no rule named "root"',
    'root ::= "a': "whole literal",
    "root ::= [a": "whole range",
    "root ::= []": "empty",
    'root ::= "\\q"': "whole literal",
    'root ::= "a" )': "end of the line",
    'root ::= ("a"': 'expected ")"',
    'root "a"': '"::="',
    "root ::= *": "a rule, a literal",
    'root ::= "a"\nroot ::= "b"': "a second time",
    "root ::= " + "[a-z]? " * 40: "may all be left out",
    'root ::= ("a"?){100}': "may all be left out",
    "root ::= <[5]>": "a rule, a literal",
    'root ::= "' + "x" * 70_000 + '"': "at most 65536",
}


@pytest.mark.parametrize("grammar", GOOD)
def test_a_good_grammar_passes(grammar: str) -> None:
    check_grammar(grammar)


@pytest.mark.parametrize(("grammar", "words"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_grammar_is_refused_with_its_reason(grammar: str, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_grammar(grammar)
    assert words in caught.value.message
    assert caught.value.field == "options.sampling.grammar"


def test_the_line_of_a_mistake_is_told() -> None:
    with pytest.raises(InvalidError) as caught:
        check_grammar('root ::= a\n# a remark\na ::= "x" ]\n')
    assert caught.value.details["line"] == 3


def test_a_grammar_and_a_schema_exclude_each_other() -> None:
    with pytest.raises(InvalidError, match="not both"):
        grammar_of('root ::= "a"', "{}")


def test_the_field_tells_where_a_grammar_came_from() -> None:
    assert grammar_of('root ::= "a"', None) == Grammar('root ::= "a"', "options.sampling.grammar")
    made = grammar_of(None, '{"type": "boolean"}')
    assert made is not None
    assert made.field == "options.sampling.json_schema"
    assert grammar_of(None, None) is None


@given(st.text(alphabet='root:=ab "[]()|*+?{},09\\\n-^#.', max_size=60))
def test_any_text_is_a_grammar_or_refused(text: str) -> None:
    for grammar in (text, f"root ::= {text}"):
        try:
            check_grammar(grammar)
        except InvalidError as error:
            found = error.field
        else:
            continue
        assert found == "options.sampling.grammar"


def test_the_largest_grammars_are_checked_in_a_second() -> None:
    chain = "root ::= r0\n" + "".join(f"r{n} ::= r{n + 1}\n" for n in range(1800))
    wide = "root ::= " + " | ".join(f'"{n}"' for n in range(6000))
    with cpu_at_most(1.0):
        check_grammar(chain + 'r1800 ::= "a"')
        check_grammar(wide)
