"""What a worker's own group is told."""

from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.request import Priority
from aiosd.policy.memory.allotment import WEIGHTS, memory_limit, outgrown_need

MIB = 2**20
sizes = st.integers(0, 2**36)


@given(sizes)
def test_a_limit_is_the_books_and_headroom_in_whole_pages(booked: int) -> None:
    limit = memory_limit(booked)
    assert limit % 65_536 == 0
    assert booked + max(16 * MIB, booked // 4) <= limit <= booked * 1.25 + 16 * MIB + 65_536


@given(sizes, sizes)
def test_who_has_more_in_the_books_has_no_lower_limit(one: int, other: int) -> None:
    assert (memory_limit(one) <= memory_limit(other)) == (one <= other) or memory_limit(
        one
    ) == memory_limit(other)


@given(st.integers(16 * MIB, 2**34), st.integers(1 * MIB, 2**35))
def test_one_that_outgrew_its_limit_gets_more_until_all_there_is_was_tried(
    limit: int, room: int
) -> None:
    need = outgrown_need(limit, room)
    if limit < room:
        assert limit < need <= room
    else:
        assert need == limit  # as much as the room, or more: the governor says that it never fits


def test_from_sixteen_mebibytes_a_gibibyte_is_found_in_five_kills() -> None:
    limit, kills = memory_limit(0), 0
    while limit < 1024 * MIB:
        limit = memory_limit(outgrown_need(limit, 4096 * MIB))
        kills += 1
    assert kills == 5


def test_an_urgent_request_weighs_more_than_one_in_the_background() -> None:
    assert WEIGHTS[Priority.INTERACTIVE] > WEIGHTS[Priority.NORMAL] > WEIGHTS[Priority.BACKGROUND]
    assert WEIGHTS[Priority.NORMAL] == 100  # what every group has that nobody weighs
