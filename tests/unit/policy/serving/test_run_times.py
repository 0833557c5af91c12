"""The 95th percentile of running times is followed without keeping any of them."""

import random

import pytest

from aiosd.policy.routing.chance import draw
from aiosd.policy.serving.run_times import FEWEST, RunTimes


def test_nothing_is_foretold_from_a_few_answers() -> None:
    times = RunTimes()
    for _ in range(FEWEST - 1):
        times.on_run("a", 1.0)
    assert times.p95("a") is None
    times.on_run("a", 1.0)
    assert times.p95("a") == pytest.approx(1.0, rel=0.5)
    assert times.p95("b") is None


def test_it_comes_close_to_the_true_percentile() -> None:
    times, chance = RunTimes(), random.Random(1)
    seen = [chance.lognormvariate(0.0, 0.5) for _ in range(4000)]
    for each in seen:
        times.on_run("a", each)
    assert times.p95("a") == pytest.approx(sorted(seen)[3800], rel=0.35)


def test_it_follows_an_expert_that_became_slower_and_forgets_one_that_left() -> None:
    times = RunTimes()
    for seconds in (0.1, 1.0):
        for _ in range(200):
            times.on_run("a", seconds)
    assert (times.p95("a") or 0.0) > 0.9
    times.forget("a")
    assert times.p95("a") is None


def test_a_draw_is_the_same_for_the_same_seed_and_number_and_even_over_numbers() -> None:
    assert draw(7, 3) == draw(7, 3) != draw(8, 3)
    drawn = [draw(0, number) for number in range(20_000)]
    assert all(0.0 <= each < 1.0 for each in drawn)
    assert sum(each < 0.01 for each in drawn) == pytest.approx(200, abs=60)
