"""How many threads each worker may use."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.policy.serving.queues import BACKGROUND_RANK
from aiosd.policy.serving.thread_budget import CALM_SECONDS, TRICKLE, Share, ThreadBudget

INTERACTIVE, NORMAL, BACKGROUND = range(BACKGROUND_RANK + 1)


def test_a_request_alone_gets_all_that_its_expert_can_use() -> None:
    budget = ThreadBudget(4)
    assert budget.begin("wide", 8, NORMAL) == Share(4)
    budget.end("wide", 0.0)
    assert budget.begin("narrow", 2, NORMAL) == Share(2)


def test_a_second_request_takes_its_part_from_the_first_at_once() -> None:
    budget = ThreadBudget(4)
    budget.begin("one", 4, NORMAL)
    assert budget.begin("two", 4, NORMAL) == Share(2)
    assert budget.adjust(0.0) == [("one", Share(2))]
    assert budget.adjust(0.0) == []


def test_what_becomes_free_is_handed_on_after_a_calm() -> None:
    budget = ThreadBudget(2)
    budget.begin("long", 2, NORMAL)
    budget.begin("short", 1, NORMAL)
    assert budget.adjust(0.0) == [("long", Share(1))]
    budget.end("short", 1.0)
    assert budget.adjust(1.0) == []
    assert budget.next_wake() == pytest.approx(1.0 + CALM_SECONDS)
    assert budget.adjust(1.0 + CALM_SECONDS) == [("long", Share(2))]
    assert budget.next_wake() is None


def test_short_requests_beside_a_long_one_do_not_make_it_change_its_threads() -> None:
    budget = ThreadBudget(2)
    budget.begin("long", 2, NORMAL)
    told = []
    for number in range(100):
        budget.begin("short", 1, NORMAL)
        told += budget.adjust(number * 0.01)
        budget.end("short", number * 0.01 + 0.005)
        told += budget.adjust(number * 0.01 + 0.005)
    assert told == [("long", Share(1))]


def test_a_trickle_that_begins_within_the_calm_is_one_beside_what_the_others_still_have() -> None:
    budget = ThreadBudget(2)
    budget.limit(2, 0.7)
    for name in ("one", "two"):
        budget.begin(name, 1, NORMAL)
    assert budget.adjust(0.0) == [("one", Share(1, 0.35))]
    budget.end("two", 1.0)
    begun = budget.begin("nobody waits", 1, BACKGROUND)
    assert begun == Share(1, pytest.approx(TRICKLE * 0.35))
    assert budget.adjust(1.0) == []
    assert budget.adjust(1.0 + CALM_SECONDS) == [
        ("one", Share(1, 0.7)),
        ("nobody waits", Share(1, pytest.approx(TRICKLE * 0.7))),
    ]


def test_the_more_urgent_gets_the_odd_thread() -> None:
    budget = ThreadBudget(3)
    budget.begin("normal", 3, NORMAL)
    assert budget.begin("interactive", 3, INTERACTIVE) == Share(2)
    assert budget.adjust(0.0) == [("normal", Share(1))]


def test_background_trickles_on_one_thread_while_anybody_else_is_answered() -> None:
    budget = ThreadBudget(2)
    assert budget.begin("sweeper", 2, BACKGROUND) == Share(2)
    assert budget.begin("voice", 2, INTERACTIVE) == Share(2)
    assert budget.adjust(0.0) == [("sweeper", Share(1, TRICKLE))]
    budget.end("voice", 1.0)
    assert budget.adjust(1.0 + CALM_SECONDS) == [("sweeper", Share(2))]


def test_the_cores_of_a_cap_are_shared_by_the_threads_that_run() -> None:
    budget = ThreadBudget(4)
    budget.limit(2, 1.2)
    assert budget.begin("one", 4, NORMAL) == Share(2, pytest.approx(0.6))
    assert budget.begin("two", 1, NORMAL) == Share(1, pytest.approx(0.6))
    budget.begin("three", 1, NORMAL)
    shares = dict(budget.adjust(0.0))
    assert shares["one"] == Share(1, pytest.approx(0.4))


def test_one_thread_is_not_slowed_for_cores_that_nobody_uses() -> None:
    budget = ThreadBudget(4)
    budget.limit(3, 2.4)
    assert budget.begin("narrow", 1, NORMAL) == Share(1, 1.0)


def test_another_allowance_is_told_at_once_and_the_same_one_never() -> None:
    budget = ThreadBudget(4)
    budget.begin("one", 4, NORMAL)
    budget.limit(4, 2.0)
    assert budget.adjust(0.0) == [("one", Share(4, 0.5))]
    budget.limit(4, 2.0)
    assert budget.adjust(1.0) == []
    budget.limit(4, math.inf)
    assert budget.adjust(2.0) == [("one", Share(4))]


steps = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"),
        st.integers(1, 8),
        st.integers(0, BACKGROUND_RANK),
        st.sampled_from((0.0, 0.01, 0.2)),
        st.sampled_from((None, (1, 0.3), (3, 2.5), (4, math.inf))),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 8))
def test_whatever_begins_and_ends_the_sum_is_the_budget_or_one_thread_each(
    many: list[tuple[str, int, int, float, tuple[int, float] | None]], threads: int
) -> None:
    budget = ThreadBudget(threads)
    running: dict[str, tuple[int, int]] = {}
    told: dict[str, Share] = {}
    now, cores = 0.0, math.inf
    for expert, wants, rank, later, limit in many:
        now += later
        if limit:
            threads, cores = limit
            budget.limit(*limit)
        elif expert in running:
            del running[expert], told[expert]
            budget.end(expert, now)
        else:
            running[expert] = (wants, rank)
            told[expert] = budget.begin(expert, wants, rank)
        for name, share in budget.adjust(now):
            assert share != told[name]
            told[name] = share
        urgent = [name for name, (_, how) in running.items() if how < BACKGROUND_RANK]
        counted = urgent or list(running)
        granted = sum(told[name].threads for name in counted)
        assert granted <= max(threads, len(counted))
        for name, (most, _) in running.items():
            assert 1 <= told[name].threads <= max(1, min(most, threads))
            assert 0 < told[name].duty <= 1.0
            if name not in counted:
                assert told[name].threads == 1
                assert told[name].duty <= TRICKLE
        assert granted == 0 or min(told[name].duty for name in counted) <= cores / granted + 0.02
        wake = budget.next_wake()
        assert wake is None or wake > now
