"""TOML ⇄ typed values, strict to the key, with the line of what is wrong."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import ConfigError
from aiosd.protocol.toml import decode_toml


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 0


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    inner: Inner = Inner()
    items: list[Inner] = msgspec.field(default_factory=list)


def test_a_text_becomes_its_value() -> None:
    assert decode_toml('name = "a"\n[inner]\nsize = 3\n', Outer) == Outer("a", Inner(3))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = \n", 1),
        ('name = "a"\nname = "b"\n', 2),
        ('name = "a"\n\n[inner]\nsize = "x"\n', 4),
        ('name = "a"\n[inner]\nsize = 1\nsiez = 2\n', 4),
        ('name = "a"\n[[items]]\nsize = 1\n[[items]]\nsize = "x"\n', 5),
        ("name = 5\n", 1),
    ],
)
def test_an_error_names_the_file_and_the_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as wrong:
        decode_toml(text, Outer, path="some.toml")
    assert (wrong.value.path, wrong.value.line) == ("some.toml", line)
    assert str(wrong.value).startswith(f"some.toml:{line}: ")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="`name`"):
        decode_toml("", Outer)


@given(st.text())
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(decode_toml(text, Outer), Outer)
