"""How a worker rests for its work."""

import pytest

from aiosd.worker.pace import SHORTEST_SECONDS, Pacer


class Clock:
    """Time that passes when somebody works or rests; news may cut a rest short."""

    def __init__(self, longest_rest: float = 1e9) -> None:
        self.now = self.spent = 0.0
        self.rests: list[float] = []
        self._longest = longest_rest

    def work(self, seconds: float, threads: int = 1, others: float = 0.0) -> None:
        """Work on so many threads, while others have the processor for some of the time."""
        self.now += seconds + others
        self.spent += seconds * threads

    def rest(self, seconds: float) -> None:
        taken = min(seconds, self._longest)
        self.rests.append(taken)
        self.now += taken


def paced(clock: Clock, duty: float) -> Pacer:
    pacer = Pacer(lambda: clock.now, lambda: clock.spent, clock.rest)
    pacer.duty = duty
    return pacer


@pytest.mark.parametrize("duty", [0.1, 0.25, 0.5, 0.8])
def test_work_takes_its_share_of_the_time(duty: float) -> None:
    clock = Clock()
    pacer = paced(clock, duty)
    pacer.begin()
    for _ in range(200):
        clock.work(0.01)
        pacer.pause()
    pacer.end()
    assert 2.0 / clock.now == pytest.approx(duty, rel=0.01)


def test_at_full_duty_nobody_rests() -> None:
    clock = Clock()
    pacer = paced(clock, 1.0)
    pacer.begin()
    clock.work(5.0)
    pacer.end()
    pacer.begin()
    assert clock.rests == []


def test_short_rests_are_saved_up() -> None:
    clock = Clock()
    pacer = paced(clock, 0.5)
    pacer.begin()
    for _ in range(12):
        clock.work(SHORTEST_SECONDS / 4)
        pacer.pause()
    assert len(clock.rests) == 3


def test_a_rest_that_news_cut_short_is_made_up_for_before_the_next_request() -> None:
    clock = Clock(longest_rest=0.05)
    pacer = paced(clock, 0.5)
    pacer.begin()
    clock.work(0.1)
    pacer.end()
    pacer.begin()
    assert sum(clock.rests) == pytest.approx(0.1)


def test_a_pause_outside_of_work_costs_nothing() -> None:
    clock = Clock()
    pacer = paced(clock, 0.5)
    clock.work(3.0)
    pacer.pause()
    assert clock.rests == []


def test_two_threads_owe_no_more_rest_than_one() -> None:
    clock = Clock()
    pacer = paced(clock, 0.5)
    pacer.threads = 2
    pacer.begin()
    clock.work(0.1, threads=2)
    pacer.end()
    assert sum(clock.rests) == pytest.approx(0.1)


def test_time_in_which_others_had_the_processor_is_rest() -> None:
    clock = Clock()
    pacer = paced(clock, 0.5)
    pacer.begin()
    clock.work(0.1, others=0.07)
    pacer.pause()
    clock.work(0.1, others=0.3)
    pacer.end()
    assert sum(clock.rests) == pytest.approx(0.03)
