"""What people read."""

import io
import json

import pytest

from aiosd.cli.render import Paper, milliseconds, plain, printable, size, span, to_json


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 KiB"),
        (512_000, "500 KiB"),
        (5_242_880, "5.0 MiB"),
        (1 << 28, "256 MiB"),
        (3 << 29, "1.5 GiB"),
        (None, "-"),
    ],
)
def test_bytes_are_shown_in_the_unit_that_fits(number: object, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (75, "1 min 15 s"), (3725, "1 h 2 min"), (90_000, "1 d 1 h"), (None, "-")],
)
def test_seconds_are_shown_in_one_or_two_units(seconds: object, text: str) -> None:
    assert span(seconds) == text


def test_milliseconds_have_three_digits() -> None:
    assert [milliseconds(one) for one in (0.123, 12.34, 1234.5)] == [
        "0.12 ms",
        "12.3 ms",
        "1234 ms",
    ]


def test_a_terminal_is_not_given_control_characters() -> None:
    out = Terminal()
    Paper(as_json=False, out=out).piece("a\x1b[2J\x9bb\n\tc\x07")
    assert (
        out.getvalue()
        == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b\n\tc\N{REPLACEMENT CHARACTER}"
    )


def test_a_pipe_gets_the_answer_as_it_is() -> None:
    out = io.StringIO()
    Paper(as_json=False, out=out).piece("a\x1bb")
    assert out.getvalue() == "a\x1bb"


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in Paper(as_json=False, out=Terminal()).paint("x", "bad")
    assert Paper(as_json=True, out=Terminal()).paint("x", "bad") == "x"
    assert Paper(as_json=False, out=io.StringIO()).paint("x", "bad") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Paper(as_json=False, out=Terminal()).paint("x", "bad") == "x"


def test_columns_line_up_and_the_last_is_cut_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    rows = [("echo", "1", "gives back what it gets"), ("a-long-name", "20", "short")]
    Paper(as_json=False, out=out).table(("NAME", "N", "SUMMARY"), rows, right="N")
    lines = out.getvalue().splitlines()
    assert lines[0] == "NAME          N  SUMMARY"
    assert lines[1] == "echo          1  gives …"
    assert lines[2] == "a-long-name  20  short"


def test_json_is_json_whatever_is_in_it() -> None:
    text = to_json({"nan": float("nan"), "inf": [float("inf")], "bytes": b"\x01", "text": "ü"})
    assert json.loads(text) == {"nan": None, "inf": [None], "bytes": [1], "text": "ü"}


def test_many_numbers_are_cut_short() -> None:
    assert plain([1.0, 2.5]) == "1, 2.5"
    assert "20 values" in plain(list(range(20)))
    assert plain(["a"] * 20) == ", ".join(["a"] * 20)


def test_a_flat_map_is_words_and_any_other_is_json() -> None:
    facts = {"seccomp": True, "core_dumps": False, "nice": 15, "gaps": [], "why": "x"}
    assert plain(facts) == "seccomp, no core dumps, nice 15, gaps none, why x"
    assert printable(plain({"a": {"b": 1}})) == '{"a": {"b": 1}}'
