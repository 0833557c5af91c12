import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import ExpertFailedError
from aiosd.domain.post_steps import JsonParse, TextStrip
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.generated import STEPS


def parse(text: str) -> object:
    answer = STEPS[JsonParse](JsonParse(), Path())(Answer(text=text))
    assert isinstance(answer, Answer)
    return answer.output["value"]


def test_strip_takes_white_space_from_both_ends() -> None:
    answer = STEPS[TextStrip](TextStrip(), Path())(Answer(text="\n a b \t"))
    assert isinstance(answer, Answer)
    assert answer.text == "a b"


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain)
def test_any_json_comes_back(value: object) -> None:
    assert parse(f" {json.dumps(value)}\n") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Sure! Here it is:\n```json\n{"a": [1, 2]}\n```\nAnything else?', {"a": [1, 2]}),
        ('[1, {"a": 2}] and so on', [1, {"a": 2}]),
        ('"a string with {brackets}"', "a string with {brackets}"),
        ("123456789012345678901234567890", 1.2345678901234568e29),
    ],
)
def test_words_around_the_value_do_not_matter(text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json here",
        '{"a": [1, 2], "b": ',
        "3 apples",
        '{"a": NaN}',
        "[Infinity]",
        "{'a': 1}",
        "[" * 100_000,
        '"open {',
        '"a string" and {"more": 1}',
    ],
)
def test_what_is_not_json_is_the_expert_s_failure_and_quotes_it(text: str) -> None:
    with pytest.raises(ExpertFailedError, match="not JSON") as caught:
        parse(text)
    assert caught.value.details["reason"]
    assert len(caught.value.message) < 200


def test_a_tensor_has_no_text() -> None:
    for spec in (JsonParse(), TextStrip()):
        with pytest.raises(ExpertFailedError, match="needs a generated text"):
            STEPS[type(spec)](spec, Path())(Answer())
