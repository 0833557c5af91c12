import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.engines.gbnf import check_grammar
from aiosd.engines.json_grammar import grammar_of_schema

BAD = {
    "{": "not JSON",
    "[]": "expected a schema",
    "false": "expected a schema",
    '{"type": "thing"}': "type must be among",
    '{"type": []}': "type must be among",
    '{"type": "string", "pattern": "a+"}': "'pattern'",
    '{"type": "integer", "minimum": 5}': "only minimum",
    '{"type": "number", "multipleOf": 5}': "'multipleOf'",
    '{"not": {}}': "'not'",
    '{"type": "string", "maxLength": -1}': "from 0 to 1000",
    '{"type": "string", "maxLength": true}': "from 0 to 1000",
    '{"type": "string", "minLength": 5, "maxLength": 2}': "less than",
    '{"type": "object", "properties": {}, "required": ["a"]}': "'a' is required",
    '{"type": "object", "properties": 5}': "as an object",
    '{"$ref": "https://example.org/x"}': "must stay in this schema",
    '{"$ref": "#/$defs/none"}': "is not in this schema",
    '{"enum": []}': "list of values",
    '{"anyOf": 5}': "list of schemas",
    '{"anyOf": [{}], "minLength": 1}': "beside anyOf",
    '{"type": "object", "properties": {"a": {}}, "additionalProperties": true}': "set it to false",
}


def test_each_rule_of_an_object_is_written() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
    }
    grammar = grammar_of_schema(json.dumps(schema))
    assert '"\\"name\\"" ws ":" ws string' in grammar
    assert '"\\"age\\"" ws ":" ws integer' in grammar
    check_grammar(grammar)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string", "minLength": 1, "maxLength": 20, "description": "a name"},
        {"enum": ["on", "off", 5, None, 'a "quoted" \\ one']},
        {"const": {"a": [1, 2]}},
        {"type": ["string", "null"]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        {"type": "array", "items": {}, "maxItems": 0},
        {"type": "array", "minItems": 2},
        {"prefixItems": [{"type": "number"}, {"type": "string"}]},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        {"properties": {str(n): {"type": "null"} for n in range(60)}},
        {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"x": {}}}]},
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                    "required": ["next"],
                }
            },
        },
    ],
)
def test_a_schema_becomes_a_grammar_that_passes_the_check(schema: dict[str, object]) -> None:
    check_grammar(grammar_of_schema(json.dumps(schema)))


@pytest.mark.parametrize(("schema", "words"), BAD.items())
def test_what_a_grammar_cannot_hold_is_refused_by_name(schema: str, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        grammar_of_schema(schema)
    assert words in caught.value.message
    assert caught.value.field == "options.sampling.json_schema"


def test_the_place_in_the_schema_is_told() -> None:
    schema = {"properties": {"a": {"type": "array", "items": {"format": "date"}}}}
    with pytest.raises(InvalidError) as caught:
        grammar_of_schema(json.dumps(schema))
    assert caught.value.details["path"] == "#/properties/a/items"


@pytest.mark.parametrize("depth", [100, 20_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(InvalidError):
        grammar_of_schema('{"items":' * depth + "{}" + "}" * depth)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "enum", "anyOf", "required", "$ref", "minItems"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_schema_or_refused(value: object) -> None:
    try:
        grammar = grammar_of_schema(json.dumps(value))
    except InvalidError as error:
        found = error.field
    else:
        assert grammar.startswith("root ::= ")
        return
    assert found == "options.sampling.json_schema"
