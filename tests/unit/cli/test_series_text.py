"""CSV and JSON texts as series."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.cli.series import read_series
from aiosd.domain.errors import InvalidError


def test_a_column_of_numbers_is_a_series() -> None:
    assert read_series("1\n2\n3.5\n").rows == [[1.0], [2.0], [3.5]]


def test_a_header_names_the_columns_and_a_time_stamp_is_left_out() -> None:
    table = read_series("time,a,b\n2024-01-01 00:00,1,2\n2024-01-01 00:01,3,4\n")
    assert (table.rows, table.left_out) == ([[1.0, 2.0], [3.0, 4.0]], ["time"])


def test_an_empty_cell_is_no_reading() -> None:
    rows = read_series("a,b\n1,\n,2\n").rows
    assert math.isnan(rows[0][1])
    assert math.isnan(rows[1][0])


def test_json_may_be_flat_or_rows() -> None:
    assert read_series(" [1, 2]").rows == [[1.0], [2.0]]
    assert read_series("[[1, 2], [3, 4]]").rows == [[1.0, 2.0], [3.0, 4.0]]
    assert math.isnan(read_series("[null]").rows[0][0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no samples"),
        ("a,b\n", "no samples"),
        ("1,2\n3\n", "line 2 has 1 values"),
        ("1\nx\n", "line 2"),
        ("[", "no JSON"),
        ("[]", "list of numbers"),
        ('["x"]', "could not convert"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_series_says_why(text: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        read_series(text)


@given(st.text())
def test_any_text_is_a_series_or_invalid(text: str) -> None:
    try:
        table = read_series(text)
    except InvalidError:
        return
    assert table.rows
    assert all(isinstance(value, float) for row in table.rows for value in row)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_come_back_as_they_were_written(values: list[float]) -> None:
    assert read_series("\n".join(map(repr, values))).rows == [[value] for value in values]
