"""The success table fades, is bounded, and never gives anybody up."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.routing.success import (
    FLOOR,
    HALF_LIFE_SECONDS,
    MOST_ROWS,
    MOST_WEIGHT,
    SuccessTable,
)


def test_before_anything_is_known_nine_of_ten_are_hoped_for() -> None:
    assert SuccessTable().ok("a", "", 0.0) == 0.9


def test_bad_answers_lower_it_good_ones_raise_it_each_part_for_itself() -> None:
    table = SuccessTable()
    for _ in range(10):
        table.on_answer("a", "x", 0.0, ok=False)
        table.on_answer("a", "y", 0.0, ok=True)
    assert table.ok("a", "x", 0.0) == 0.45
    assert table.ok("a", "y", 0.0) == 0.95
    assert table.ok("a", "z", 0.0) == 0.9


def test_what_was_long_ago_counts_for_little() -> None:
    table = SuccessTable()
    for _ in range(10):
        table.on_answer("a", "", 0.0, ok=False)
    assert abs(table.ok("a", "", HALF_LIFE_SECONDS) - 9 / 15) < 1e-9
    assert table.ok("a", "", 20 * HALF_LIFE_SECONDS) > 0.89


@given(st.lists(st.booleans(), max_size=600))
def test_it_stays_within_floor_and_one_whatever_is_said(words: list[bool]) -> None:
    table = SuccessTable()
    for ok in words:
        table.on_answer("a", "", 0.0, ok=ok)
    assert FLOOR <= table.ok("a", "", 0.0) <= 1.0
    if words:
        tally = table.rows()["a"][""]
        assert tally.good + tally.bad <= MOST_WEIGHT + 1e-9


def test_a_change_is_seen_after_any_amount_of_praise() -> None:
    table = SuccessTable()
    for _ in range(5000):
        table.on_answer("a", "", 0.0, ok=True)
    for _ in range(200):
        table.on_answer("a", "", 0.0, ok=False)
    assert table.ok("a", "", 0.0) < 0.5


def test_the_table_is_bounded_and_the_oldest_goes() -> None:
    table = SuccessTable()
    for number in range(MOST_ROWS + 3):
        table.on_answer(f"e{number}", "", float(number), ok=True)
    rows = table.rows()
    assert len(rows) == MOST_ROWS
    assert "e0" not in rows
    assert f"e{MOST_ROWS + 2}" in rows


def test_a_removed_expert_is_forgotten() -> None:
    table = SuccessTable()
    table.on_answer("a", "", 0.0, ok=False)
    table.forget("a")
    assert table.rows() == {}
