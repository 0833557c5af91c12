"""JSON schema → GBNF, for the part of JSON schema that a grammar can hold; the rest is refused.

Supported: `type` (one or a list), `properties`, `required`, `additionalProperties`, `items`,
`prefixItems`, `minItems`, `maxItems`, `enum`, `const`, `anyOf`, `oneOf` (as `anyOf`), `minLength`,
`maxLength`, `$ref` into `#/$defs` or `#/definitions`; integers may have `minimum` 0. Texts such
as `title` and `description` are passed over. Any other keyword is an error that names it:
an answer that silently broke a rule of its schema would be worse. Properties come in the order of
the schema.
"""

import json
from collections.abc import Callable
from typing import NoReturn

from aiosd.domain.errors import InvalidError

MAX_CHARACTERS = 65_536
MAX_DEPTH = 24
MAX_OPTIONAL = 64
MAX_RULES = 1_000
MAX_TIMES = 1_000

_FIELD = "options.sampling.json_schema"
_TEXTS = {"title", "description", "default", "examples", "$schema", "$id", "$comment"}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "number": set[str](),
    "integer": {"minimum"},
    "boolean": set[str](),
    "null": set[str](),
}

# White space is at most one blank: with more, a model can write blanks for ever.
_FIXED = {
    "ws": '" "?',
    "char": r'[^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" hex hex hex hex)',
    "hex": "[0-9a-fA-F]",
    "string": r'"\"" char* "\""',
    "natural": '"0" | [1-9] [0-9]{0,15}',
    "integer": '"-"? natural',
    "number": '"-"? natural ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "object": '"{" ws (string ws ":" ws value (ws "," ws string ws ":" ws value)*)? ws "}"',
    "array": '"[" ws (value (ws "," ws value)*)? ws "]"',
    "value": "object | array | string | number | boolean | null",
}

_Schema = dict[str, object]


def grammar_of_schema(text: str) -> str:
    """Return the GBNF of a JSON schema given as JSON.

    Raises:
        InvalidError: it is not JSON, too large, or has a keyword that a grammar cannot hold.
    """
    if len(text) > MAX_CHARACTERS:
        _fail(f"the schema has {len(text)} characters; at most {MAX_CHARACTERS}", "")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the schema is not JSON: {error}", field=_FIELD) from error
    return _Writer(schema).write()


class _Writer:
    """Writes the rules of one schema."""

    def __init__(self, schema: object) -> None:
        self._root = schema
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}

    def write(self) -> str:
        body = self._rule_body(self._root, "", 0)
        rules = {"root": body, **self._rules, **_FIXED}
        return "".join(f"{name} ::= {text}\n" for name, text in rules.items())

    def _visit(self, schema: object, path: str, depth: int) -> str:
        """Return an item that matches the schema: the name of a rule."""
        body = self._rule_body(schema, path, depth)
        return body if body in _FIXED or body in self._rules else self._keep(body)

    def _keep(self, body: str) -> str:
        if len(self._rules) >= MAX_RULES:
            _fail(f"the schema needs over {MAX_RULES} rules", "")
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def _rule_body(self, schema: object, path: str, depth: int) -> str:
        if depth > MAX_DEPTH:
            _fail(f"it is nested more than {MAX_DEPTH} deep", path)
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            _fail("expected a schema (an object, or true)", path)
        rest = {key: value for key, value in schema.items() if key not in _TEXTS}
        for keyword, write in self._whole().items():
            if keyword in rest:
                value = rest.pop(keyword)
                if keyword in {"enum", "const"}:
                    rest.pop("type", None)
                _refuse(set(rest) - {"$defs", "definitions"}, f"beside {keyword}", path)
                return write(value, f"{path}/{keyword}", depth + 1)
        return self._typed(rest, path, depth)

    def _whole(self) -> dict[str, Callable[[object, str, int], str]]:
        """Return who writes the keywords that say all by themselves."""
        return {
            "$ref": self._reference,
            "const": lambda value, _path, _depth: _literal(json.dumps(value, ensure_ascii=False)),
            "enum": self._enum,
            "anyOf": self._any,
            "oneOf": self._any,
        }

    def _typed(self, schema: _Schema, path: str, depth: int) -> str:
        rest = {key: value for key, value in schema.items() if key not in {"$defs", "definitions"}}
        kinds = _kinds(rest.pop("type", None), set(rest), path)
        known = set[str]().union(*(_KEYWORDS[kind] for kind in kinds))
        _refuse(set(rest) - known, f"of {' and '.join(kinds)}".removesuffix("of "), path)
        return " | ".join(self._kind(kind, rest, path, depth) for kind in kinds) or "value"

    def _kind(self, kind: str, schema: _Schema, path: str, depth: int) -> str:
        """Return what matches a value of one type."""
        writers = {"object": self._object, "array": self._array, "string": self._string}
        if kind in writers:
            return writers[kind](schema, path, depth + 1)
        if kind == "integer" and "minimum" in schema:
            if schema["minimum"] != 0:
                _fail("the only minimum a grammar can hold is 0", path)
            return "natural"
        return kind

    def _reference(self, target: object, path: str, _depth: int) -> str:
        if not isinstance(target, str) or not target.startswith("#/"):
            _fail(f"a reference must stay in this schema (#/$defs/…), not {target!r}", path)
        if target not in self._references:
            found: object = self._root
            for part in target[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, dict) else None
            if found is None:
                _fail(f"{target} is not in this schema", path)
            # Named before it is written, as a schema may refer to itself.
            name = self._keep("")
            self._references[target] = name
            self._rules[name] = self._rule_body(found, target, 0)
        return self._references[target]

    def _enum(self, values: object, path: str, _depth: int) -> str:
        if not isinstance(values, list) or not values:
            _fail("expected a list of values", path)
        return " | ".join(_literal(json.dumps(value, ensure_ascii=False)) for value in values)

    def _any(self, schemas: object, path: str, depth: int) -> str:
        if not isinstance(schemas, list) or not schemas:
            _fail("expected a list of schemas", path)
        return " | ".join(self._visit(one, f"{path}/{i}", depth) for i, one in enumerate(schemas))

    def _string(self, schema: _Schema, path: str, _depth: int) -> str:
        low, high = _bounds(schema, "minLength", "maxLength", path)
        if (low, high) == (0, None):
            return "string"
        return f'"\\"" {_repeat("char", low, high)} "\\""'

    def _array(self, schema: _Schema, path: str, depth: int) -> str:
        low, high = _bounds(schema, "minItems", "maxItems", path)
        comma = ' ws "," ws '
        first = schema.get("prefixItems")
        if first is not None:
            if set(schema) & {"items", "minItems", "maxItems"} or not isinstance(first, list):
                _fail("prefixItems stands alone, as a list: exactly these items", path)
            items = [self._visit(one, f"{path}/{i}", depth) for i, one in enumerate(first)]
            return f'"[" ws {comma.join(items)} ws "]"'
        item = self._visit(schema.get("items", True), f"{path}/items", depth)
        if high == 0:
            return '"[" ws "]"'
        more = _repeat(f"({comma.strip()} {item})", max(low - 1, 0), high and high - 1)
        body = f"{item} {more}"
        return f'"[" ws {body} ws "]"' if low else f'"[" ws ({body} ws)? "]"'

    def _object(self, schema: _Schema, path: str, depth: int) -> str:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            _fail("expected properties as an object and required as a list", path)
        if schema.get("additionalProperties", False) is not False and properties:
            _fail("additionalProperties beside properties cannot be held; set it to false", path)
        missing = [name for name in required if not isinstance(name, str) or name not in properties]
        if missing:
            _fail(f"{missing[0]!r} is required but not among the properties", path)
        if not properties:
            more = schema.get("additionalProperties", True)
            if more is False:
                return '"{" ws "}"'
            value = self._visit(more, f"{path}/additionalProperties", depth)
            pair = f'string ws ":" ws {value}'
            return f'"{{" ws ({pair} (ws "," ws {pair})* ws)? "}}"'
        pairs = [
            (
                f'{_literal(json.dumps(name, ensure_ascii=False))} ws ":" ws '
                + self._visit(one, f"{path}/properties/{name}", depth),
                name in required,
            )
            for name, one in properties.items()
        ]
        return f'"{{" ws {self._pairs(pairs, path)} ws "}}"'

    def _pairs(self, pairs: list[tuple[str, bool]], path: str) -> str:
        """Write pairs in order, where those that are not required may be left out.

        Rule k of two chains stands for "pairs k and after": one where a pair came before, so that
        the next needs a comma, and one where none did.
        """
        if sum(not needed for _, needed in pairs) > MAX_OPTIONAL:
            _fail(f"at most {MAX_OPTIONAL} properties may be optional", path)
        after, begin = "", ""
        for text, needed in reversed(pairs):
            pair = self._keep(text)
            whole = f'ws "," ws {pair} {after}'.strip()
            first = f"{pair} {after}".strip()
            if not needed:
                first = f"{first} | {begin}" if begin else f"({first})?"
                first = self._keep(first)
                whole = self._keep(f"{whole} | {after}" if after else f"({whole})?")
            after, begin = whole, first
            if needed:
                after = self._keep(after)
        return begin


def _kinds(given: object, keywords: set[str], path: str) -> list[str]:
    """Return the types of a schema: those it names, or the one its keywords are about."""
    if given is None:
        return [kind for kind in _TYPES if _KEYWORDS[kind] & keywords][:1]
    kinds = [kind for kind in (given if isinstance(given, list) else [given]) if kind in _TYPES]
    if not kinds or given not in (kinds, kinds[0]):
        _fail(f"type must be among {', '.join(_TYPES)}", path)
    return kinds


def _bounds(schema: _Schema, low_key: str, high_key: str, path: str) -> tuple[int, int | None]:
    """Return the least and the most, checked."""
    low = _bound(schema, low_key, path) or 0
    high = _bound(schema, high_key, path)
    if high is not None and high < low:
        _fail(f"{high_key} is less than {low_key}", path)
    return low, high


def _bound(schema: _Schema, key: str, path: str) -> int | None:
    value = schema.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TIMES:
        _fail(f"{key} must be a whole number from 0 to {MAX_TIMES}", path)
    return value


def _repeat(item: str, low: int, high: int | None) -> str:
    """Write `item` between `low` and `high` times."""
    if high == 0:
        return ""
    if high is None:
        return f"{item}*" if low == 0 else f"{item}{{{low},}}"
    return f"{item}{{{low},{high}}}"


def _literal(text: str) -> str:
    """Write a text as a GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _refuse(keywords: set[str], where: str, path: str) -> None:
    if keywords:
        _fail(
            f"keyword {min(keywords)!r} {where} cannot be held by a grammar".replace("  ", " "),
            path,
        )


def _fail(message: str, path: str) -> NoReturn:
    raise InvalidError(f"JSON schema at #{path}: {message}", field=_FIELD, path=f"#{path}")
